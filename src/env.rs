//! From the variables of the environment to a configuration.
//!
//! Names are exact: upper case, as documented. Everything that is wrong is found at once.

mod config;
mod faults;
mod groups;
mod inline;
mod latency;
mod raw;
mod reader;
mod service;
mod suggest;
mod variables;

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fmt;

pub use config::{
    Address, Config, Files, Identity, Limits, LogFormat, Process, SeedChoice, SeedScope, Token,
    effective_seed,
};
use faults::FaultSettings;
use groups::{Groups, Partition};
use raw::{FaultVariables, ServiceVariables};
use reader::Reader;
use variables::prefix;
pub use variables::{VARIABLES, Variable};

use crate::fault::{MAX_RULES, Plan, Replica, Rule, Target};
use crate::plan::{ConfigError, Errors, Reason, check_replica};

/// A checked configuration, and what is worth telling about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is odd, but not wrong.
    pub warnings: Vec<Warning>,
    /// Each variable that is set, as it was understood, by name.
    pub effective: Vec<Setting>,
}

/// A variable as it was understood.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Setting {
    /// The variable.
    pub name: String,
    /// Its value with its unit.
    pub value: String,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

/// Something odd about the environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Warning {
    /// A name that is none of ours, but near one.
    Unknown {
        /// The name.
        name: String,
        /// The one that is meant, perhaps.
        nearest: String,
    },
    /// A variable that does nothing without another one.
    NoEffect {
        /// The variable.
        name: String,
        /// What it needs.
        needs: String,
    },
    /// A variable that hides a value of the plan.
    Overrides {
        /// The variable.
        name: String,
        /// What it hides.
        what: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name, nearest } => {
                write!(
                    f,
                    "{}: unknown variable, ignored; did you mean {nearest}?",
                    crate::plan::error::shown(name)
                )
            }
            Self::NoEffect { name, needs } => write!(f, "{name}: has no effect without {needs}"),
            Self::Overrides { name, what } => write!(f, "{name}: wins over {what}"),
        }
    }
}

/// A rule and where it comes from.
struct Made {
    rule: Rule,
    /// The variable or the position that made it.
    place: String,
}

/// The configuration that the variables ask for, or everything that is wrong with them.
pub fn load(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Loaded, Errors> {
    let mut reader = Reader::default();
    let ours = ours(variables, &mut reader);
    read(reader, &ours)
}

/// Apart from [`load`], which is made anew for each kind of iterator.
fn read(mut reader: Reader, ours: &HashMap<String, String>) -> Result<Loaded, Errors> {
    let pairs = || ours.iter().map(|(name, value)| (name.clone(), value.clone()));
    // Texts that may be absent: there is nothing in them that could fail.
    let mut raw: ServiceVariables = envy::from_iter(pairs()).unwrap_or_default();
    let shared: FaultVariables = envy::prefixed("").from_iter(pairs()).unwrap_or_default();
    let shared = FaultSettings::read(&mut reader, "", shared);
    let own = Target::ALL.map(|target| {
        let raw = envy::prefixed(prefix(target)).from_iter(pairs()).unwrap_or_default();
        FaultSettings::read(&mut reader, prefix(target), raw)
    });

    let (probe_address, admin_address) = service::addresses(&mut reader, &mut raw);
    let paths = service::paths(&mut reader, &mut raw);
    let limits = service::limits(&mut reader, &mut raw);
    let process = service::process(&mut reader, &mut raw);
    let identity = service::identity(&mut reader, &mut raw);
    let files = service::files(&mut reader, &mut raw);
    let readiness_checks_dependency = service::checks_dependency(&mut reader, &mut raw);
    let admin_token = service::admin_token(&mut reader, &mut raw);

    let plan = inline::plan(&mut reader, &mut raw);
    let seed = inline::seed(&mut reader, &mut raw, plan.seed);
    let partition = Partition::read(&mut reader, &mut raw);
    let dependency = reader.read("FAIL_DEPENDENCY", raw.fail_dependency.take(), reader::boolean);
    let replica = Replica::named(seed.seed, identity.pod.as_deref());
    reader.errors.append(check_replica(&plan.rules, &replica, "FAULTS"));
    let mut made = inline::rules(plan);
    made.extend(Groups::rules(&mut reader, &shared, &own, &partition, dependency.as_ref()));
    let plan = joined(&mut reader, made);

    let Reader { mut errors, warnings, mut effective } = reader;
    // By variable; of one plan in its own order.
    errors.sort_by_cached_key(|error| error.place.split(':').next().unwrap_or_default().to_owned());
    effective.sort();
    if !errors.is_empty() {
        return Err(errors);
    }
    let makes_rules = |setting: &&Setting| Variable::makes_rules(&setting.name);
    let config = Config {
        plan,
        rule_variables: effective.iter().filter(makes_rules).map(|setting| setting.name.clone()).collect(),
        seed,
        readiness_checks_dependency,
        probe_address,
        admin_address,
        paths,
        limits,
        process,
        identity,
        admin_token,
        files,
    };
    Ok(Loaded { config, warnings: warnings.into_iter().collect(), effective })
}

/// All names of variables of ours.
fn names() -> Vec<String> {
    VARIABLES.iter().flat_map(Variable::names).collect()
}

/// The variables of ours, each once. Others are looked at for slips of the pen.
fn ours(
    variables: impl Iterator<Item = (OsString, OsString)>,
    reader: &mut Reader,
) -> HashMap<String, String> {
    let names = names();
    let known: HashSet<&str> = names.iter().map(String::as_str).collect();
    let near = suggest::known(&names);
    let mut ours = HashMap::new();
    for (name, value) in variables {
        let Ok(name) = name.into_string() else { continue };
        if !known.contains(name.as_str()) {
            if let Some(nearest) = suggest::meant(&name, &value.to_string_lossy(), &near) {
                let nearest = nearest.to_owned();
                reader.warnings.insert(Warning::Unknown { name, nearest });
            }
            continue;
        }
        match value.into_string() {
            // Of a name that stands there twice, the first counts, as for getenv.
            Ok(value) => {
                ours.entry(name).or_insert(value);
            }
            Err(value) => {
                let error = ConfigError::new(&name, Reason::NotUtf8);
                let secret = name == "ADMIN_TOKEN";
                reader.fail(if secret { error } else { error.value(&value.to_string_lossy()) });
            }
        }
    }
    ours
}

/// All rules as one plan. Without a name twice.
fn joined(reader: &mut Reader, made: Vec<Made>) -> Plan {
    if made.len() > MAX_RULES {
        reader.fail(ConfigError::new("FAULTS", Reason::TooManyRules(made.len())));
    }
    let mut places = HashMap::new();
    let mut rules = Vec::new();
    for Made { rule, place } in made {
        match places.get(rule.name()) {
            Some(by) => {
                let reason = Reason::NameTaken { name: rule.name().clone(), by: String::clone(by) };
                reader.fail(ConfigError::new(place, reason));
            }
            None => {
                places.insert(rule.name().clone(), place);
            }
        }
        rules.push(rule);
    }
    // What can be wrong with it has been said.
    Plan::new(rules).unwrap_or_default()
}

#[cfg(test)]
mod tests;
