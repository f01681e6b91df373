//! Reads the variables of the environment, and flags that set some, into a checked configuration.
//!
//! Names are exact: upper case, as documented. All errors are found at once.

mod config;
mod faults;
mod groups;
mod inline;
mod latency;
mod other_names;
mod proxies;
mod raw;
mod reader;
mod service;
mod service_link;
mod suggest;
mod tls;
mod toxiproxy;
mod upstream;
mod variables;
mod warning;

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

pub use config::{
    AttachedProxy, BindAddress, Config, Files, ForwardOptions, Identity, Limits, LogFormat, ProcessSettings,
    SeedChoice, SeedScope, SourceAddress, Token, UpstreamSettings, effective_seed,
};
use faults::FaultSettings;
pub use groups::PROCESS_VARIABLES;
use groups::{Groups, Partition, ProcessFaults};
use raw::{FaultVariables, ServiceVariables};
use reader::VariableReader;
pub use tls::{CertificateSource, TlsOptions};
pub use toxiproxy::ToxiproxyOptions;
pub use variables::{FLAGS, VARIABLES, Variable};
use variables::{SYNONYMS, prefix};
pub use warning::{Warning, WarningKind};

use crate::fault::{Container, MAX_RULES, Plan, Replica, Rule, Target, Targets};
use crate::order;
use crate::plan::{ConfigError, Errors, Reason, check_container, check_replica};

/// The variable of the state directory.
const STATE_DIR: &str = "STATE_DIR";

/// A checked configuration with its warnings and effective values.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings about variables; they do not prevent the start.
    pub warnings: Vec<Warning>,
    /// The effective value of each variable that is set, by name.
    pub effective: Vec<Setting>,
}

/// The effective value of a variable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Setting {
    /// The variable.
    pub name: String,
    /// Its value, with unit.
    pub value: String,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

/// A variable set on the command line. It overrides the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The flag in errors: `--port`, `--set PORT`.
    pub written: String,
    /// The variable.
    pub variable: String,
    /// Its value; empty unsets the variable.
    pub value: String,
}

impl Flag {
    /// Whether it replaces a variable: the one that it sets, or a synonym.
    fn replaces(&self, variable: &str) -> bool {
        self.variable == variable
            || SYNONYMS.iter().any(|(a, b)| {
                (*a == self.variable && *b == variable) || (*b == self.variable && *a == variable)
            })
    }
}

/// A rule and where it comes from.
struct SourcedRule {
    rule: Rule,
    /// Its variable, or its position in a plan.
    place: String,
}

/// Reads the configuration from variables. The error lists all errors.
pub fn load(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Loaded, Errors> {
    load_with(variables, &[])
}

/// Reads the configuration from variables and from flags, which take precedence. If a flag is repeated, the last one
/// counts. Reports all errors; those of a flag name it.
pub fn load_with(
    variables: impl Iterator<Item = (OsString, OsString)>,
    flags: &[Flag],
) -> Result<Loaded, Errors> {
    let mut reader = VariableReader::default();
    let set = flags.iter().rev().map(|flag| (flag.variable.clone().into(), flag.value.clone().into()));
    let is_left =
        |name: &OsString| !name.to_str().is_some_and(|name| flags.iter().any(|flag| flag.replaces(name)));
    let ours = ours(set.chain(variables.filter(|(name, _)| is_left(name))), &mut reader);
    let written = |place: &mut String| {
        let end = place.find(':').unwrap_or(place.len());
        if let Some(flag) = flags.iter().find(|flag| flag.variable == place[..end]) {
            place.replace_range(..end, &flag.written);
        }
    };
    match read(reader, &ours) {
        Ok(mut loaded) => {
            for warning in &mut loaded.warnings {
                written(&mut warning.name);
            }
            Ok(loaded)
        }
        Err(mut errors) => {
            for error in errors.kept_mut() {
                written(&mut error.place);
            }
            Err(errors)
        }
    }
}

/// `STATE_DIR` as [`load_with`] reads it, ignoring errors elsewhere.
pub fn state_dir(variables: &[(OsString, OsString)], flags: &[Flag]) -> Option<PathBuf> {
    let flag = flags.iter().rev().find(|flag| flag.variable == STATE_DIR).map(|flag| flag.value.as_str());
    let variable = || variables.iter().find(|(name, _)| name == STATE_DIR)?.1.to_str();
    let path = flag.or_else(variable)?.trim();
    (!path.is_empty()).then(|| path.into())
}

/// Separate from [`load_with`], which is compiled once per type of iterator.
fn read(mut reader: VariableReader, ours: &HashMap<String, String>) -> Result<Loaded, Errors> {
    let pairs = || ours.iter().map(|(name, value)| (name.clone(), value.clone()));
    // Cannot fail: all fields are optional texts.
    let mut raw: ServiceVariables = envy::from_iter(pairs()).unwrap_or_default();
    let shared: FaultVariables = envy::prefixed("").from_iter(pairs()).unwrap_or_default();
    let shared = FaultSettings::read(&mut reader, "", shared);
    let own = Target::ALL.map(|target| {
        let raw = envy::prefixed(prefix(target)).from_iter(pairs()).unwrap_or_default();
        FaultSettings::read(&mut reader, prefix(target), raw)
    });

    let (probe_address, admin_address) = service::addresses(&mut reader, &mut raw);
    let client_tls = upstream::client_tls(&mut reader, &mut raw);
    let upstream =
        upstream::upstream(&mut reader, &mut raw, (probe_address, admin_address), client_tls.clone());
    let forwarding = upstream::options(&mut reader, &mut raw);
    let behind = upstream.is_some();
    let paths = service::paths(&mut reader, &mut raw, behind);
    let limits = service::limits(&mut reader, &mut raw, behind);
    let process = service::process(&mut reader, &mut raw);
    let identity = service::identity(&mut reader, &mut raw);
    let files = service::files(&mut reader, &mut raw);
    let readiness_checks_dependency = service::checks_dependency(&mut reader, &mut raw, !behind);
    let admin_token = service::admin_token(&mut reader, &mut raw);
    let admin_loopback = service::admin_loopback(&mut reader, &mut raw);
    let tls = tls::tls(&mut reader, &mut raw);
    let toxiproxy = toxiproxy::toxiproxy(&mut reader, &mut raw);
    let request_faults = reader.read_or("REQUEST_FAULTS", raw.request_faults.take(), false, reader::boolean);

    let mut plan = inline::plan(&mut reader, &mut raw);
    let listeners = [(probe_address, "the probe listener"), (admin_address, "the admin listener")];
    let proxies = proxies::proxies(&mut reader, &mut raw, (plan.proxies.take(), &client_tls), listeners);
    upstream::warn_of_tls(&mut reader, upstream.as_ref(), &proxies);
    let seed = inline::seed(&mut reader, &mut raw, plan.seed);
    let partition = Partition::read(&mut reader, &mut raw);
    let faults = ProcessFaults::read(&mut reader, &mut raw);
    let dependency = reader.read("FAIL_DEPENDENCY", raw.fail_dependency.take(), reader::boolean);
    let replica = Replica::named(seed.seed, identity.pod.as_deref());
    reader.errors.append(check_replica(&plan.rules, &replica, "FAULTS"));
    let container = Container {
        keeps_state: files.state.is_some(),
        has_seed: seed.seed.is_some(),
        has_tls: tls.certificate.is_some(),
        resources: None,
    };
    reader.errors.append(check_container(&plan.rules, &container, "FAULTS"));
    let mut rules = inline::rules(plan);
    rules.extend(Groups::rules(
        &mut reader,
        &shared,
        &own,
        &partition,
        dependency.as_ref(),
        (&faults, &container),
        behind,
    ));
    if !behind && !paths.iter().any(|(_, target)| *target == Target::Traffic) {
        warn_of_traffic(&mut reader, &rules);
    }
    proxies::check(&mut reader, &rules, &proxies, &files);
    let is_strict = reader.read_or("STRICT", raw.strict.take(), false, reader::boolean);
    let plan = joined(&mut reader, rules);

    let VariableReader { mut errors, mut warnings, mut effective } = reader;
    if is_strict {
        errors.extend(std::mem::take(&mut warnings).into_iter().map(Warning::into_error));
    }
    // Sorted by variable; the errors of a plan keep its order.
    errors.sort_by_key(|error| error.place.split(':').next().unwrap_or_default().to_owned());
    order::sort(&mut effective);
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
        admin_loopback,
        request_faults,
        tls,
        toxiproxy,
        files,
        upstream,
        proxies,
        attached: None,
        forwarding,
    };
    Ok(Loaded { config, warnings: warnings.into_iter().collect(), effective })
}

/// Warns about variables and rules that act only on traffic, if no path belongs to traffic.
fn warn_of_traffic(reader: &mut VariableReader, rules: &[SourcedRule]) {
    let variables = reader
        .effective
        .iter()
        .filter(|setting| setting.name.starts_with(prefix(Target::Traffic)) && setting.value != reader::OFF);
    let only_traffic = Targets::NONE.with(Target::Traffic);
    let rules =
        rules.iter().filter(|made| made.place.starts_with("FAULTS:") && *made.rule.targets() == only_traffic);
    let names = variables.map(|setting| &setting.name).chain(rules.map(|made| &made.place));
    let warnings: Vec<Warning> = names.map(|name| Warning::no_effect(name, "TRAFFIC_PATHS")).collect();
    reader.warnings.extend(warnings);
}

/// The names of all our variables, with and without prefixes.
fn names() -> Vec<String> {
    VARIABLES.iter().flat_map(Variable::names).collect()
}

/// The variable that a misspelt name probably stands for.
pub fn nearest_variable(name: &str) -> Option<String> {
    let names = names();
    suggest::meant(name, &suggest::candidates(&names)).map(str::to_owned)
}

/// Our variables, each once. Other variables are checked for misspellings of ours.
fn ours(
    variables: impl Iterator<Item = (OsString, OsString)>,
    reader: &mut VariableReader,
) -> HashMap<String, String> {
    let names = names();
    let known: HashSet<&str> = names.iter().map(String::as_str).collect();
    let candidates = suggest::candidates(&names);
    let mut ours = HashMap::new();
    for (name, value) in variables {
        let Ok(name) = name.into_string() else { continue };
        if value.to_str().is_some_and(|value| service_link::is_service_link(&name, value)) {
            continue;
        }
        if !known.contains(name.as_str()) {
            if let Some(problem) = suggest::diagnose(&name, &candidates) {
                reader.warnings.insert(Warning { name, problem });
            }
            continue;
        }
        match value.into_string() {
            // If a name is set twice, the first value counts, as with getenv.
            Ok(value) => {
                ours.entry(name).or_insert(value);
            }
            Err(value) => {
                let error = ConfigError::new(&name, Reason::NotUtf8);
                let is_secret = name == "ADMIN_TOKEN";
                reader.fail(if is_secret { error } else { error.value(&value.to_string_lossy()) });
            }
        }
    }
    ours
}

/// All rules as one plan. Duplicate names are errors.
fn joined(reader: &mut VariableReader, sourced: Vec<SourcedRule>) -> Plan {
    if sourced.len() > MAX_RULES {
        reader.fail(ConfigError::new("FAULTS", Reason::TooManyRules(sourced.len())));
    }
    let mut places = HashMap::new();
    let mut rules = Vec::new();
    for SourcedRule { rule, place } in sourced {
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
    // Anything that could fail here has been reported above.
    Plan::new(rules).unwrap_or_default()
}

#[cfg(test)]
mod tests;
