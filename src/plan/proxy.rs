//! Reads proxies from plans and from the variable `PROXIES`, and writes them.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

use super::error::{ConfigError, Errors, Reason};
use super::reader::{FieldReader, Fields};
use crate::fault::{MAX_PROXIES, Protocol, ProxyName, UpstreamAddress, UpstreamError, UpstreamPlace};
use crate::tls::{ClientTls, server_name};

/// A named proxy: a listener and its upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// The target of its requests.
    pub name: ProxyName,
    /// The address to listen on; port 0 selects a free one.
    pub listen: SocketAddr,
    /// Its upstream.
    pub upstream: ProxyUpstream,
    /// How TLS is spoken with its upstream; absent: not at all.
    pub tls: Option<ClientTls>,
}

/// The upstream of a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyUpstream {
    /// An HTTP server.
    Http(UpstreamAddress),
    /// A TCP server of any protocol.
    Tcp(UpstreamPlace),
}

impl Proxy {
    /// The protocol of its clients, if known.
    pub const fn protocol(&self) -> Protocol {
        self.upstream.protocol()
    }
}

impl ProxyUpstream {
    const fn protocol(&self) -> Protocol {
        match self {
            Self::Http(_) => Protocol::Http,
            Self::Tcp(_) => Protocol::Tcp,
        }
    }
}

impl fmt::Display for ProxyUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(address) => address.fmt(f),
            Self::Tcp(place) => place.fmt(f),
        }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_tls = self.tls.is_some() && matches!(self.upstream, ProxyUpstream::Tcp(_));
        let scheme = if is_tls { TLS_SCHEME } else { "" };
        write!(f, "{}={}->{scheme}{}", self.name, self.listen, self.upstream)
    }
}

impl ProxyUpstream {
    /// The host, without brackets.
    pub fn host(&self) -> String {
        match self {
            Self::Http(address) => address.host(),
            Self::Tcp(place) => place.host(),
        }
    }
}

/// Begins the address of a TCP server that speaks TLS.
const TLS_SCHEME: &str = "tls://";

const FIELDS: &[&str] = &["name", "listen", "upstream", "protocol", "tls", "ca", "server_name", "insecure"];

/// The fields of a proxy.
const REQUIRED: [&str; 3] = ["name", "listen", "upstream"];

/// Those of TLS with the upstream.
const OF_TLS: [&str; 3] = ["ca", "server_name", "insecure"];

/// Reads one proxy in the format of the API. Reports all errors.
pub fn read_proxy(value: &Value, place: &str) -> Result<Proxy, Errors> {
    let mut reader = FieldReader::new(super::place_of(place, value));
    match proxy(&mut reader, value) {
        Some(proxy) if reader.errors.is_empty() => Ok(proxy),
        _ => Err(reader.errors),
    }
}

/// Reads the field `proxies` of a plan.
pub(super) fn read_list(value: &Value, place: &str) -> Result<Vec<Proxy>, Errors> {
    let field = |reason| Errors::from(ConfigError::new(place, reason).field("proxies"));
    let Value::Array(items) = value else { return Err(field(Reason::Expected("a list of proxies"))) };
    if items.len() > MAX_PROXIES {
        return Err(field(Reason::TooManyItems { count: items.len(), most: MAX_PROXIES }));
    }
    let place_of = |i| {
        if place.is_empty() { format!("proxies[{i}]") } else { format!("{place}: proxies[{i}]") }
    };
    let (mut proxies, mut errors) = (Vec::new(), Errors::new());
    for (i, item) in items.iter().enumerate() {
        match read_proxy(item, &place_of(i)) {
            Ok(proxy) => proxies.push(proxy),
            Err(more) => errors.append(more),
        }
    }
    errors.append(check_proxies(&proxies, place_of));
    if errors.is_empty() { Ok(proxies) } else { Err(errors) }
}

/// Errors of proxies with the name or the address of an earlier one. `place` returns the place of a position.
pub fn check_proxies<'a>(
    proxies: impl IntoIterator<Item = &'a Proxy>,
    place: impl Fn(usize) -> String,
) -> Errors {
    let (mut errors, mut names, mut ports) = (Errors::new(), HashMap::new(), HashMap::new());
    for (i, proxy) in proxies.into_iter().enumerate() {
        let error = |reason| ConfigError::new(format!("{} ({})", place(i), proxy.name), reason);
        if names.insert(&proxy.name, i).is_some() {
            errors.push(error(Reason::ProxyTaken(proxy.name.clone())).field("name"));
        }
        let overlaps = |other: &SocketAddr| {
            other.ip() == proxy.listen.ip()
                || other.ip().is_unspecified()
                || proxy.listen.ip().is_unspecified()
        };
        let listeners: &mut Vec<(SocketAddr, &ProxyName)> = ports.entry(proxy.listen.port()).or_default();
        let other = listeners.iter().find(|(other, name)| overlaps(other) && **name != proxy.name);
        if let Some((_, other)) = other.filter(|_| proxy.listen.port() != 0) {
            let reason = Reason::PortTaken(format!("proxy {other}"));
            errors.push(error(reason).field("listen").value(&proxy.listen.to_string()));
        }
        listeners.push((proxy.listen, &proxy.name));
    }
    errors
}

fn proxy(reader: &mut FieldReader, value: &Value) -> Option<Proxy> {
    let fields = reader.mapping(value, "", FIELDS)?;
    for field in REQUIRED {
        reader.required(&fields, field);
    }
    let name = reader.parsed(&fields, "name", "text", ProxyName::new);
    let listen = reader.parsed(&fields, "listen", "an address with a port", listen);
    let protocol = reader.parsed(&fields, "protocol", "text", |text| {
        let found = [Protocol::Tcp, Protocol::Http].into_iter().find(|protocol| protocol.name() == text);
        found.ok_or_else(|| super::choice(text, vec![Protocol::Tcp.name(), Protocol::Http.name()]))
    });
    let upstream = reader.parsed(&fields, "upstream", "an address", |text| match protocol {
        Some(Protocol::Http) if !has_scheme(text) => upstream(&format!("http://{text}")),
        _ => upstream(text),
    });
    let other =
        upstream.as_ref().map(ProxyUpstream::protocol).filter(|is| protocol.is_some_and(|of| of != *is));
    if other.is_some()
        && let Some(value) = fields.get("protocol")
    {
        reader.fail_value("protocol", value, Reason::NotWith("the scheme of its `upstream`".to_owned()));
    }
    let (wants_tls, tls) = (boolean(reader, &fields, "tls"), client_tls(reader, &fields));
    let upstream = upstream?;
    let scheme = tls_scheme(&upstream);
    let has_scheme =
        fields.get("upstream").and_then(Value::as_str).is_some_and(|text| text.starts_with(scheme));
    let (is_tls, needed) = match &upstream {
        ProxyUpstream::Http(_) => (has_scheme, "an upstream with https://"),
        ProxyUpstream::Tcp(_) => (has_scheme || wants_tls == Some(true), "tls: true"),
    };
    match (wants_tls, is_tls) {
        (Some(true), false) => reader.fail("tls", Reason::Needs(needed.to_owned())),
        (Some(false), true) => reader.fail("tls", Reason::NotWith(format!("an upstream with {scheme}"))),
        _ => {}
    }
    for field in OF_TLS.into_iter().filter(|field| !is_tls && fields.get(field).is_some()) {
        reader.fail(field, Reason::Needs(needed.to_owned()));
    }
    Some(Proxy { name: name?, listen: listen?, upstream, tls: is_tls.then_some(tls) })
}

fn boolean(reader: &mut FieldReader, fields: &Fields<'_>, field: &str) -> Option<bool> {
    match fields.get(field)? {
        Value::Bool(value) => Some(*value),
        other => {
            reader.fail_value(field, other, Reason::Expected("true or false"));
            None
        }
    }
}

/// The fields of TLS with the upstream.
fn client_tls(reader: &mut FieldReader, fields: &Fields<'_>) -> ClientTls {
    let path = |text: &str| if text.is_empty() { Err(Reason::Expected("a path")) } else { Ok(text.into()) };
    let ca = reader.parsed(fields, "ca", "a path", path);
    let name = |text: &str| server_name(text).ok_or(Reason::ServerName);
    let server_name = reader.parsed(fields, "server_name", "a name", name);
    let insecure = boolean(reader, fields, "insecure").unwrap_or(false);
    if insecure && ca.is_some() {
        reader.fail("ca", Reason::NotWith("insecure, with which any certificate will do".to_owned()));
    }
    ClientTls { ca, server_name, insecure }
}

/// Writes a proxy in the format of a plan.
pub fn write_proxy(proxy: &Proxy) -> Value {
    let mut written = json!({
        "name": proxy.name.as_str(),
        "listen": proxy.listen.to_string(),
        "upstream": proxy.upstream.to_string(),
        "protocol": proxy.protocol().name(),
    });
    if let Some(ClientTls { ca, server_name, insecure }) = &proxy.tls {
        written["tls"] = true.into();
        if let Some(ca) = ca {
            written["ca"] = ca.to_string_lossy().into();
        }
        if let Some(name) = server_name {
            written["server_name"] = name.to_str().into();
        }
        if *insecure {
            written["insecure"] = true.into();
        }
    }
    written
}

/// Reads `PROXIES`: `name=listen->upstream`, separated by commas.
pub(crate) fn parse_list(text: &str) -> Result<Vec<Proxy>, Reason> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let proxies = items.map(parse).collect::<Result<Vec<_>, _>>()?;
    if proxies.len() > MAX_PROXIES {
        return Err(Reason::TooManyItems { count: proxies.len(), most: MAX_PROXIES });
    }
    match check_proxies(&proxies, |i| format!("entry {}", i + 1)).iter().next() {
        Some(error) => Err(Reason::Proxy(error.to_string())),
        None => Ok(proxies),
    }
}

fn parse(item: &str) -> Result<Proxy, Reason> {
    let of_item = |reason: Reason| Reason::Proxy(format!("{}: {reason}", super::error::shown(item)));
    let parts = item.split_once("->").and_then(|(left, to)| Some((left.split_once('=')?, to)));
    let ((name, from), to) = parts.ok_or_else(|| of_item(Reason::ProxyForm))?;
    let name = ProxyName::new(name.trim()).map_err(|error| of_item(error.into()))?;
    let listen = listen(from.trim()).map_err(of_item)?;
    let to = to.trim();
    let upstream = upstream(to).map_err(of_item)?;
    let tls = to.starts_with(tls_scheme(&upstream)).then(ClientTls::default);
    Ok(Proxy { name, listen, upstream, tls })
}

/// An address with a port; the default host is loopback.
fn listen(text: &str) -> Result<SocketAddr, Reason> {
    let port = text.strip_prefix(':').unwrap_or(text);
    if port.bytes().all(|c| c.is_ascii_digit()) {
        let port = port.parse().map_err(|_| Reason::ListenAddress)?;
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    let named = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    named.as_deref().unwrap_or(text).parse().map_err(|_| Reason::ListenAddress)
}

fn has_scheme(text: &str) -> bool {
    text.contains("://") || text.starts_with("unix:")
}

/// The scheme with which an upstream of this protocol speaks TLS.
const fn tls_scheme(upstream: &ProxyUpstream) -> &'static str {
    match upstream {
        ProxyUpstream::Http(_) => "https://",
        ProxyUpstream::Tcp(_) => TLS_SCHEME,
    }
}

/// The address of an HTTP server with its scheme, or `host:port` of any other server, also as `tcp://host:port` or
/// `tls://host:port`.
fn upstream(text: &str) -> Result<ProxyUpstream, Reason> {
    let upstream = if let Some(place) = text.strip_prefix(TLS_SCHEME) {
        place.parse::<UpstreamPlace>().map(ProxyUpstream::Tcp)
    } else if has_scheme(text) && !text.starts_with("tcp://") {
        text.parse::<UpstreamAddress>().map(ProxyUpstream::Http)
    } else {
        text.parse::<UpstreamPlace>().map(ProxyUpstream::Tcp)
    };
    upstream.map_err(|error: UpstreamError| error.into())
}

#[cfg(test)]
mod tests;
