//! Exec probes: `kube-probesim probe`, and other commands.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;

use super::address::DEFAULT_PORT;
use super::{Answerer, HandlerReader};
use crate::fault::Target;
use crate::kubelet::{ProbeAddress, ProbeEndpoint, ProbeHandler};
use crate::predict::manifest::command::{Command, CommandError};
use crate::predict::manifest::container::is_own_binary;
use crate::predict::manifest::error::Problem;
use crate::predict::manifest::mapping::{Mapping, wrong};

/// Added to round up to whole seconds.
const ALMOST_A_SECOND: Duration = Duration::from_nanos(999_999_999);

impl HandlerReader<'_> {
    pub(super) fn exec(&mut self, fields: &Mapping) -> Answerer {
        let words = self.found.take(fields.strings("command"));
        match words.as_slice() {
            [] => {
                self.found.error(fields.field("command"), Problem::Missing);
                Answerer::HEALTHY
            }
            [first, "probe", rest @ ..] if is_own_binary(first) => self.own_probe(fields, rest),
            [first, ..] => {
                self.assume(&format!("the command {first:?} is assumed to succeed"));
                Answerer::HEALTHY
            }
        }
    }

    /// `kube-probesim probe` as the command.
    fn own_probe(&mut self, fields: &Mapping, words: &[&str]) -> Answerer {
        let command = match Command::parse(words) {
            Ok(command) => command,
            Err(CommandError::Option(option)) => {
                self.assume(&format!("`probe` with {option:?} is not modelled; it is assumed to succeed"));
                return Answerer::HEALTHY;
            }
            Err(CommandError::Timeout(value)) => {
                return self.wrong_command(fields, "a timeout such as 1s", &value);
            }
        };
        if command.timeout.subsec_nanos() > 0 {
            self.assume("the timeout of the command is rounded up to whole seconds");
        }
        self.timeout = u32::try_from((command.timeout + ALMOST_A_SECOND).as_secs()).ok();
        let Some(target) = Target::from_name(command.address) else {
            return self.url(fields, command.address);
        };
        // A target's name means `PORT` in the container's own environment, which other containers do not set.
        let server =
            self.owner.probesim.or_else(|| self.ports.at(DEFAULT_PORT).map(|listener| listener.container));
        let Some(server) = server else { return self.another_program() };
        let probed = self.ports.listeners.iter().find(|it| it.container == server && it.paths.is_some());
        let port = probed.map_or(DEFAULT_PORT, |listener| listener.port);
        let address = ProbeAddress { host: "127.0.0.1".to_owned(), port, ..ProbeAddress::DEFAULT };
        let handler = ProbeHandler::Exec { server, endpoint: ProbeEndpoint::Target(target) };
        Answerer { handler, asks_us: true, address, ..Answerer::HEALTHY }
    }

    fn url(&mut self, fields: &Mapping, address: &str) -> Answerer {
        let Some((scheme, rest)) = address.split_once("://") else {
            return self.wrong_command(
                fields,
                "a target or a URL such as http://127.0.0.1:8080/readyz",
                address,
            );
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
            _ => (
                authority,
                match scheme {
                    "http" => Some(80),
                    "https" => Some(443),
                    _ => None,
                },
            ),
        };
        let Some(port) = port else {
            return self.wrong_command(fields, "an address with a port", address);
        };
        let local = host == "localhost"
            || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let Some(listener) = self.ports.at(port).filter(|_| local).cloned() else {
            return self.another_program();
        };
        let server = listener.container;
        if scheme != "tcp" {
            self.check_tls(fields.field("command"), &listener, matches!(scheme, "https" | "grpcs"));
        }
        let handler = match (scheme, &listener.paths) {
            ("http" | "https", Some(_)) => ProbeHandler::Exec { server, endpoint: listener.endpoint(path) },
            ("tcp", Some(_)) => ProbeHandler::Tcp { server },
            ("http" | "https", None) => match listener.endpoint(path) {
                ProbeEndpoint::Status(200) => ProbeHandler::Healthy,
                endpoint => ProbeHandler::Exec { server, endpoint },
            },
            ("tcp", None) => ProbeHandler::Healthy,
            ("grpc" | "grpcs", _) => {
                self.called(fields.field("command"), &listener, path.trim_start_matches('/'))
            }
            _ => {
                return self.wrong_command(
                    fields,
                    "an address with http, https, tcp, grpc or grpcs",
                    address,
                );
            }
        };
        let host = host.trim_matches(['[', ']']).to_owned();
        let address = ProbeAddress { https: scheme == "https", host, port, path: path.to_owned() };
        Answerer { handler, asks_us: true, address, ..Answerer::HEALTHY }
    }

    fn wrong_command(&mut self, fields: &Mapping, expected: &'static str, value: &str) -> Answerer {
        self.found.error(fields.field("command"), wrong(expected, &Value::from(value)));
        Answerer::HEALTHY
    }

    fn another_program(&mut self) -> Answerer {
        self.assume("it does not ask kube-probesim, and is assumed to succeed");
        Answerer::HEALTHY
    }
}
