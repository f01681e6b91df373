//! The configuration of the service behind `attach`.

use std::ffi::OsString;
use std::net::IpAddr;

use super::arguments::{AttachArguments, Switch};
use super::upstream;
use crate::attach::{APPLICATION, gateways};
use crate::env::{self, AttachedProxy, Flag, Loaded};
use crate::fault::{Protocol, ProxyName};
use crate::plan::Errors;
use crate::sources::start::check_here;

/// Memory for the service where the container has no limit, such as an ephemeral one.
const MEMORY: u64 = 32 << 20;

/// The variable with the node's address, from which the kubelet probes.
const NODE_IP: &str = "NODE_IP";

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
    let application = upstream(arguments.port);
    let is_http = arguments.protocol == Protocol::Http;
    // Either an application behind the probe listener, or a TCP proxy.
    let (upstream, proxy) = if is_http {
        (format!("http://{application}"), String::new())
    } else {
        (String::new(), format!("{APPLICATION}=0.0.0.0:{}->{application}", arguments.port))
    };
    let mut flags = vec![
        // The sockets of the port are bound by `attach`.
        flag("--port", "PORT", "0"),
        flag("--port", "BIND_ADDRESS", ""),
        flag("--port", "UPSTREAM", &upstream),
        flag("--port", "PROXIES", &proxy),
        flag("--admin", "ADMIN_ADDRESS", &arguments.admin),
        // Time for answers that end open connections; only HTTP has such.
        flag("attach", "SHUTDOWN_DELAY", if is_http { "1s" } else { "0s" }),
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
    let node = env.iter().find(|(name, _)| name == NODE_IP).and_then(|(_, ip)| ip.to_str()?.parse().ok());
    let mut loaded = env::load_with(env.into_iter(), &flags)?;
    let config = &mut loaded.config;
    if let Some(upstream) = &mut config.upstream {
        upstream.is_attached = true;
    }
    if !is_http && let Ok(name) = ProxyName::new(APPLICATION) {
        let is_spared = !arguments.has(Switch::IncludeProbes);
        let spared = gateways().into_iter().map(IpAddr::from).chain(node);
        config.attached = Some(AttachedProxy { name, spared: spared.filter(|_| is_spared).collect() });
    }
    // Nothing that it forwards to loopback comes back, and the application sees what it always saw.
    config.forwarding.finds_loops = false;
    // Every request is traffic: which paths are probes is the application's affair.
    config.paths.clear();
    config.process.memory = Some(MEMORY);
    check_here(config).map_err(|mut errors| {
        let written = arguments.plan.as_ref().map_or("FAULTS", |(_, written)| written);
        for error in errors.kept_mut() {
            if let Some(rule) = error.place.strip_prefix("FAULTS: ") {
                error.place = format!("{written}: {rule}");
            }
        }
        errors
    })?;
    Ok(loaded)
}
