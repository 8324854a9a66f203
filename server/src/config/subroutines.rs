//! `[subroutines.NAME]` of the configuration file: programs, and what comes with the gateway, that controllers may call.

mod usable;

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;
use swarmwire_common::wire::call::{CallKind, Codec};
use swarmwire_server::subroutines::{
    Subroutine, Subroutines,
    builtin::{Builtin, BuiltinOptions},
    command::{
        CommandOptions, DEFAULT_IDLE, DEFAULT_OUTPUT_BYTES_MAX, ItemForm, TemplateError, WorkerOptions,
    },
};
use toml::Spanned;

use self::usable::{ids_of, require_directory, require_executable, require_user};
use super::{HumanDuration, HumanSize};

/// A section of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    command: Option<Spanned<Vec<String>>>,
    builtin: Option<Spanned<BuiltinName>>,
    kind: Option<Kind>,
    arguments: Option<Vec<String>>,
    timeout: Option<HumanDuration>,
    concurrency: Option<usize>,
    max_output: Option<HumanSize>,
    working_directory: Option<PathBuf>,
    environment: Option<BTreeMap<String, String>>,
    user: Option<String>,
    codec: Option<InputCodec>,
    items: Option<Form>,
    workers: Option<Workers>,
}

/// How many processes are kept.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table like `{ min = 1, max = 4 }`")]
struct Workers {
    min: Option<usize>,
    max: Option<usize>,
    idle: Option<HumanDuration>,
}

/// What a section comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Definition {
    /// A program.
    Program(Box<CommandOptions>),
    /// What comes with the gateway.
    Builtin(BuiltinOptions),
}

impl Definition {
    /// To be registered.
    pub(crate) fn subroutine(&self) -> Result<Subroutine, TemplateError> {
        match self {
            Self::Program(options) => Subroutine::command((**options).clone()),
            Self::Builtin(options) => Ok(Subroutine::builtin(*options)),
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum BuiltinName {
    DiskUsage,
    ListFiles,
    RemoveFiles,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Batch,
    Stream,
    Send,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum InputCodec {
    #[default]
    Json,
    Raw,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    #[default]
    Lines,
    Frames,
}

/// All of them, by name; or why one cannot be used, with its line in `text`.
pub(super) fn resolve(
    sections: BTreeMap<String, Spanned<Section>>,
    text: &str,
) -> Result<BTreeMap<String, Definition>, String> {
    let resolved = sections.into_iter().map(|(name, section)| {
        let line = text[..section.get_ref().start(section.span().start)].matches('\n').count() + 1;
        let configured = section.into_inner().configured().and_then(|configured| checked(&name, configured));
        Ok((name.clone(), configured.map_err(|err| format!("line {line}: subroutine `{name}`: {err}"))?))
    });
    resolved.collect()
}

impl Section {
    /// Where in the file it says what it is; where it begins if it does not say.
    fn start(&self, begin: usize) -> usize {
        let command = self.command.as_ref().map(|command| command.span().start);
        command.or(self.builtin.as_ref().map(|builtin| builtin.span().start)).unwrap_or(begin)
    }

    fn configured(mut self) -> Result<Definition, String> {
        if self.concurrency == Some(0) {
            return Err("`concurrency` is 0: give a number from 1 on, or none".to_owned());
        }
        if self.timeout.is_some_and(|time| time.0.is_zero()) {
            return Err("`timeout` is 0: give a time like \"10s\", or none".to_owned());
        }
        if self.max_output.is_some_and(|size| size.0 == 0) {
            return Err("`max_output` is 0: give a size like \"64MiB\", or none".to_owned());
        }
        match (self.command.take(), self.builtin.take()) {
            (Some(command), None) => {
                self.options(command.into_inner()).map(|options| Definition::Program(Box::new(options)))
            }
            (None, Some(builtin)) => self.builtin_options(builtin.into_inner()).map(Definition::Builtin),
            (Some(_), Some(_)) => Err("it has a `command` and a `builtin`: give one of them".to_owned()),
            (None, None) => Err("it has neither a `command` nor a `builtin`: give one of them".to_owned()),
        }
    }

    fn builtin_options(self, builtin: BuiltinName) -> Result<BuiltinOptions, String> {
        for (key, is_given) in [
            ("kind", self.kind.is_some()),
            ("arguments", self.arguments.is_some()),
            ("working_directory", self.working_directory.is_some()),
            ("environment", self.environment.is_some()),
            ("user", self.user.is_some()),
            ("codec", self.codec.is_some()),
            ("items", self.items.is_some()),
            ("workers", self.workers.is_some()),
        ] {
            if is_given {
                return Err(format!("`{key}` belongs to a `command`, and a `builtin` has none"));
            }
        }
        Ok(BuiltinOptions {
            builtin: match builtin {
                BuiltinName::DiskUsage => Builtin::DiskUsage,
                BuiltinName::ListFiles => Builtin::ListFiles,
                BuiltinName::RemoveFiles => Builtin::RemoveFiles,
            },
            timeout: self.timeout.map(|time| time.0),
            concurrency: self.concurrency,
            max_output: self.max_output.map_or(DEFAULT_OUTPUT_BYTES_MAX, |size| size.0),
        })
    }

    fn options(self, command: Vec<String>) -> Result<CommandOptions, String> {
        let environment = self.environment.unwrap_or_default();
        if let Some(directory) = &self.working_directory {
            require_directory(directory)?;
        }
        if let Some(program) = command.first() {
            require_executable(program, self.working_directory.as_deref(), environment.get("PATH"))?;
        }
        if self.workers.is_some() && self.items.is_some() {
            return Err("`items` has no meaning with `workers`, which give each item in a frame".to_owned());
        }
        let kind = match self.kind.ok_or("it has no `kind`: give `batch`, `stream` or `send`")? {
            Kind::Batch => CallKind::Batch,
            Kind::Stream => CallKind::Stream,
            Kind::Send => CallKind::Send,
        };
        if self.items.is_some() && kind != CallKind::Stream {
            return Err(format!("`items` belongs to a stream, and a {} has none", kind.as_str()));
        }
        let user = self.user.as_deref().map(ids_of).transpose()?;
        if let Some(ids) = user {
            require_user(ids, self.working_directory.as_deref())?;
        }
        Ok(CommandOptions {
            command,
            kind,
            arguments: self.arguments.unwrap_or_default(),
            timeout: self.timeout.map(|time| time.0),
            concurrency: self.concurrency,
            max_output: self.max_output.map_or(DEFAULT_OUTPUT_BYTES_MAX, |size| size.0),
            working_directory: self.working_directory,
            environment,
            user,
            codec: match self.codec.unwrap_or_default() {
                InputCodec::Json => Codec::Json,
                InputCodec::Raw => Codec::Raw,
            },
            items: match self.items.unwrap_or_default() {
                Form::Lines => ItemForm::Lines,
                Form::Frames => ItemForm::Frames,
            },
            workers: self.workers.map(Workers::options),
        })
    }
}

impl Workers {
    fn options(self) -> WorkerOptions {
        let min = self.min.unwrap_or(1);
        WorkerOptions {
            min,
            max: self.max.unwrap_or(min.max(1)),
            idle: self.idle.map_or(DEFAULT_IDLE, |idle| idle.0),
        }
    }
}

/// What the gateway would say of it.
fn checked(name: &str, configured: Definition) -> Result<Definition, String> {
    let subroutine = configured.subroutine().map_err(|err| err.to_string())?;
    Subroutines::new().register(name, subroutine).map_err(|err| err.to_string())?;
    Ok(configured)
}
