//! `kube-probesim fault`: lists, adds and removes faults in a running service.

mod arguments;
mod client;
mod table;

use std::ffi::OsString;
use std::io::{self, Write};

use serde_json::{Value, json};

use super::{EXIT_DATA, EXIT_USAGE};
use arguments::{Output, Verb};
use client::{Client, ClientError, Reply};

/// Exit code where nothing answers that is a service of ours (`EX_UNAVAILABLE` of sysexits.h).
pub const EXIT_UNAVAILABLE: u8 = 69;
/// Exit code where the service answers others alone (`EX_NOPERM`).
pub const EXIT_PERMISSION: u8 = 77;

/// How often a name is drawn anew when others make changes at the same time.
const TRIES: usize = 5;

const HELP: &str = "\
List, add, remove and stop faults in a running service.

Usage: kube-probesim fault add [OPTIONS] TARGET...   add a rule; it ends by itself
       kube-probesim fault list                      rules in force, where they come from and what they did
       kube-probesim fault rm NAME...                take rules out of force, whatever source they come from
       kube-probesim fault stop                      end the drill: no rule of any source is in force until resume
       kube-probesim fault resume                    end the stop
       kube-probesim fault reset                     forget all changes, and measure every window from now on; rules
                                                     of the environment and of files stay in force
       kube-probesim fault watch                     print what happens until interrupted

TARGET  liveness, readiness, startup, dependency, traffic; or listener alone

OPTIONS of add
  --for DURATION|ever        when the rule is gone [default: 15m]
  --name NAME                [default: made of target and mode]; replaces the rule of that name
  --mode MODE                status, redirect, hang, close, reset, garbage, truncate, body-hang, body-reset, malformed,
                             drip; of listener: drop, refuse, reset [default: status, unless there is a delay]
  --status CODE  --location URL  --body SIZE  --drip DURATION
  --delay DURATION  --jitter DURATION  --distribution WORD  --median DURATION  --mean DURATION
  --p50 DURATION  --p90 DURATION  --p99 DURATION
  --rate PERCENT  --burst NUMBER  --ramp DURATION
  --after DURATION  --window DURATION  --every DURATION
  --after-requests N  --requests N  --every-requests N
  --after-starts N  --starts N  --every-starts N
  --start TIME  --until TIME of the calendar (RFC 3339)
  --client kubelet|other|any  --from NETWORK (repeatable)
  --pods PERCENT|ORDINALS  --stagger DURATION
  --file PATH                a rule or a plan as it is, YAML or JSON; - is standard input

OPTIONS of reset
  --keep-origins             windows go on

OPTIONS of all
  --admin ADDRESS            admin listener [default: ADMIN_ADDRESS, :8081]
  --output text|json         [default: text]; JSON is what the service answers
  -h, --help

The token, if the service wants one, is taken from ADMIN_TOKEN or ADMIN_TOKEN_FILE.

Exit code: 0 done; 64 wrong usage; 65 refused by the service; 69 nothing answers there; 77 not allowed.
";

/// Runs the command with the arguments that follow its name and the environment of the process. Returns the exit code.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let env: Vec<(OsString, OsString)> = env.into_iter().collect();
    let request = match arguments::parse(args) {
        Ok(Some(request)) => request,
        Ok(None) => {
            // A reader that has left is no failure of ours.
            let _ = out.write_all(HELP.as_bytes());
            return 0;
        }
        Err(errors) => {
            for error in errors {
                let _ = writeln!(err, "kube-probesim fault: {error}");
            }
            let _ = writeln!(err, "\nkube-probesim fault --help lists what there is");
            return EXIT_USAGE;
        }
    };
    let done = Client::new(request.admin.as_deref(), &env).map_err(Failure::from).and_then(|client| {
        let mut command = Command { client, output: request.output, out };
        match request.verb {
            Verb::Add(rules) => rules.into_iter().try_for_each(|rule| command.add(rule)),
            Verb::List => command.list(),
            Verb::Remove(names) => names.iter().try_for_each(|name| command.remove(name)),
            Verb::Stop => command.stop(),
            Verb::Resume => command.resume(),
            Verb::Reset { renew } => command.reset(renew),
            Verb::Watch => command.watch(),
        }
    });
    match done {
        Ok(()) | Err(Failure::Output) => 0,
        Err(Failure::Client(error)) => {
            let _ = writeln!(err, "kube-probesim fault: {error}");
            error.exit_code()
        }
        Err(Failure::StillStopped(by)) => {
            let _ = writeln!(err, "kube-probesim fault: still stopped by {by}: end the stop there");
            EXIT_DATA
        }
        Err(Failure::Refused(reply)) => {
            for line in reply.problem() {
                let _ = writeln!(err, "kube-probesim fault: {line}");
            }
            if matches!(reply.status, 401 | 403) { EXIT_PERMISSION } else { EXIT_DATA }
        }
    }
}

/// Why something is not done.
enum Failure {
    /// Whoever read our output has left.
    Output,
    /// There is no answer.
    Client(ClientError),
    /// The service says no.
    Refused(Reply),
    /// A file or an annotation of this name holds the stop.
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

struct Command<'a> {
    client: Client,
    output: Output,
    out: &'a mut dyn Write,
}

impl Command<'_> {
    fn add(&mut self, mut rule: Value) -> Result<(), Failure> {
        let given = rule.get("name").and_then(Value::as_str).map(str::to_owned);
        let ttl = rule.get("ttl").and_then(Value::as_str).map(str::to_owned);
        let (name, reply) = if let Some(name) = given {
            let reply = self.put(&name, &rule, None)?;
            (name, reply)
        } else {
            self.put_under_free_name(&mut rule)?
        };
        if self.output == Output::Json {
            return Ok(writeln!(self.out, "{}", reply.body.trim_end())?);
        }
        let generation = reply.json()["generation"].clone();
        let until = ttl.map_or("until it is removed".to_owned(), |ttl| format!("for {ttl}"));
        writeln!(self.out, "{name} is in force {until} (generation {generation})")?;
        writeln!(self.out, "remove it: kube-probesim fault rm {name}")?;
        if reply.json()["stopped"] == true {
            writeln!(self.out, "all rules are stopped, this one too, until: kube-probesim fault resume")?;
        }
        if rule.get("pods").is_some() {
            let state = self.ask("GET", "/v1/state", None, &[])?.json();
            let of_rule =
                state["rules"].as_array().and_then(|rules| rules.iter().find(|of| of["name"] == *name));
            let selected = of_rule.is_some_and(|of| of["selected"] == true);
            let is = if selected { "is" } else { "is not" };
            writeln!(
                self.out,
                "this Pod {is} one of its pods; each replica is drawn by itself, so that of few it may be none"
            )?;
        }
        Ok(())
    }

    fn put(&mut self, name: &str, rule: &Value, generation: Option<u64>) -> Result<Reply, Failure> {
        let tag = generation.map(|generation| ("If-Match", format!("\"{generation}\"")));
        let headers: Vec<(&str, &str)> = tag.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.ask("PUT", &format!("/v1/faults/{}", client::encoded(name)), Some(&rule.to_string()), &headers)
    }

    /// Puts a rule under a name that no other has, also while others do the same.
    fn put_under_free_name(&mut self, rule: &mut Value) -> Result<(String, Reply), Failure> {
        let target = match &rule["target"] {
            Value::Array(targets) => targets.first().and_then(Value::as_str),
            target => target.as_str(),
        };
        let effect = rule.get("mode").and_then(Value::as_str).unwrap_or("delay");
        let stem = format!("{}-{effect}", target.unwrap_or("rule"));
        let mut tries = 0;
        loop {
            let state = self.ask("GET", "/v1/state", None, &[])?.json();
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
        let reply = self.ask("GET", "/v1/state", None, &[])?;
        match self.output {
            Output::Json => writeln!(self.out, "{}", reply.body.trim_end())?,
            Output::Text => self.out.write_all(table::of(&reply.json()).as_bytes())?,
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), Failure> {
        let reply = self.ask("DELETE", &format!("/v1/faults/{}", client::encoded(name)), None, &[])?;
        self.tell(&reply, &format!("{name} is no longer in force"))
    }

    fn reset(&mut self, renew: bool) -> Result<(), Failure> {
        let reply = self.ask("POST", "/v1/reset", Some(&json!({ "renew": renew }).to_string()), &[])?;
        let what = if renew {
            "all changes are forgotten, and windows begin anew"
        } else {
            "all changes are forgotten"
        };
        self.tell(&reply, what)
    }

    fn stop(&mut self) -> Result<(), Failure> {
        let reply = self.ask("POST", "/v1/stop", None, &[])?;
        if self.output == Output::Json {
            return Ok(writeln!(self.out, "{}", reply.body.trim_end())?);
        }
        self.out.write_all(table::stopped(&reply.json()).as_bytes())?;
        Ok(())
    }

    fn resume(&mut self) -> Result<(), Failure> {
        let reply = self.ask("POST", "/v1/resume", None, &[])?;
        let answer = reply.json();
        if self.output == Output::Json {
            writeln!(self.out, "{}", reply.body.trim_end())?;
        } else if answer["stopped"] != true {
            self.tell(&reply, "rules are in force again")?;
        }
        if answer["stopped"] == true {
            return Err(Failure::StillStopped(answer["stop"]["by"].as_str().unwrap_or("a file").to_owned()));
        }
        Ok(())
    }

    fn tell(&mut self, reply: &Reply, what: &str) -> Result<(), Failure> {
        match self.output {
            Output::Json => writeln!(self.out, "{}", reply.body.trim_end())?,
            Output::Text => writeln!(self.out, "{what} (generation {})", reply.json()["generation"])?,
        }
        Ok(())
    }

    fn watch(&mut self) -> Result<(), Failure> {
        let (output, out) = (self.output, &mut *self.out);
        let refused = self.client.stream("/v1/events", &mut |event| {
            match output {
                Output::Json => writeln!(out, "{event}")?,
                Output::Text => {
                    writeln!(out, "{}", table::line(&serde_json::from_str(event).unwrap_or_default()))?;
                }
            }
            out.flush()
        })?;
        refused.map_or(Err(Failure::Output), |reply| Err(Failure::Refused(reply)))
    }

    fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&str>,
        headers: &[(&str, &str)],
    ) -> Result<Reply, Failure> {
        let reply = self.client.ask(method, path, body, headers)?;
        if (200..300).contains(&reply.status) { Ok(reply) } else { Err(Failure::Refused(reply)) }
    }
}
