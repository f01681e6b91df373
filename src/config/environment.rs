//! Variables to a configuration.

use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::document;
use super::error::{ConfigError, Errors, Reason};
use super::groups;
use super::names::{is_of_a_service, misspelt};
use super::plan::{RawPlan, read_plan};
use super::variables::{Kind, RawFault, RawService, names, prefix};
use super::{Address, Config, Identity, Limits, LogFormat, Process, SeedChoice, SeedScope};
use tracing::Level;

use crate::fault::{Plan, Target};
use crate::units::{self, Bare, Show};

/// What the environment says.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is probably not meant so, but stops nothing.
    pub warnings: Vec<Warning>,
    /// Each variable that is set, as it was understood.
    pub effective: Vec<Setting>,
}

/// Something that is probably not meant so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// A name that looks like one of ours.
    Misspelt {
        /// The name.
        name: String,
        /// The nearest of ours.
        nearest: String,
    },
    /// A variable that does nothing without another.
    NoEffect {
        /// The variable.
        name: String,
        /// What is missing.
        needs: &'static str,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misspelt { name, nearest } => {
                write!(
                    f,
                    "{} is not a variable of this program; did you mean {nearest}?",
                    name.escape_debug()
                )
            }
            Self::NoEffect { name, needs } => write!(f, "{name} does nothing without {needs}"),
        }
    }
}

/// A variable and its value with unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The variable.
    pub name: String,
    /// Its value as it was understood.
    pub value: String,
}

/// The longest value shown at start, in characters.
const MAX_SHOWN: usize = 200;

/// Reads a configuration from the pairs of an environment; otherwise everything that is wrong with it.
///
/// Only upper-case names are ours. Values that are not UTF-8 are an error in ours and nothing in others.
pub fn load(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Loaded, Errors> {
    let known: Vec<(String, Kind)> = names().collect();
    let mut reader = Reader::default();
    let mut ours = Vec::new();
    for (name, value) in vars {
        let Some(name) = name.to_str() else { continue };
        if let Some((_, kind)) = known.iter().find(|(known, _)| known == name) {
            match value.into_string() {
                Ok(value) => ours.push((name.to_owned(), value.trim().to_owned(), *kind)),
                Err(_) => reader.error(name, None, Reason::NotUtf8),
            }
        } else if !is_of_a_service(name)
            && let Some(nearest) = misspelt(name, known.iter().map(|(known, _)| known.as_str()))
        {
            reader.warnings.push(Warning::Misspelt { name: name.to_owned(), nearest: nearest.to_owned() });
        }
    }
    // Empty means unset.
    ours.retain(|(_, value, _)| !value.is_empty());
    let config = reader.config(&ours);
    reader.errors.dedup();
    match config {
        Some(config) if reader.errors.is_empty() => {
            let effective = ours.iter().map(|(name, value, kind)| setting(name, value, *kind)).collect();
            Ok(Loaded { config, warnings: reader.warnings, effective })
        }
        _ => Err(Errors(reader.errors)),
    }
}

fn setting(name: &str, value: &str, kind: Kind) -> Setting {
    let understood = match kind {
        Kind::Duration(bare) => units::duration(value, bare).map(|value| Show(value).to_string()).ok(),
        Kind::Percent => units::bare_percent(value).map(|value| format!("{value}%")).ok(),
        Kind::Secret => Some("(secret)".to_owned()),
        Kind::Plain => None,
    };
    let value = understood.unwrap_or_else(|| value.chars().take(MAX_SHOWN).collect());
    Setting { name: name.to_owned(), value }
}

/// A variable that is set.
#[derive(Clone, Debug)]
pub(super) struct Var {
    pub(super) name: String,
    pub(super) value: String,
}

/// Collects everything that is wrong.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) errors: Vec<ConfigError>,
    pub(super) warnings: Vec<Warning>,
}

impl Reader {
    pub(super) fn error(&mut self, place: &str, value: Option<String>, reason: Reason) {
        let error = ConfigError { place: place.to_owned(), value, reason };
        // An unprefixed variable is read once for each target.
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    pub(super) fn wrong(&mut self, var: &Var, reason: Reason) {
        self.error(&var.name, Some(var.value.clone()), reason);
    }

    pub(super) fn read<T>(
        &mut self,
        var: Option<&Var>,
        parse: impl FnOnce(&str) -> Result<T, Reason>,
    ) -> Option<T> {
        let var = var?;
        parse(&var.value).map_err(|reason| self.wrong(var, reason)).ok()
    }

    /// A duration; 0 means unset.
    pub(super) fn duration(&mut self, var: Option<&Var>, bare: Bare) -> Option<Duration> {
        self.read(var, |text| units::duration(text, bare).map_err(Reason::Unit))
            .filter(|value| !value.is_zero())
    }

    /// A whole number within a range.
    pub(super) fn number(&mut self, var: Option<&Var>, least: u64, most: u64) -> Option<u64> {
        self.read(var, |text| {
            let digits = text.bytes().all(|c| c.is_ascii_digit());
            let number = text.parse().ok().filter(|number| digits && (least..=most).contains(number));
            number.ok_or(Reason::Range { least, most })
        })
    }

    pub(super) fn word<T: Copy>(
        &mut self,
        var: Option<&Var>,
        words: &'static [&'static str],
        meanings: &[T],
    ) -> Option<T> {
        self.read(var, |text| {
            let found = words.iter().position(|word| *word == text).and_then(|at| meanings.get(at).copied());
            found.ok_or(Reason::OneOf(words))
        })
    }

    /// A truth value as Go's `strconv.ParseBool` takes it.
    pub(super) fn flag(&mut self, var: Option<&Var>) -> Option<bool> {
        self.read(var, |text| match text {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
            _ => Err(Reason::Bool),
        })
    }

    fn config(&mut self, ours: &[(String, String, Kind)]) -> Option<Config> {
        let pairs = || ours.iter().map(|(name, value, _)| (name.clone(), value.clone()));
        let unprefixed: RawFault = self.raw(envy::from_iter(pairs()))?;
        let mut prefixed = Vec::new();
        for target in Target::ALL {
            prefixed.push(self.raw(envy::prefixed(prefix(target)).from_iter::<_, RawFault>(pairs()))?);
        }
        let raw: RawService = self.raw(envy::from_iter(pairs()))?;

        let given = self.plan(raw.faults.as_deref());
        let mut rules = given.rules;
        rules.extend(groups::rules(self, &raw, &unprefixed, &prefixed));
        let plan = match Plan::new(rules) {
            Ok(plan) => plan,
            Err(errors) => {
                for error in errors {
                    self.error("plan", None, Reason::Plan(error));
                }
                Plan::default()
            }
        };
        self.refuse_later(&raw);

        let seed = self.number(var("SEED", raw.seed.as_ref()).as_ref(), 0, u64::MAX).or(given.seed);
        let scope = self.word(
            var("SEED_SCOPE", raw.seed_scope.as_ref()).as_ref(),
            &["pod", "fleet"],
            &[SeedScope::Pod, SeedScope::Fleet],
        );
        let checks =
            self.flag(var("READINESS_CHECKS_DEPENDENCY", raw.readiness_checks_dependency.as_ref()).as_ref());
        let (probe_address, admin_address) = self.addresses(&raw);
        Some(Config {
            plan,
            seed: SeedChoice { seed, scope: scope.unwrap_or_default() },
            readiness_checks_dependency: checks.unwrap_or(true),
            probe_address,
            admin_address,
            paths: self.paths(&raw),
            limits: self.limits(&raw),
            process: self.process(&raw),
            identity: Identity { pod: raw.pod_name, namespace: raw.pod_namespace, node: raw.node_name },
        })
    }

    fn raw<T>(&mut self, raw: envy::Result<T>) -> Option<T> {
        raw.map_err(|error| self.error("environment", None, Reason::Reader(error.to_string()))).ok()
    }

    /// The plan of `FAULTS`.
    fn plan(&mut self, text: Option<&str>) -> RawPlan {
        let Some(text) = text else { return RawPlan::default() };
        let value = match document::parse(text, document::MAX_PLAN) {
            Ok(value) => value,
            Err(error) => {
                self.error("FAULTS", None, Reason::Document(error));
                return RawPlan::default();
            }
        };
        if value.is_null() {
            self.error("FAULTS", Some(text.to_owned()), Reason::EmptyPlan);
            return RawPlan::default();
        }
        match read_plan(&value, "FAULTS") {
            Ok(plan) => {
                if plan.rules.is_empty() && plan.seed.is_none() {
                    self.error("FAULTS", Some(text.to_owned()), Reason::EmptyPlan);
                }
                plan
            }
            Err(errors) => {
                self.errors.extend(errors);
                RawPlan::default()
            }
        }
    }

    fn refuse_later(&mut self, raw: &RawService) {
        for (name, value) in [
            ("FAULTS_FILE", &raw.faults_file),
            ("ADMIN_TOKEN", &raw.admin_token),
            ("ADMIN_TOKEN_FILE", &raw.admin_token_file),
            ("ANNOTATION_FILE", &raw.annotation_file),
            ("STATE_DIR", &raw.state_dir),
        ] {
            if value.is_some() {
                self.error(name, None, Reason::NotBuilt);
            }
        }
    }

    fn addresses(&mut self, raw: &RawService) -> (Address, Address) {
        let port_var = var("PORT", raw.port.as_ref());
        let port = self.number(port_var.as_ref(), 0, u64::from(u16::MAX)).unwrap_or(8080) as u16;
        let ip = self.read(var("BIND_ADDRESS", raw.bind_address.as_ref()).as_ref(), |text| {
            let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
            bare.parse::<IpAddr>().map_err(|_| Reason::Address("10.0.0.1 or ::1"))
        });
        let probe = Address { ip, port };
        let admin_var = var("ADMIN_ADDRESS", raw.admin_address.as_ref());
        let admin = self.read(admin_var.as_ref(), |text| {
            let wrong = Reason::Address("127.0.0.1:8081, [::1]:8081 or :8081");
            match text.strip_prefix(':') {
                Some(port) => port.parse().map(|port| Address { ip: None, port }).map_err(|_| wrong),
                None => text
                    .parse::<SocketAddr>()
                    .map(|address| Address { ip: Some(address.ip()), port: address.port() })
                    .map_err(|_| wrong),
            }
        });
        let admin = admin.unwrap_or(Address { ip: None, port: 8081 });
        let overlap = match (probe.ip, admin.ip) {
            (Some(one), Some(other)) => one == other || one.is_unspecified() || other.is_unspecified(),
            _ => true,
        };
        if port == admin.port && port != 0 && overlap {
            match port_var.as_ref().or(admin_var.as_ref()) {
                Some(set) if set.name == "PORT" => {
                    self.wrong(set, Reason::Conflict("the port of ADMIN_ADDRESS".into()));
                }
                Some(set) => self.wrong(set, Reason::Conflict("PORT".into())),
                None => {}
            }
        }
        (probe, admin)
    }

    fn paths(&mut self, raw: &RawService) -> Vec<(String, Target)> {
        let mut paths: Vec<(String, Target)> =
            DEFAULT_PATHS.iter().map(|(path, target)| ((*path).to_owned(), *target)).collect();
        for (name, list, target) in [
            ("LIVENESS_PATHS", &raw.liveness_paths, Target::Liveness),
            ("READINESS_PATHS", &raw.readiness_paths, Target::Readiness),
            ("STARTUP_PATHS", &raw.startup_paths, Target::Startup),
            ("DEPENDENCY_PATHS", &raw.dependency_paths, Target::Dependency),
            ("TRAFFIC_PATHS", &raw.traffic_paths, Target::Traffic),
        ] {
            for path in list.iter().flat_map(|list| list.split(',')).map(str::trim) {
                if !is_path(path) {
                    self.error(name, Some(path.to_owned()), Reason::Path);
                } else if matches!(path, "/" | "/metrics") {
                    self.error(name, Some(path.to_owned()), Reason::PathTaken("the service"));
                } else {
                    match paths.iter().find(|(taken, _)| taken == path) {
                        Some((_, owner)) if *owner == target => {}
                        Some((_, owner)) => {
                            self.error(name, Some(path.to_owned()), Reason::PathTaken(owner.name()));
                        }
                        None => paths.push((path.to_owned(), target)),
                    }
                }
            }
        }
        paths
    }

    fn limits(&mut self, raw: &RawService) -> Limits {
        let connections =
            self.number(var("MAX_CONNECTIONS", raw.max_connections.as_ref()).as_ref(), 0, 1_000_000);
        let head_time = self.duration(var("HEAD_TIMEOUT", raw.head_timeout.as_ref()).as_ref(), Bare::Seconds);
        let idle_time = self.duration(var("IDLE_TIMEOUT", raw.idle_timeout.as_ref()).as_ref(), Bare::Seconds);
        let head_size = self.read(var("MAX_HEAD_SIZE", raw.max_head_size.as_ref()).as_ref(), |text| {
            let size = units::size(text).map_err(Reason::Unit)?;
            let (least, most) = (1 << 10, 1 << 20);
            if (least..=most).contains(&size) { Ok(size) } else { Err(Reason::Range { least, most }) }
        });
        Limits {
            connections: connections.filter(|most| *most > 0).unwrap_or(4096) as usize,
            head_time: head_time.unwrap_or(Duration::from_secs(10)),
            idle_time: idle_time.unwrap_or(Duration::from_secs(75)),
            head_size: head_size.unwrap_or(16 << 10) as usize,
        }
    }

    fn process(&mut self, raw: &RawService) -> Process {
        let delay = self.duration(var("SHUTDOWN_DELAY", raw.shutdown_delay.as_ref()).as_ref(), Bare::Seconds);
        let grace = self.duration(var("SHUTDOWN_GRACE", raw.shutdown_grace.as_ref()).as_ref(), Bare::Seconds);
        let threads = self.number(var("WORKER_THREADS", raw.worker_threads.as_ref()).as_ref(), 0, 64);
        let format = self.word(
            var("LOG_FORMAT", raw.log_format.as_ref()).as_ref(),
            &["json", "text"],
            &[LogFormat::Json, LogFormat::Text],
        );
        let level = self.word(
            var("LOG_LEVEL", raw.log_level.as_ref()).as_ref(),
            &["error", "warn", "info", "debug", "trace"],
            &[Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE],
        );
        Process {
            shutdown_delay: delay.unwrap_or_default(),
            shutdown_grace: grace.unwrap_or(Duration::from_secs(5)),
            worker_threads: threads.filter(|threads| *threads > 0).unwrap_or(1) as usize,
            log_format: format.unwrap_or_default(),
            log_level: level.unwrap_or(Level::INFO),
        }
    }
}

/// The paths that need no variable.
const DEFAULT_PATHS: [(&str, Target); 7] = [
    ("/healthz", Target::Liveness),
    ("/livez", Target::Liveness),
    ("/liveness", Target::Liveness),
    ("/readyz", Target::Readiness),
    ("/readiness", Target::Readiness),
    ("/startupz", Target::Startup),
    ("/dependency", Target::Dependency),
];

fn is_path(path: &str) -> bool {
    let fixed = path.strip_suffix("/*").unwrap_or(path);
    (fixed.starts_with('/') || path == "/*")
        && fixed.bytes().all(|c| c.is_ascii_graphic() && !b"?#{}*".contains(&c))
}

pub(super) fn var(name: &str, value: Option<&String>) -> Option<Var> {
    Some(Var { name: name.to_owned(), value: value?.clone() })
}
