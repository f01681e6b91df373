//! The proxies in variables.

use super::raw::ServiceVariables;
use super::reader::VariableReader;
use super::{BindAddress, Files, SourcedRule};
use crate::fault::{Protocol, ProxyName};
use crate::plan::error::{ConfigError, Reason};
use crate::plan::{Proxy, check_proxies, check_targets, parse_proxies};
use crate::tls::ClientTls;

/// The proxies of `PROXIES`, and those of the plan in `FAULTS`.
pub(super) fn proxies(
    reader: &mut VariableReader,
    raw: &mut ServiceVariables,
    (of_plan, tls): (Option<Vec<Proxy>>, &ClientTls),
    own: [(BindAddress, &'static str); 2],
) -> Vec<Proxy> {
    let parsed = reader.read("PROXIES", raw.proxies.take(), |text| {
        let proxies = parse_proxies(text)?;
        let shown = proxies.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        Ok((Some(proxies), shown))
    });
    let mut proxies = parsed.and_then(|parsed| parsed.value().cloned()).unwrap_or_default();
    for of_upstream in proxies.iter_mut().filter_map(|proxy| proxy.tls.as_mut()) {
        of_upstream.clone_from(tls);
    }
    let place = if proxies.is_empty() { "FAULTS: proxies" } else { "PROXIES and FAULTS together: proxies" };
    proxies.extend(of_plan.unwrap_or_default());
    if !proxies.is_empty() {
        check_together(reader, &proxies, place, own);
    }
    proxies
}

/// Not inlined: most services have no proxies.
#[inline(never)]
fn check_together(
    reader: &mut VariableReader,
    proxies: &[Proxy],
    place: &str,
    own: [(BindAddress, &'static str); 2],
) {
    reader.errors.append(check_proxies(proxies, |i| format!("{place}[{i}]")));
    for proxy in proxies {
        for (address, name) in own {
            let overlaps = address.ip.is_none_or(|ip| {
                ip == proxy.listen.ip() || ip.is_unspecified() || proxy.listen.ip().is_unspecified()
            });
            if address.port == proxy.listen.port() && address.port != 0 && overlaps {
                let error =
                    ConfigError::new(format!("proxy {}", proxy.name), Reason::PortTaken(name.to_owned()));
                reader.fail(error.field("listen").value(&proxy.listen.to_string()));
            }
        }
    }
}

/// Reports rules on unknown proxies, unless a file could still define them.
pub(super) fn check(reader: &mut VariableReader, rules: &[SourcedRule], proxies: &[Proxy], files: &Files) {
    if files.faults.is_some() || files.annotation_adds_proxies {
        return;
    }
    let names: Vec<(&ProxyName, Protocol)> =
        proxies.iter().map(|proxy| (&proxy.name, proxy.protocol())).collect();
    let rules = rules.iter().map(|made| (&made.rule, made.place.clone()));
    reader.errors.append(check_targets(rules, &names));
}
