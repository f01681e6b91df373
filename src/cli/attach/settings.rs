//! The configuration of the service behind `attach`.

use std::ffi::OsString;

use super::arguments::{AttachArguments, Switch};
use super::upstream;
use crate::env::{self, Flag, Loaded};
use crate::plan::{ConfigError, Errors, Reason};

/// Memory for the service where the container has no limit, such as an ephemeral one.
const MEMORY: u64 = 32 << 20;

/// Reads the variables of the environment, and sets those that make `serve` the proxy of a port that is taken over.
///
/// # Errors
///
/// Rules, other options or variables are wrong. All errors are listed.
pub(super) fn load(env: Vec<(OsString, OsString)>, arguments: &AttachArguments) -> Result<Loaded, Errors> {
    let is_set = |name: &str| env.iter().any(|(known, value)| known == name && !value.is_empty());
    let flag = |written: &str, variable: &str, value: &str| Flag {
        written: written.to_owned(),
        variable: variable.to_owned(),
        value: value.to_owned(),
    };
    let application = format!("http://{}", upstream(arguments.port));
    let mut flags = vec![
        // The sockets of the port are bound by `attach`.
        flag("--port", "PORT", "0"),
        flag("--port", "BIND_ADDRESS", ""),
        flag("--port", "UPSTREAM", &application),
        flag("--admin", "ADMIN_ADDRESS", &arguments.admin),
        // Time for answers that end open connections.
        flag("attach", "SHUTDOWN_DELAY", "1s"),
        flag("attach", "STATE_DIR", ""),
    ];
    for (variable, value) in [("FORWARDED_HEADERS", "off"), ("SHUTDOWN_GRACE", "10s")] {
        if !is_set(variable) {
            flags.push(flag("attach", variable, value));
        }
    }
    if arguments.has(Switch::AsLocalhost) {
        flags.push(flag("--as-localhost", "UPSTREAM_SOURCE", "system"));
    }
    if let Some((plan, written)) = &arguments.plan {
        flags.push(flag(written, "FAULTS", &plan.to_string()));
    }
    let mut loaded = env::load_with(env.into_iter(), &flags)?;
    let config = &mut loaded.config;
    if let Some(rule) = config.plan.rules().iter().find(|rule| rule.process().is_some()) {
        let error = ConfigError::new(rule.name().as_str(), Reason::File(OF_PROCESS.to_owned()));
        return Err(error.field("target").value("process").into());
    }
    // Every request is traffic: which paths are probes is the application's affair.
    config.paths.clear();
    config.process.memory = Some(MEMORY);
    Ok(loaded)
}

const OF_PROCESS: &str = "would act on attach itself, not on the application";
