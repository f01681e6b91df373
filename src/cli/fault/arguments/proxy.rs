//! The command line of `fault proxy`.

use serde_json::{Map, Value};

use super::FaultUsageError;
use crate::cli::shared::ArgumentError;

/// The options of `fault proxy add`, which are fields of a proxy.
pub(super) const OPTIONS: [&str; 5] = ["listen", "upstream", "protocol", "ca", "server-name"];

/// A command for proxies.
#[derive(Debug, PartialEq)]
pub(in crate::cli::fault) enum ProxyVerb {
    /// Adds a proxy or changes an existing one.
    Add {
        name: String,
        proxy: Value,
    },
    List,
    Remove(Vec<String>),
}

/// Reads the words after `proxy`. The service checks the values of the fields.
pub(super) fn verb(words: &[String], fields: Map<String, Value>) -> Result<ProxyVerb, FaultUsageError> {
    let (verb, names) = words.split_first().ok_or(FaultUsageError::NoProxyVerb)?;
    let given = fields.keys().next().filter(|_| verb != "add");
    if let Some(field) = given {
        return Err(FaultUsageError::Option(format!("--{}", field.replace('_', "-")), "proxy list or rm"));
    }
    match (verb.as_str(), names) {
        ("list" | "ls", []) => Ok(ProxyVerb::List),
        ("list" | "ls", [extra, ..]) | ("add", [_, extra, ..]) => {
            Err(ArgumentError::Extra(extra.clone()).into())
        }
        ("rm", []) => Err(FaultUsageError::NoProxyName("rm")),
        ("rm", names) => Ok(ProxyVerb::Remove(names.to_vec())),
        ("add", []) => Err(FaultUsageError::NoProxyName("add")),
        ("add", [name]) => {
            match ["listen", "upstream"].into_iter().find(|field| !fields.contains_key(*field)) {
                Some(field) => Err(FaultUsageError::NoProxyField(field)),
                None => Ok(ProxyVerb::Add { name: name.clone(), proxy: fields.into() }),
            }
        }
        _ => Err(FaultUsageError::ProxyVerb(verb.clone())),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use serde_json::json;

    use super::super::{FaultVerb, parse};
    use super::*;

    fn parsed(line: &str) -> Result<ProxyVerb, Vec<String>> {
        match parse(line.split_whitespace().map(OsString::from)) {
            Ok(Some(command)) => match command.verb {
                FaultVerb::Proxy(verb) => Ok(verb),
                other => panic!("{other:?}"),
            },
            Ok(None) => panic!("help"),
            Err(errors) => Err(errors.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn proxies_are_added_listed_and_removed() {
        let proxy = json!({"listen": "127.0.0.1:15432", "upstream": "postgres:5432", "protocol": "tcp"});
        assert_eq!(
            parsed("proxy add db --listen 127.0.0.1:15432 --upstream postgres:5432 --protocol tcp"),
            Ok(ProxyVerb::Add { name: "db".to_owned(), proxy })
        );
        let proxy = json!({"listen": ":1", "upstream": "https://a", "server_name": "b", "insecure": true});
        assert_eq!(
            parsed("proxy add a --listen :1 --upstream https://a --server-name b --insecure"),
            Ok(ProxyVerb::Add { name: "a".to_owned(), proxy })
        );
        let proxy = json!({"listen": ":1", "upstream": "db:1", "tls": true, "ca": "ca.pem"});
        assert_eq!(
            parsed("proxy add db --listen :1 --upstream db:1 --tls --ca ca.pem"),
            Ok(ProxyVerb::Add { name: "db".to_owned(), proxy })
        );
        assert_eq!(parsed("proxy list"), Ok(ProxyVerb::List));
        assert_eq!(parsed("proxy rm db cache"), Ok(ProxyVerb::Remove(vec!["db".into(), "cache".into()])));
    }

    #[test]
    fn wrong_usage_is_named() {
        for (line, error) in [
            ("proxy", "a proxy command is missing: add, list or rm"),
            ("proxy drop db", "proxy \"drop\" is not one of add, list and rm"),
            ("proxy add", "proxy add needs the name of a proxy"),
            ("proxy rm", "proxy rm needs the name of a proxy"),
            ("proxy add db", "proxy add needs --listen"),
            ("proxy add db --listen :1", "proxy add needs --upstream"),
            ("proxy add db x --listen :1 --upstream a:1", "unexpected argument \"x\""),
            ("proxy list x", "unexpected argument \"x\""),
            ("proxy list --listen :1", "--listen is not an option of fault proxy list or rm"),
            ("proxy list --tls", "--tls is not an option of fault proxy list or rm"),
            ("add db --tls", "--tls is not an option of fault add"),
            ("proxy rm db --insecure", "--insecure is not an option of fault proxy list or rm"),
            ("proxy add db --delay 3ms", "--delay is not an option of fault proxy"),
            ("add db --listen :1", "--listen is not an option of fault add"),
        ] {
            assert_eq!(parsed(line).unwrap_err()[0], error, "{line}");
        }
    }
}
