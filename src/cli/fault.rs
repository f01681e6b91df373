//! `kube-probesim fault`: lists, adds and removes faults in a running service.

mod address;
pub(in crate::cli) mod arguments;
mod client;
pub(in crate::cli) mod table;

use std::ffi::OsString;
use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};

use super::exit;
use super::shared::{OutputFormat, print_error, print_help, print_usage_errors};
use crate::fault::{ActsOn, ModeInfo, PROCESS_MODES};
use crate::units::{self, Bare, Show};
use arguments::{FaultCommand, FaultVerb, ProxyVerb};
use client::{AdminClient, ApiCall, ApiReply, ClientError};

/// Attempts to find a free name while others change the plan concurrently.
const TRIES: usize = 5;

const HELP: &str = "\
List, add, remove and stop faults in a running service.

Usage: kube-probesim fault add [OPTIONS] TARGET...   add a rule; it expires by itself
       kube-probesim fault list                      rules in force, their sources and how often they acted
       kube-probesim fault rm NAME...                take rules out of force, whatever their source
       kube-probesim fault stop                      end the drill: no rule of any source is in force until resume
       kube-probesim fault resume                    end the stop
       kube-probesim fault reset                     discard all changes and restart all windows; rules
                                                     of the environment and of files stay in force
       kube-probesim fault watch                     print events until interrupted
       kube-probesim fault proxy add NAME --listen ADDRESS --upstream ADDRESS [--protocol tcp|http]
                                     [--tls] [--ca FILE] [--server-name NAME] [--insecure]
       kube-probesim fault proxy list
       kube-probesim fault proxy rm NAME...

TARGET  liveness, readiness, startup, dependency, traffic, or the name of a proxy;
        listener and process cannot be combined with other targets

OPTIONS of add
  --for DURATION|ever        how long the rule is in force [default: 15m]
  --name NAME                [default: from target and mode]; replaces the rule of that name
  --mode MODE                {modes}
                             [default: status, unless there is a delay]
  --code N  --size SIZE|PERCENT  --cores NUMBER  --path DIRECTORY for process
  --allow-node-pressure      for process: allow memory and cpu without a limit of the container
  --status CODE  --location URL  --body SIZE  --drip DURATION  --speed SIZE  --share PERCENT
  --grpc-status NAME  --grpc-message TEXT  --alert NAME
  --answer-header NAME:VALUE (repeatable)  --body-text TEXT for faulted answers
  --forward                  the request reaches the application, and its answer is lost
  --connection               the whole connection ends, not only an HTTP/2 stream
  --stream upstream|downstream|both  --piece SIZE  --piece-jitter SIZE  --pause DURATION
  --wait DURATION  --close-after DURATION   for TCP proxies; --wait is the field after
  --delay DURATION  --jitter DURATION  --distribution WORD  --median DURATION  --mean DURATION
  --p50 DURATION  --p90 DURATION  --p99 DURATION
  --rate PERCENT  --burst NUMBER  --ramp DURATION
  --after DURATION  --window DURATION  --every DURATION
  --after-requests N  --requests N  --every-requests N
  --after-starts N  --starts N  --every-starts N
  --start TIME  --until TIME as instants (RFC 3339)
  --path PATH  --method METHOD[,METHOD]  --host HOST  --header NAME[:VALUE]
  --query NAME[=VALUE]       only matching requests (header, method, query: repeatable)
  --client kubelet|other|any  --from NETWORK (repeatable)
  --pods PERCENT|ORDINALS  --stagger DURATION
  --file PATH                a rule or a plan in YAML or JSON; - is standard input

OPTIONS of reset
  --keep-origins             do not restart windows

OPTIONS of all
  --admin [https://]ADDRESS  admin listener [default: ADMIN_ADDRESS, :8081; over TLS where
                             ADMIN_TLS_CERT_FILE is set]
  --admin-ca FILE            authorities of its certificate, PEM [default: the system's; any on loopback]
  --admin-insecure           take any certificate of it
  --output text|json         [default: text]; json prints the answer of the service
  -h, --help

The token, if the service requires one, is taken from ADMIN_TOKEN or ADMIN_TOKEN_FILE.

Exit code: 0 done; 64 wrong usage; 65 refused by the service; 69 no answer; 77 not allowed; 78 the token
cannot be read.
";

/// The help, including the modes from the table.
pub(super) fn help() -> String {
    let requests = ModeInfo::all_of_requests().map(|info| info.name);
    let listener = ModeInfo::all_of_listener().map(|info| info.name);
    let requests = requests.collect::<Vec<_>>().join(", ");
    let tcp = ModeInfo::all_of_tcp().filter(|info| matches!(info.acts_on, ActsOn::Connections(_)));
    let tcp = tcp.map(|info| info.name).collect::<Vec<_>>().join(", ");
    let listener = listener.collect::<Vec<_>>().join(", ");
    let process = PROCESS_MODES.iter().map(|info| info.name).collect::<Vec<_>>().join(", ");
    let mut modes = String::new();
    let mut width = 0;
    for word in format!("{requests}; of TCP proxies: {tcp}; of listener: {listener}; of process: {process}")
        .split(' ')
    {
        let separator = match width {
            0 => "",
            60.. => "\n                             ",
            _ => " ",
        };
        width = if width >= 60 { word.len() } else { width + separator.len() + word.len() };
        modes.push_str(separator);
        modes.push_str(word);
    }
    HELP.replace("{modes}", &modes)
}

/// Runs the command with the arguments that follow its name and the environment of the process. Returns the exit code.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let env: Vec<(OsString, OsString)> = env.into_iter().collect();
    let command = match arguments::parse(args) {
        Ok(Some(command)) => command,
        Ok(None) => return print_help(&help(), out),
        Err(errors) => return print_usage_errors("fault", &errors, err),
    };
    let done = AdminClient::new(command.admin, &env).map_err(Failure::from).and_then(|client| {
        let mut session = FaultSession { client, output: command.output, out };
        match command.verb {
            FaultVerb::Add(rules) => rules.into_iter().try_for_each(|rule| session.add(rule)),
            FaultVerb::List => session.list(),
            FaultVerb::Remove(names) => names.iter().try_for_each(|name| session.remove(name)),
            FaultVerb::Stop => session.stop(),
            FaultVerb::Resume => session.resume(),
            FaultVerb::Reset { renew } => session.reset(renew),
            FaultVerb::Watch => session.watch(),
            FaultVerb::Proxy(ProxyVerb::Add { name, proxy }) => session.add_proxy(&name, &proxy),
            FaultVerb::Proxy(ProxyVerb::List) => session.list_proxies(),
            FaultVerb::Proxy(ProxyVerb::Remove(names)) => {
                names.iter().try_for_each(|name| session.remove_proxy(name))
            }
        }
    });
    match done {
        Ok(()) | Err(Failure::Output) => 0,
        Err(Failure::Client(error)) => {
            print_error("fault", &error, err);
            error.exit_code()
        }
        Err(Failure::StillStopped(by)) => {
            print_error("fault", format_args!("still stopped by {by}; end the stop there"), err);
            exit::DATA
        }
        Err(Failure::Refused(reply)) => {
            for line in reply.problem() {
                print_error("fault", line, err);
            }
            if matches!(reply.status, 401 | 403) { exit::PERMISSION } else { exit::DATA }
        }
    }
}

/// The rules that `fault add` with these arguments would add; none for other verbs. The error has one message per line.
pub(in crate::cli) fn rules_to_add(
    args: impl IntoIterator<Item = OsString>,
) -> Result<Vec<Value>, Vec<String>> {
    match arguments::parse(args) {
        Ok(Some(FaultCommand { verb: FaultVerb::Add(rules), .. })) => Ok(rules),
        Ok(_) => Ok(Vec::new()),
        Err(errors) => Err(errors.iter().map(ToString::to_string).collect()),
    }
}

/// Why the command failed.
enum Failure {
    /// The reader closed the output.
    Output,
    /// The service did not answer.
    Client(ClientError),
    /// The service refused the request.
    Refused(ApiReply),
    /// The stop remains, set by a file or an annotation of this name.
    StillStopped(String),
}

impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Self {
        Self::Output
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

/// One run of the command against one service.
struct FaultSession<'a> {
    client: AdminClient,
    output: OutputFormat,
    out: &'a mut dyn Write,
}

impl FaultSession<'_> {
    fn add(&mut self, mut rule: Value) -> Result<(), Failure> {
        let given = rule.get("name").and_then(Value::as_str).map(str::to_owned);
        let ttl = rule.get("ttl").and_then(ttl);
        let (name, reply) = if let Some(name) = given {
            let reply = self.put(&name, &rule, None)?;
            (name, reply)
        } else {
            self.put_under_free_name(&mut rule)?
        };
        if self.output == OutputFormat::Json {
            return Ok(writeln!(self.out, "{}", reply.body.trim_end())?);
        }
        let generation = reply.json()["generation"].clone();
        let until = ttl.map_or("until it is removed".to_owned(), |ttl| format!("for {}", Show(ttl)));
        writeln!(self.out, "{name} is in force {until} (generation {generation})")?;
        writeln!(self.out, "remove it: kube-probesim fault rm {name}")?;
        if reply.json()["stopped"] == true {
            writeln!(
                self.out,
                "all rules are stopped, including this one; to resume: kube-probesim fault resume"
            )?;
        }
        if rule.get("pods").is_some() {
            let state = self.state()?.json();
            let of_rule =
                state["rules"].as_array().and_then(|rules| rules.iter().find(|of| of["name"] == *name));
            let selected = of_rule.is_some_and(|of| of["selected"] == true);
            let is = if selected { "is" } else { "is not" };
            writeln!(
                self.out,
                "this Pod {is} selected; each replica draws independently, so with few replicas none may be selected"
            )?;
        }
        Ok(())
    }

    fn put(&mut self, name: &str, rule: &Value, if_match: Option<u64>) -> Result<ApiReply, Failure> {
        let (path, body) = (fault_path(name), rule.to_string());
        self.ask(ApiCall { method: "PUT", path: &path, body: Some(&body), if_match })
    }

    fn state(&mut self) -> Result<ApiReply, Failure> {
        self.ask(ApiCall { method: "GET", path: "/v1/state", ..ApiCall::default() })
    }

    /// Adds a rule under a free name. Retries with another name if the plan changes concurrently.
    fn put_under_free_name(&mut self, rule: &mut Value) -> Result<(String, ApiReply), Failure> {
        let target = match &rule["target"] {
            Value::Array(targets) => targets.first().and_then(Value::as_str),
            target => target.as_str(),
        };
        let effect = rule.get("mode").and_then(Value::as_str).unwrap_or("delay");
        let stem = format!("{}-{effect}", target.unwrap_or("rule"));
        let mut tries = 0;
        loop {
            let state = self.state()?.json();
            let names =
                ["rules", "hidden"].into_iter().flat_map(|list| state[list].as_array().into_iter().flatten());
            let taken: Vec<&str> = names.filter_map(|of| of["name"].as_str()).collect();
            let numbered =
                |number: usize| if number == 1 { stem.clone() } else { format!("{stem}-{number}") };
            let free = (1..=taken.len() + 1).map(numbered).find(|name| !taken.contains(&name.as_str()));
            let name = free.unwrap_or_else(|| stem.clone());
            match self.put(&name, rule, state["generation"].as_u64()) {
                Err(Failure::Refused(reply)) if reply.status == 412 && tries < TRIES => tries += 1,
                result => return Ok((name, result?)),
            }
        }
    }

    fn list(&mut self) -> Result<(), Failure> {
        let reply = self.state()?;
        match self.output {
            OutputFormat::Json => writeln!(self.out, "{}", reply.body.trim_end())?,
            OutputFormat::Text => self.out.write_all(table::of(&reply.json()).as_bytes())?,
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), Failure> {
        let reply = self.ask(ApiCall { method: "DELETE", path: &fault_path(name), ..ApiCall::default() })?;
        self.print(&reply, &format!("{name} is no longer in force"))
    }

    fn reset(&mut self, renew: bool) -> Result<(), Failure> {
        let body = json!({ "renew": renew }).to_string();
        let reply =
            self.ask(ApiCall { method: "POST", path: "/v1/reset", body: Some(&body), ..ApiCall::default() })?;
        let what = if renew {
            "all changes are discarded, and all windows restart"
        } else {
            "all changes are discarded"
        };
        self.print(&reply, what)
    }

    fn stop(&mut self) -> Result<(), Failure> {
        let reply = self.ask(ApiCall { method: "POST", path: "/v1/stop", ..ApiCall::default() })?;
        if self.output == OutputFormat::Json {
            return Ok(writeln!(self.out, "{}", reply.body.trim_end())?);
        }
        self.out.write_all(table::stopped(&reply.json()).as_bytes())?;
        Ok(())
    }

    fn resume(&mut self) -> Result<(), Failure> {
        let reply = self.ask(ApiCall { method: "POST", path: "/v1/resume", ..ApiCall::default() })?;
        let answer = reply.json();
        if self.output == OutputFormat::Json {
            writeln!(self.out, "{}", reply.body.trim_end())?;
        } else if answer["stopped"] != true {
            self.print(&reply, "rules are in force again")?;
            if let Some(reason) = answer["reason"].as_str() {
                writeln!(self.out, "after a restart of the container, the stop returns: {reason}")?;
            }
        }
        if answer["stopped"] == true {
            return Err(Failure::StillStopped(answer["stop"]["by"].as_str().unwrap_or("a file").to_owned()));
        }
        Ok(())
    }

    fn print(&mut self, reply: &ApiReply, what: &str) -> Result<(), Failure> {
        match self.output {
            OutputFormat::Json => writeln!(self.out, "{}", reply.body.trim_end())?,
            OutputFormat::Text => writeln!(self.out, "{what} (generation {})", reply.json()["generation"])?,
        }
        Ok(())
    }

    fn watch(&mut self) -> Result<(), Failure> {
        let (output, out) = (self.output, &mut *self.out);
        let refused = self.client.stream("/v1/events", &mut |event| {
            match output {
                OutputFormat::Json => writeln!(out, "{event}")?,
                OutputFormat::Text => {
                    writeln!(out, "{}", table::event(&serde_json::from_str(event).unwrap_or_default()))?;
                }
            }
            out.flush()
        })?;
        refused.map_or(Err(Failure::Output), |reply| Err(Failure::Refused(reply)))
    }

    fn add_proxy(&mut self, name: &str, proxy: &Value) -> Result<(), Failure> {
        let (path, body) = (proxy_path(name), proxy.to_string());
        let reply =
            self.ask(ApiCall { method: "PUT", path: &path, body: Some(&body), ..ApiCall::default() })?;
        if self.output == OutputFormat::Text {
            // With port 0, the service has chosen the port.
            let served = self.ask(ApiCall { method: "GET", path: &path, ..ApiCall::default() })?.json();
            let address = served["address"].as_str().unwrap_or("an address that cannot be bound");
            let upstream = served["upstream"].as_str().unwrap_or_default();
            return self.print(&reply, &format!("{name} listens on {address} for {upstream}"));
        }
        self.print(&reply, "")
    }

    fn list_proxies(&mut self) -> Result<(), Failure> {
        let reply = self.ask(ApiCall { method: "GET", path: "/v1/proxies", ..ApiCall::default() })?;
        match self.output {
            OutputFormat::Json => writeln!(self.out, "{}", reply.body.trim_end())?,
            OutputFormat::Text => self.out.write_all(table::proxies(&reply.json()).as_bytes())?,
        }
        Ok(())
    }

    fn remove_proxy(&mut self, name: &str) -> Result<(), Failure> {
        let reply = self.ask(ApiCall { method: "DELETE", path: &proxy_path(name), ..ApiCall::default() })?;
        self.print(&reply, &format!("{name} is closed; its open connections may continue for 30 s"))
    }

    fn ask(&mut self, call: ApiCall<'_>) -> Result<ApiReply, Failure> {
        let reply = self.client.ask(call)?;
        if (200..300).contains(&reply.status) { Ok(reply) } else { Err(Failure::Refused(reply)) }
    }
}

/// The duration that the service has accepted.
fn ttl(value: &Value) -> Option<Duration> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    units::duration(&text, Bare::Seconds).ok()
}

fn fault_path(name: &str) -> String {
    format!("/v1/faults/{}", client::encoded(name))
}

fn proxy_path(name: &str) -> String {
    format!("/v1/proxies/{}", client::encoded(name))
}
