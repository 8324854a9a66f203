//! The comparison of one entry: every difference is told, and nothing is done about any.

use std::io;

use super::{DirState, Place, Planner, comparing, look, unchanged};
use crate::{
    entry::{Kind, Metadata},
    path::Name,
    root::{Dir, Stat},
    sync::{
        destination::{comparing::Verdict, items},
        plan::Existing,
    },
    wire::change::{Aspects, Change},
};

impl Planner<'_> {
    /// Compares an entry with what stands in its place. `dir` is there unless it is missing itself.
    pub(super) fn compare(
        &mut self,
        (dir, name): (Option<&Dir>, Name<'_>),
        index: u32,
        kind: &Kind,
        metadata: Metadata,
    ) {
        let found =
            dir.map_or(Ok((Existing::Nothing, None)), |dir| look(self.shared, &Place { dir, name, index }));
        self.compare_found(found, index, kind, metadata);
    }

    pub(super) fn compare_found(
        &mut self,
        found: io::Result<(Existing, Option<Stat>)>,
        index: u32,
        kind: &Kind,
        metadata: Metadata,
    ) {
        let shared = self.shared;
        let (existing, stat) = match found {
            Ok(found) => found,
            Err(err) => {
                shared.fail_io(index, "what is there cannot be looked at", &err);
                return self.unreachable(index, kind);
            }
        };
        let Some(stat) = stat else {
            if *kind == Kind::Directory {
                // What is in it is missing too.
                self.states.insert(index, DirState::New);
            }
            return items::planned(shared, index, Some(missing(kind)));
        };
        let aspects = differences((kind, metadata), (&existing, stat));
        match kind {
            Kind::Directory if aspects.kind => drop(self.states.insert(index, DirState::New)),
            Kind::Directory => {
                self.states.insert(index, DirState::Existing);
                shared.landing.add_directory(index);
            }
            Kind::File { size } if !aspects.kind && !aspects.size && *size > 0 => {
                let other = Change::Differs(Aspects { content: true, ..aspects });
                comparing::ask(shared, index, Verdict { same: told(aspects), other });
                return self.wants.push(shared, index);
            }
            Kind::File { size: 0 } if !aspects.differ() => unchanged(shared, 0),
            Kind::File { .. } | Kind::Symlink { .. } => {}
        }
        items::planned(shared, index, told(aspects));
    }
}

fn told(aspects: Aspects) -> Option<Change> {
    aspects.differ().then_some(Change::Differs(aspects))
}

fn missing(kind: &Kind) -> Change {
    match kind {
        Kind::File { .. } => Change::Create,
        Kind::Directory => Change::MakeDirectory,
        Kind::Symlink { .. } => Change::MakeSymlink,
    }
}

fn differences((kind, metadata): (&Kind, Metadata), (existing, stat): (&Existing, Stat)) -> Aspects {
    let mtime = metadata.mtime != stat.metadata.mtime;
    let mode = metadata.mode != stat.metadata.mode;
    match (kind, existing) {
        (Kind::File { size }, Existing::File { size: there, .. }) => {
            Aspects { size: size != there, mode, mtime, ..Aspects::default() }
        }
        (Kind::Directory, Existing::Directory) => Aspects { mode, mtime, ..Aspects::default() },
        // A link's mode means nothing.
        (Kind::Symlink { target }, Existing::Symlink { target: there, .. }) => {
            Aspects { target: target != there, mtime, ..Aspects::default() }
        }
        _ => Aspects { kind: true, ..Aspects::default() },
    }
}
