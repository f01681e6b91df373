//! `kube-probesim toxiproxy`: serves toxiproxy's API, with the arguments and defaults of toxiproxy's server.

use std::ffi::OsString;
use std::io::Write;

use super::shared::print_help;
use super::{exit, serve};
use crate::proxy::TOXIPROXY_VERSION;

pub(super) const HELP: &str = "\
Serve toxiproxy's API, for its unchanged clients.

Usage: kube-probesim toxiproxy [OPTIONS]

OPTIONS
  -host HOST        address of the API [default: localhost]
  -port PORT        port of the API [default: 8474]
  -config FILE      JSON file with proxies to create at the start
  -seed NUMBER      seed of all random draws
  -proxy-metrics, -runtime-metrics
                    accepted; /metrics always has both
  -version          print the version
  -h, -help

The command is the same as serve with TOXIPROXY_ADDRESS, TOXIPROXY_CONFIG and SEED, and reads the same variables.
The probe listener and the admin listener use free ports on loopback, unless PORT or ADMIN_ADDRESS is set. With a
HOST other than loopback, every client may use the API, unless TOXIPROXY_ALLOW lists networks.
";

/// Runs the command with the arguments that follow its name and the environment of the process. Returns the exit code.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let mut env: Vec<(OsString, OsString)> = env.into_iter().collect();
    let args: Vec<String> = args.into_iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let options = match Options::read(args) {
        Ok(options) => options,
        Err(error) => {
            let _ = writeln!(err, "kube-probesim toxiproxy: {error}\n\n{HELP}");
            return exit::USAGE;
        }
    };
    if options.help {
        return print_help(HELP, out);
    }
    if options.version {
        let _ = writeln!(out, "toxiproxy-server version {TOXIPROXY_VERSION}");
        return exit::OK;
    }
    for (name, value, wins) in options.variables() {
        let is_set = env.iter().any(|(known, given)| known == name && !given.is_empty());
        if wins || !is_set {
            env.retain(|(known, _)| known != name);
            env.push((name.into(), value.into()));
        }
    }
    serve::run([], env, out, err)
}

#[derive(Debug, Default, PartialEq)]
struct Options {
    host: Option<String>,
    port: Option<String>,
    config: Option<String>,
    seed: Option<String>,
    version: bool,
    help: bool,
}

impl Options {
    /// Reads flags as Go's `flag` does: with one or two hyphens, and the value after `=` or in the next argument.
    fn read(args: Vec<String>) -> Result<Self, String> {
        let mut options = Self::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let flag =
                arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')).filter(|flag| !flag.is_empty());
            let flag = flag.ok_or_else(|| format!("unexpected argument {arg:?}"))?;
            let (name, value) =
                flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
            let place = match name {
                "host" => &mut options.host,
                "port" => &mut options.port,
                "config" => &mut options.config,
                "seed" => &mut options.seed,
                "proxy-metrics" | "runtime-metrics" => continue,
                "version" => {
                    options.version = value != Some("false");
                    continue;
                }
                "h" | "help" => {
                    options.help = true;
                    continue;
                }
                _ => return Err(format!("-{name} is not an option")),
            };
            let value = value.map(str::to_owned).or_else(|| args.next());
            *place = Some(value.ok_or_else(|| format!("-{name} needs a value"))?);
        }
        Ok(options)
    }

    /// The equivalent variables of `serve`, and whether each takes precedence over one that is set.
    fn variables(&self) -> Vec<(&'static str, String, bool)> {
        let host = self.host.as_deref().unwrap_or("localhost");
        let port = self.port.as_deref().unwrap_or("8474");
        let mut variables =
            vec![("PORT", "0".to_owned(), false), ("ADMIN_ADDRESS", "127.0.0.1:0".to_owned(), false)];
        variables.push(("BIND_ADDRESS", "127.0.0.1".to_owned(), false));
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let address = match bare {
            "" => format!("0.0.0.0:{port}"),
            host if host.contains(':') => format!("[{host}]:{port}"),
            host => format!("{host}:{port}"),
        };
        variables.push(("TOXIPROXY_ADDRESS", address, true));
        if !matches!(bare, "localhost" | "127.0.0.1" | "::1") {
            variables.push(("TOXIPROXY_ALLOW", "0.0.0.0/0,::/0".to_owned(), false));
        }
        variables.extend(self.config.clone().map(|config| ("TOXIPROXY_CONFIG", config, true)));
        variables.extend(self.seed.clone().map(|seed| ("SEED", seed, true)));
        variables
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, String> {
        Options::read(line.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn flags_are_those_of_toxiproxy() {
        let options = read("-host=0.0.0.0 --port 1 -config /c.json -proxy-metrics -seed=5").unwrap();
        let variables = options.variables();
        let value =
            |name| variables.iter().find(|(known, ..)| *known == name).map(|(_, value, _)| value.as_str());
        assert_eq!(value("TOXIPROXY_ADDRESS"), Some("0.0.0.0:1"));
        assert_eq!(value("TOXIPROXY_ALLOW"), Some("0.0.0.0/0,::/0"));
        assert_eq!((value("TOXIPROXY_CONFIG"), value("SEED")), (Some("/c.json"), Some("5")));
        let variables = read("").unwrap().variables();
        assert!(variables.contains(&("TOXIPROXY_ADDRESS", "localhost:8474".to_owned(), true)));
        assert!(!variables.iter().any(|(name, ..)| *name == "TOXIPROXY_ALLOW"));
        assert!(read("-version").unwrap().version && read("-h").unwrap().help);
    }

    #[test]
    fn invalid_flags_are_named() {
        for (line, error) in [
            ("-hots x", "-hots is not an option"),
            ("-port", "-port needs a value"),
            ("x", "unexpected argument \"x\""),
        ] {
            assert_eq!(read(line).unwrap_err(), error);
        }
    }
}
