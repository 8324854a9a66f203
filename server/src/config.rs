//! From flags, environment, configuration file and defaults, in this order, to the options of a gateway.
//!
//! clap has merged flags and environment already. A file with an unknown key is refused: a misspelt limit would not hold.

mod subroutines;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};
use swarmwire_certs::KeyExchange;
use swarmwire_common::{limits, size, transport::Congestion};
use swarmwire_server::{
    GatewayOptions,
    gateway::{DEFAULT_DRAIN, DEFAULT_HANDLERS},
    state,
    subroutines::Subroutines,
};
use toml::Spanned;

pub(crate) use self::subroutines::Definition;
use crate::cli::{CongestionKind, KeyExchangeKind, LogFormat, ServeArgs};

/// All IPv4 addresses, on the port that the documentation names.
const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 4433);

/// Loopback, because metrics are not authenticated.
const DEFAULT_METRICS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9464);

/// What was asked for cannot be done as it was asked: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);

/// All that `swarmd` needs to serve.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) gateway: GatewayOptions,
    pub(crate) log_format: LogFormat,
    /// The file, which is read again for its subroutines.
    pub(crate) config: Option<PathBuf>,
    pub(crate) subroutines: BTreeMap<String, Definition>,
    /// What else the file says, by key.
    pub(crate) others: toml::Table,
}

impl Settings {
    /// Reads the configuration file, if one is named, and fills in what is missing.
    pub(crate) fn resolve(args: ServeArgs) -> Result<Self, UsageError> {
        let read = args.config.as_deref().map(File::read).transpose()?;
        let Read { file, subroutines, others } = read.unwrap_or_default();
        let root = args.root.or(file.root).ok_or_else(|| {
            let text = "no directory to serve: name it with --root DIR (or `root` in the configuration file)";
            UsageError(text.to_owned())
        })?;
        let state = match args.state.or(file.state) {
            Some(state) => state,
            None => default_state()?,
        };
        let metrics = args.metrics.or(file.metrics).unwrap_or(MetricsAddress::At(DEFAULT_METRICS));
        let key_exchange = args.key_exchange.or(file.key_exchange).unwrap_or_default();
        let gateway = GatewayOptions {
            root,
            state,
            listen: args.listen.or(file.listen).unwrap_or(DEFAULT_LISTEN),
            metrics: metrics.address(),
            handlers: handlers(args.handlers.or(file.handlers).unwrap_or(DEFAULT_HANDLERS))?,
            key_exchange: match key_exchange {
                KeyExchangeKind::PostQuantum => KeyExchange::PostQuantum,
                KeyExchangeKind::Classical => KeyExchange::Classical,
            },
            congestion: match args.congestion.or(file.congestion).unwrap_or_default() {
                CongestionKind::Auto => Congestion::Auto,
                CongestionKind::Cubic => Congestion::Cubic,
                CongestionKind::Bbr => Congestion::Bbr,
            },
            partial_bytes_max: args
                .partial_limit
                .or(file.partial_limit.map(|size| size.0))
                .unwrap_or(limits::PARTIAL_BYTES_DEFAULT),
            subroutines: Subroutines::new(),
            drain: args.drain.or(file.drain.map(|drain| drain.0)).unwrap_or(DEFAULT_DRAIN),
        };
        let log_format = args.log_format.or(file.log_format).unwrap_or_default();
        Ok(Self { gateway, log_format, config: args.config, subroutines, others })
    }
}

/// The state directory where the operator names none.
pub(crate) fn default_state() -> Result<PathBuf, UsageError> {
    state::default_path(|name| std::env::var_os(name).map(PathBuf::from)).ok_or_else(|| {
        UsageError("no place for the state directory: set HOME, or name one with --state DIR".to_owned())
    })
}

/// A peer must always be able to open one more channel than there are handlers, to be told that all are in use.
fn handlers(count: usize) -> Result<usize, UsageError> {
    let limit = usize::try_from(limits::CHANNELS_MAX).expect("usize has 32 bits or more") - 1;
    if !(1..=limit).contains(&count) {
        return Err(UsageError(format!("{count} handlers: give --handlers a number from 1 to {limit}")));
    }
    Ok(count)
}

/// Where metrics are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum MetricsAddress {
    At(SocketAddr),
    Off,
}

impl MetricsAddress {
    fn address(self) -> Option<SocketAddr> {
        match self {
            Self::At(address) => Some(address),
            Self::Off => None,
        }
    }
}

impl FromStr for MetricsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::At).map_err(|_| "give an address like 127.0.0.1:9464, or `off`".to_owned())
    }
}

impl TryFrom<String> for MetricsAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// A duration as humantime reads it.
#[derive(Clone, Copy, Debug)]
struct HumanDuration(Duration);

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parse = |text: &str| humantime::parse_duration(text).map_err(|err| err.to_string());
        deserializer.deserialize_str(Quoted { example: "a time like \"10s\"", parse }).map(Self)
    }
}

/// A size as people write it.
#[derive(Clone, Copy, Debug)]
struct HumanSize(u64);

impl<'de> Deserialize<'de> for HumanSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parse = |text: &str| size::parse_size(text);
        deserializer.deserialize_str(Quoted { example: "a size like \"64MiB\"", parse }).map(Self)
    }
}

/// What is written in quotes; whoever forgets them is shown how.
struct Quoted<P> {
    example: &'static str,
    parse: P,
}

impl<T, P: Fn(&str) -> Result<T, String>> Visitor<'_> for Quoted<P> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.example)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }
}

/// The configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    root: Option<PathBuf>,
    listen: Option<SocketAddr>,
    metrics: Option<MetricsAddress>,
    state: Option<PathBuf>,
    handlers: Option<usize>,
    partial_limit: Option<HumanSize>,
    drain: Option<HumanDuration>,
    log_format: Option<LogFormat>,
    key_exchange: Option<KeyExchangeKind>,
    congestion: Option<CongestionKind>,
    #[serde(default)]
    subroutines: BTreeMap<String, Spanned<subroutines::Section>>,
}

/// What a file says.
#[derive(Debug, Default)]
struct Read {
    file: File,
    /// What its subroutines come to.
    subroutines: BTreeMap<String, Definition>,
    /// All else, as it is written.
    others: toml::Table,
}

impl File {
    fn read(path: &Path) -> Result<Read, UsageError> {
        let fail = |err: &dyn fmt::Display| {
            UsageError(format!("failed to use the configuration file {}: {err}", path.display()))
        };
        let text = std::fs::read_to_string(path).map_err(|err| fail(&err))?;
        let mut file: Self = toml::from_str(&text).map_err(|err| fail(&err.to_string().trim_end()))?;
        let sections = std::mem::take(&mut file.subroutines);
        let subroutines = subroutines::resolve(sections, &text).map_err(|err| fail(&err))?;
        let mut others: toml::Table = toml::from_str(&text).map_err(|err| fail(&err))?;
        others.remove("subroutines");
        Ok(Read { file, subroutines, others })
    }
}

/// The subroutines of a configuration file once more, and what else it says.
pub(crate) fn read_again(path: &Path) -> Result<(BTreeMap<String, Definition>, toml::Table), UsageError> {
    let Read { subroutines, others, .. } = File::read(path)?;
    Ok((subroutines, others))
}

/// The keys, in order, whose values are not the same in both.
pub(crate) fn changed_keys<'a>(before: &'a toml::Table, after: &'a toml::Table) -> Vec<&'a str> {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).map(String::as_str).collect();
    keys.into_iter().filter(|key| before.get(*key) != after.get(*key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(text: &str, args: ServeArgs) -> Result<Settings, UsageError> {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("swarmd.toml");
        std::fs::write(&path, text).unwrap();
        Settings::resolve(ServeArgs { config: Some(path), ..args })
    }

    #[test]
    fn the_example_is_a_configuration_and_shows_the_defaults() {
        let settings = with_file(include_str!("../swarmd.example.toml"), ServeArgs::default()).unwrap();
        let gateway = &settings.gateway;
        assert_eq!(gateway.listen, DEFAULT_LISTEN);
        assert_eq!(gateway.metrics, Some(DEFAULT_METRICS));
        assert_eq!((gateway.handlers, gateway.drain), (DEFAULT_HANDLERS, DEFAULT_DRAIN));
        assert_eq!(gateway.key_exchange, KeyExchange::default());
        assert_eq!(gateway.congestion, Congestion::default());
        assert_eq!(settings.log_format, LogFormat::default());
    }

    #[test]
    fn flags_come_before_the_file_and_the_file_before_defaults() {
        let text =
            "root = '/file'\nstate = '/state'\nlisten = '127.0.0.1:1'\nmetrics = 'off'\ndrain = '1m 5s'";
        let args = ServeArgs { listen: Some("127.0.0.1:2".parse().unwrap()), ..ServeArgs::default() };
        let gateway = with_file(text, args).unwrap().gateway;
        assert_eq!(gateway.root, Path::new("/file"));
        assert_eq!(gateway.listen.port(), 2);
        assert_eq!((gateway.metrics, gateway.drain), (None, Duration::from_secs(65)));
        assert_eq!(gateway.handlers, DEFAULT_HANDLERS);
    }

    #[test]
    fn keys_that_have_changed_come_or_gone_are_named() {
        let table = |text: &str| toml::from_str::<toml::Table>(text).unwrap();
        let before = table("listen = '127.0.0.1:1'\nhandlers = 1\nroot = '/r'");
        let after = table("root = '/r'\nlisten = '127.0.0.1:2'\ndrain = '1s'");
        assert_eq!(changed_keys(&before, &after), ["drain", "handlers", "listen"]);
        assert!(changed_keys(&before, &before).is_empty());
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (text, said) in [
            ("state = '/s'", "--root"),
            ("root = '/r'\nhandles = 7", "handles"),
            ("root = '/r'\nhandlers = 0", "--handlers"),
            ("root = '/r'\nhandlers = 16384", "16383"),
            ("root = '/r'\nmetrics = 'no'", "`off`"),
            ("root = '/r'\ndrain = 'soon'", "drain"),
            ("root = '/r'\ndrain = 10", "expected a time like \"10s\""),
            ("root = '/r'\npartial_limit = 1", "expected a size like \"64MiB\""),
            ("root = '/r'\nlisten = 'here'", "listen"),
        ] {
            let err = with_file(text, ServeArgs::default()).unwrap_err().to_string();
            assert!(err.contains(said), "{text}: {err}");
        }
    }
}
