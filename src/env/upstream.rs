//! The variables of an application behind the probe listener, and of forwarding.

use std::time::Duration;

use super::raw::ServiceVariables;
use super::reader::{OFF, Parsed, VariableReader, boolean, duration, ip, up_to, word};
use super::{BindAddress, ForwardOptions, SourceAddress, UpstreamSettings, Warning, tls};
use crate::fault::{UpstreamAddress, UpstreamError, UpstreamProtocol};
use crate::plan::Proxy;
use crate::plan::error::Reason;
use crate::tls::{ClientTls, server_name};
use crate::units::Bare;

/// Maximum of `UPSTREAM_CONNECTIONS`.
const MAX_CONNECTIONS: u64 = 1 << 20;

/// `UPSTREAM` and `UPSTREAM_PROBES`.
pub(super) fn upstream(
    reader: &mut VariableReader,
    raw: &mut ServiceVariables,
    (probe, admin): (BindAddress, BindAddress),
    mut tls: ClientTls,
) -> Option<UpstreamSettings> {
    let address = reader.read("UPSTREAM", raw.upstream.take(), |text| {
        let address: UpstreamAddress = text.parse().map_err(|error: UpstreamError| Reason::from(error))?;
        let shown = address.to_string();
        Ok((Some(address), shown))
    });
    let answers = reader.read("UPSTREAM_PROBES", raw.upstream_probes.take(), boolean);
    if let (None, Some(answers)) = (&address, &answers) {
        reader.warnings.insert(Warning::no_effect(&answers.name, "UPSTREAM"));
    }
    let is_https = address
        .as_ref()
        .and_then(Parsed::value)
        .is_some_and(|address| address.protocol() == UpstreamProtocol::Https);
    let name = reader.read("UPSTREAM_SERVER_NAME", raw.upstream_server_name.take(), |text| {
        let name = server_name(text).ok_or(Reason::ServerName)?;
        let shown = name.to_str().into_owned();
        Ok((Some(name), shown))
    });
    if let (false, Some(name)) = (is_https, &name) {
        reader.warnings.insert(Warning::no_effect(&name.name, "UPSTREAM=https://…"));
    }
    tls.server_name = name.as_ref().and_then(Parsed::value).cloned();
    let parsed = address?;
    let address = parsed.value()?.clone();
    if let Some(port) = address.loopback_port() {
        for (own, name) in [(probe, "the probe listener"), (admin, "the admin listener")] {
            if own.port == port && own.ip.is_none_or(|ip| ip.is_unspecified() || ip.is_loopback()) {
                reader.fail(parsed.error(Reason::OwnListener(name)));
            }
        }
    }
    let answers_probes = answers.as_ref().and_then(Parsed::value).copied().unwrap_or(true);
    Some(UpstreamSettings { address, answers_probes, is_attached: false, tls })
}

/// `UPSTREAM_CA_FILE` and `UPSTREAM_INSECURE`, which also apply to the proxies of `PROXIES`.
pub(super) fn client_tls(reader: &mut VariableReader, raw: &mut ServiceVariables) -> ClientTls {
    let ca = tls::path(reader, "UPSTREAM_CA_FILE", raw.upstream_ca_file.take());
    let insecure = reader.read("UPSTREAM_INSECURE", raw.upstream_insecure.take(), boolean);
    if let (Some(_), Some(insecure)) = (&ca, insecure.as_ref().filter(|parsed| parsed.value() == Some(&true)))
    {
        reader.fail(
            insecure.error(Reason::NotWith("UPSTREAM_CA_FILE, which is set, too; keep one".to_owned())),
        );
    }
    let insecure = insecure.as_ref().and_then(Parsed::value).copied().unwrap_or(false);
    ClientTls { ca, server_name: None, insecure }
}

/// Warns of variables of TLS where no upstream of the variables speaks it.
pub(super) fn warn_of_tls(
    reader: &mut VariableReader,
    upstream: Option<&UpstreamSettings>,
    proxies: &[Proxy],
) {
    let is_https = upstream.is_some_and(|upstream| upstream.address.protocol() == UpstreamProtocol::Https);
    if is_https || proxies.iter().any(|proxy| proxy.tls.is_some()) {
        return;
    }
    let names = ["UPSTREAM_CA_FILE", "UPSTREAM_INSECURE"];
    let is_set = |name: &&str| {
        let is_on = |value: &str| value != "false" && value != OFF;
        reader.effective.iter().any(|setting| setting.name == *name && is_on(&setting.value))
    };
    let warnings: Vec<Warning> = names
        .iter()
        .filter(|name| is_set(name))
        .map(|name| Warning::no_effect(name, "https:// in UPSTREAM, or https:// or tls:// in PROXIES"))
        .collect();
    reader.warnings.extend(warnings);
}

/// How requests are forwarded, to the application and by named proxies.
pub(super) fn options(reader: &mut VariableReader, raw: &mut ServiceVariables) -> ForwardOptions {
    let s = duration(Bare::Seconds);
    let timeout = reader.read("UPSTREAM_TIMEOUT", raw.upstream_timeout.take(), &s);
    ForwardOptions {
        source: reader.read_or(
            "UPSTREAM_SOURCE",
            raw.upstream_source.take(),
            SourceAddress::Reached,
            |text| match text.to_ascii_lowercase().as_str() {
                "reached" => Ok((Some(SourceAddress::Reached), "reached".to_owned())),
                "system" => Ok((Some(SourceAddress::System), "system".to_owned())),
                "0" => Ok((None, String::new())),
                _ => {
                    let (address, shown) = ip(text).map_err(|_| Reason::SourceAddress)?;
                    let address =
                        address.filter(|address| !address.is_unspecified() && !address.is_multicast());
                    Ok((Some(SourceAddress::Ip(address.ok_or(Reason::SourceAddress)?)), shown))
                }
            },
        ),
        timeout: timeout.as_ref().and_then(Parsed::value).copied(),
        connect_timeout: reader.read_or(
            "UPSTREAM_CONNECT_TIMEOUT",
            raw.upstream_connect_timeout.take(),
            Duration::from_secs(5),
            &s,
        ),
        connections: reader.read_or(
            "UPSTREAM_CONNECTIONS",
            raw.upstream_connections.take(),
            4096,
            up_to(MAX_CONNECTIONS),
        ),
        finds_loops: true,
        tells_client: reader.read_or(
            "FORWARDED_HEADERS",
            raw.forwarded_headers.take(),
            true,
            word(&[("append", true), ("off", false)]),
        ),
    }
}
