//! Which files are safe here with the content that the source sent or told, as it is told so that it may remove them.
//!
//! A file gets here when its content and its name have been made durable, and not before. Told in runs: once for each batch, and at the end.

use std::{
    collections::HashSet,
    io,
    sync::{Mutex, MutexGuard},
};

use super::Shared;
use crate::{
    limits::CHUNK_BYTES,
    path::{Name, RelPath},
    root::{File, describe},
    sync::{Ledger, Moved, SyncError, tree::NodeType},
    wire::sync::{DestinationMessage, Run},
};

/// Files that were made durable one by one are told this many at a time. Chosen, not measured.
const TOLD_TOGETHER: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Receipts {
    /// Safe, and not told yet.
    untold: Mutex<Vec<u32>>,
    /// In place without all that belongs to them, so that the source keeps them.
    left_out: Mutex<HashSet<u32>>,
}

impl Receipts {
    fn untold(&self) -> MutexGuard<'_, Vec<u32>> {
        self.untold.lock().expect("no holder panics")
    }
}

/// This file will be here without something that belongs to it, and must stay at the source.
pub(super) fn leave_out(shared: &Shared, index: u32) {
    if shared.options.remove_source {
        shared.receipts.left_out.lock().expect("no holder panics").insert(index);
    }
}

/// These files are safe. Blocks while the control stream is behind.
pub(super) fn add(shared: &Shared, indexes: impl IntoIterator<Item = u32>) {
    if !shared.options.remove_source {
        return;
    }
    let is_full = {
        let mut untold = shared.receipts.untold();
        let left_out = shared.receipts.left_out.lock().expect("no holder panics");
        untold.extend(indexes.into_iter().filter(|index| !left_out.contains(index)));
        untold.len() >= TOLD_TOGETHER
    };
    if is_full {
        flush(shared);
    }
}

/// Tells the source of all that is safe. Blocks while the control stream is behind.
pub(super) fn flush(shared: &Shared) {
    let untold = std::mem::take(&mut *shared.receipts.untold());
    let untold = match &shared.landing.destination().ledger {
        Some(ledger) => entered(shared, &**ledger, untold),
        None => untold,
    };
    if !untold.is_empty() {
        // A closed channel means that the sync has ended, and then nobody waits for this.
        let _ended = match place(shared) {
            Ok(place) => {
                let files = runs(untold);
                shared.control.send_blocking(DestinationMessage::Safe { place, files })
            }
            // Then nothing is removed, and the source keeps what has been entered here, perhaps.
            Err(err) => {
                for index in untold {
                    shared.fail_io(
                        index,
                        "it is in place, and stays at the source: the directory is gone",
                        &err,
                    );
                }
                Ok(())
            }
        };
    }
}

/// Enters those of these files that are in place, and gives them; a file of which that cannot be seen stays at the source. Blocks.
fn entered(shared: &Shared, ledger: &dyn Ledger, indexes: Vec<u32>) -> Vec<u32> {
    let (mut safe, mut files) = (Vec::new(), Vec::new());
    for index in indexes {
        match moved(shared, index) {
            Ok(file) => {
                safe.push(index);
                files.push(file);
            }
            Err(err) => shared.fail_io(index, "it is not in place any more", &err),
        }
    }
    if files.is_empty() {
        return safe;
    }
    match ledger.enter(&files) {
        Ok(()) => safe,
        Err(err) => {
            let reason = format!("the journal cannot be written: {}", describe(&err));
            shared.abort(SyncError::Disk(reason));
            Vec::new()
        }
    }
}

/// What is under the file's name now.
fn moved(shared: &Shared, index: u32) -> io::Result<Moved> {
    let name = shared.name_of(index);
    let file = shared.parent_dir(index)?.open_file(Name::new(&name).expect("listed as a name"))?;
    let stat = file.stat()?;
    let hash = match shared.fresh.hash(index) {
        Some(hash) => hash,
        None => hash_of(&file)?,
    };
    Ok(Moved { path: shared.path_of(index), size: stat.size, mtime: stat.metadata.mtime, hash })
}

fn hash_of(file: &File) -> io::Result<[u8; 32]> {
    let (mut hasher, mut piece, mut offset) = (blake3::Hasher::new(), Vec::new(), 0);
    let step = usize::try_from(CHUNK_BYTES).expect("1 MiB");
    loop {
        piece.clear();
        match file.read_at(offset, step, &mut piece)? {
            0 => return Ok(hasher.finalize().into()),
            count => offset += u64::try_from(count).expect("at most a chunk"),
        }
        hasher.update(&piece);
    }
}

/// The directory that the top is, or in which it is.
fn place(shared: &Shared) -> io::Result<[u8; 32]> {
    let is_directory =
        shared.tree.read().expect("no holder panics").node_type(0) == Some(NodeType::Directory);
    if is_directory {
        return shared.landing.dir_now(&RelPath::root())?.identity();
    }
    shared.landing.parent_of_top()?.identity()
}

fn runs(mut indexes: Vec<u32>) -> Vec<Run> {
    indexes.sort_unstable();
    let mut runs: Vec<Run> = Vec::new();
    for index in indexes {
        match runs.last_mut() {
            Some(run) if run.first + run.count == index => run.count += 1,
            _ => runs.push(Run { first: index, count: 1 }),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::runs;
    use crate::wire::sync::Run;

    #[test]
    fn neighbours_make_a_run() {
        let run = |first, count| Run { first, count };
        assert_eq!(runs(vec![7, 2, 1, 3, 9]), [run(1, 3), run(7, 1), run(9, 1)]);
    }
}
