//! The load client of `bench/run`. It prints one JSON object.
//!
//! ```text
//! load cost  HOST:PORT/PATH CONNECTIONS SECONDS|Nr [close]    as many requests as the server answers
//! load delay HOST:PORT/PATH CONNECTIONS SECONDS RATE DELAY_MS  errors of a delay, at RATE requests/s at most
//! load start HOST:PORT/PATH CORE COMMAND [ARGS]...             time from exec to the first 200
//! ```

mod connection;
mod cost;
mod delay;
mod start;

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::str::FromStr;

const USAGE: &str = "load cost ADDRESS/PATH CONNECTIONS SECONDS|Nr [close]
load delay ADDRESS/PATH CONNECTIONS SECONDS RATE DELAY_MS
load start ADDRESS/PATH CORE COMMAND [ARGS]...";

/// What is asked for, and of whom.
struct Goal {
    address: SocketAddr,
    path: String,
}

impl FromStr for Goal {
    type Err = Box<dyn Error>;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, path) = text.split_once('/').ok_or("an address is written 127.0.0.1:8080/path")?;
        Ok(Self { address: address.parse()?, path: format!("/{path}") })
    }
}

impl Goal {
    fn request(&self, close: bool) -> Vec<u8> {
        let close = if close { "Connection: close\r\n" } else { "" };
        format!("GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: bench\r\n{close}\r\n", self.path, self.address)
            .into()
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&args) {
        Ok(json) => {
            println!("{json}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[&str]) -> Result<String, Box<dyn Error>> {
    match args {
        ["cost", goal, connections, end, rest @ ..] => {
            let end = match end.strip_suffix('r') {
                Some(requests) => cost::End::Requests(requests.parse()?),
                None => cost::End::After(std::time::Duration::try_from_secs_f64(end.parse()?)?),
            };
            Ok(cost::run(&goal.parse()?, connections.parse()?, end, *rest == ["close"])?)
        }
        ["delay", goal, connections, seconds, rate, asked] => {
            let load = delay::Load {
                connections: connections.parse()?,
                length: std::time::Duration::try_from_secs_f64(seconds.parse()?)?,
                rate: rate.parse()?,
                asked: std::time::Duration::try_from_secs_f64(asked.parse::<f64>()? / 1000.0)?,
            };
            Ok(delay::run(&goal.parse()?, &load)?)
        }
        ["start", goal, core, command @ ..] if !command.is_empty() => {
            Ok(start::run(&goal.parse()?, core.parse()?, command)?)
        }
        _ => Err(USAGE.into()),
    }
}
