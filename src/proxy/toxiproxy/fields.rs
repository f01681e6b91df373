//! The fields of a proxy in a request.

use std::net::{Ipv6Addr, SocketAddr};

use serde_json::{Map, Value};
use tokio::net::lookup_host;

use super::answer::ApiError;
use crate::fault::UpstreamPlace;

/// A JSON object, as toxiproxy reads it: `null` has no fields, a field that is `null` is not given, and the case of names
/// does not matter.
pub(super) struct Object<'a>(pub(super) Option<&'a Map<String, Value>>);

impl<'a> Object<'a> {
    pub(super) fn of(value: &'a Value) -> Result<Self, ApiError> {
        match value {
            Value::Null => Ok(Self(None)),
            Value::Object(fields) => Ok(Self(Some(fields))),
            _ => Err(ApiError::bad_body("not a JSON object")),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        let in_other_case = || self.0?.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = self.0?.get(name).or_else(|| in_other_case().map(|(_, value)| value));
        value.filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ApiError::bad_body(format_args!("{name} is not a string"))),
        }
    }
}

/// The fields of a proxy in a request.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) name: Option<String>,
    pub(super) listen: Option<SocketAddr>,
    pub(super) upstream: Option<(UpstreamPlace, String)>,
    pub(super) enabled: Option<bool>,
}

impl Fields {
    /// Reads the fields of a proxy, and resolves the address that it listens on.
    pub(super) async fn read(value: &Value) -> Result<Self, ApiError> {
        let fields = Object::of(value)?;
        let (name, listen, upstream) =
            (fields.text("name")?, fields.text("listen")?, fields.text("upstream")?);
        let enabled = match fields.get("enabled") {
            None => None,
            Some(Value::Bool(enabled)) => Some(*enabled),
            Some(_) => return Err(ApiError::bad_body("enabled is not a boolean")),
        };
        let listen = match listen {
            Some(listen) => Some(resolve(listen).await?),
            None => None,
        };
        let upstream = match upstream.filter(|upstream| !upstream.is_empty()) {
            Some(text) => {
                let wrong = |error| ApiError::bad_body(format_args!("upstream {text:?} {error}"));
                // As in Go, a missing host is this one.
                let place = if text.starts_with(':') { &format!("localhost{text}") } else { text };
                Some((place.parse().map_err(wrong)?, text.to_owned()))
            }
            None => None,
        };
        Ok(Self { name: name.map(str::to_owned), listen, upstream, enabled })
    }

    /// The first required field that is missing.
    pub(super) fn missing(&self) -> Option<&'static str> {
        if self.name.as_deref().unwrap_or_default().is_empty() {
            Some("name")
        } else {
            self.upstream.is_none().then_some("upstream")
        }
    }
}

/// Resolves `host:port`; without a host, all addresses. As in toxiproxy, IPv4 is preferred, and all IPv4 addresses include
/// all IPv6 addresses.
async fn resolve(listen: &str) -> Result<SocketAddr, ApiError> {
    let wrong = |why: &str| ApiError::new(500, format!("listen {listen:?}: {why}"));
    let (host, port) = listen.rsplit_once(':').unwrap_or((listen, ""));
    let port = if port.is_empty() { Ok(0) } else { port.parse() };
    let port: u16 = port.map_err(|_| wrong("the port is not a number from 0 to 65535"))?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if matches!(host, "" | "0.0.0.0" | "::") {
        return Ok(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port));
    }
    let found = lookup_host((host, port)).await.map_err(|error| wrong(&error.to_string()))?;
    found.min_by_key(SocketAddr::is_ipv6).ok_or_else(|| wrong("the host has no address"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn listen_addresses_are_resolved_as_by_toxiproxy() {
        for (listen, expected) in [
            (":26379", "[::]:26379"),
            ("0.0.0.0:26379", "[::]:26379"),
            ("[::]:1", "[::]:1"),
            ("127.0.0.1:5", "127.0.0.1:5"),
            ("[::1]:5", "[::1]:5"),
            ("localhost:5", "127.0.0.1:5"),
            ("", "[::]:0"),
            ("127.0.0.1:", "127.0.0.1:0"),
        ] {
            let resolved = resolve(listen).await.unwrap_or_else(|error| panic!("{listen}: {error:?}"));
            assert_eq!(resolved.to_string(), expected, "{listen}");
        }
        assert!(resolve("127.0.0.1:70000").await.is_err());
        assert!(resolve("127.0.0.1:http").await.is_err());
    }

    #[tokio::test]
    async fn fields_are_read_as_by_go() {
        let upstream = json!({"UPSTREAM": ":9", "Name": "db", "listen": null, "enabled": null});
        let fields = Fields::read(&upstream).await.unwrap_or_else(|error| panic!("{error:?}"));
        let (place, text) = fields.upstream.unwrap();
        assert_eq!((place.to_string().as_str(), text.as_str()), ("localhost:9", ":9"));
        assert_eq!((fields.name.as_deref(), fields.listen, fields.enabled), (Some("db"), None, None));
    }
}
