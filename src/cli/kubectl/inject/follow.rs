//! Follows injections from their start to their end.

use std::io::{self, Read as _, Write};
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::interrupts::Interrupts;
use super::report::{Outcome, Report};
use super::stage::{self, Stage};
use super::target;
use crate::cli::exit;
use crate::cli::kubectl::error::KubectlError;
use crate::cli::kubectl::process::Kubectl;

/// How long a container may take to start.
const START: Duration = Duration::from_secs(120);

/// How long a container may take to end when it is asked to.
const STOP: Duration = Duration::from_secs(60);

/// Between two questions, while something is about to change and while nothing is.
const SOON: Duration = Duration::from_millis(500);
const LATER: Duration = Duration::from_secs(2);

/// How many questions in a row may fail.
const FAILURES: usize = 15;

/// How many calls that end an injection may fail: the first may come too early or too late.
const STOP_FAILURES: usize = 3;

/// An injection into one Pod.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) pod: String,
    /// The ephemeral container.
    pub(super) container: String,
    /// What the first line of its log says.
    attached: Option<Value>,
    is_running: bool,
    /// The call that ends it.
    stop: Option<Child>,
    /// Whether it has said that it ends.
    is_ending: bool,
    /// Why such calls have failed.
    failures: Vec<String>,
    pub(super) outcome: Option<Outcome>,
}

impl Run {
    pub(super) fn new(pod: String, container: String) -> Self {
        Self {
            pod,
            container,
            attached: None,
            is_running: false,
            stop: None,
            is_ending: false,
            failures: Vec::new(),
            outcome: None,
        }
    }
}

/// What is followed, and until when.
pub(super) struct Follow<'a> {
    pub(super) kubectl: &'a Kubectl,
    pub(super) namespace: &'a str,
    pub(super) executable: &'a str,
    /// Returns when all have begun.
    pub(super) detaches: bool,
    /// Ends them at once.
    pub(super) stops: bool,
}

impl Follow<'_> {
    /// Follows all to their ends. Returns the exit code.
    ///
    /// # Errors
    ///
    /// The output is closed, or kubectl fails again and again.
    pub(super) fn run(
        &self,
        mut runs: Vec<Run>,
        interrupts: &Interrupts,
        report: &mut Report<'_>,
        err: &mut dyn Write,
    ) -> Result<u8, KubectlError> {
        let begin = Instant::now();
        let mut stopping = self.stops.then_some(begin);
        let mut failures = 0;
        loop {
            match self.pods(&runs) {
                Ok(pods) => {
                    failures = 0;
                    for run in runs.iter_mut().filter(|run| run.outcome.is_none()) {
                        let pod = pods.iter().find(|pod| target::name(pod) == run.pod);
                        self.look(run, pod, begin.elapsed() >= START, report)?;
                    }
                }
                Err(error) if failures >= FAILURES => {
                    writeln!(err, "note: each injection ends by itself when its time is over")?;
                    return Err(error);
                }
                Err(_) => failures += 1,
            }
            if let Some(since) = stopping {
                self.stop(&mut runs, since.elapsed() >= STOP, report)?;
            }
            let is_over = |run: &Run| run.outcome.is_some() || self.detaches && run.attached.is_some();
            if runs.iter().all(|run| run.outcome.is_some()) || stopping.is_none() && runs.iter().all(is_over)
            {
                break;
            }
            let is_steady =
                stopping.is_none() && runs.iter().all(|run| run.attached.is_some() || run.outcome.is_some());
            if interrupts.wait(if is_steady { LATER } else { SOON }) {
                if stopping.is_some() {
                    writeln!(err, "given up; each injection ends by itself when its time is over")?;
                    break;
                }
                writeln!(err, "ending it ...")?;
                stopping = Some(Instant::now());
            }
        }
        let known = runs.iter().filter_map(|run| Some((run.pod.as_str(), run.outcome.as_ref()?)));
        report.totals(known)?;
        let is_good = |run: &Run| match &run.outcome {
            Some(outcome) => outcome.is_good(),
            None => self.detaches && stopping.is_none(),
        };
        Ok(if runs.iter().all(is_good) { exit::OK } else { exit::FAILED })
    }

    /// The Pods of those that have not ended.
    fn pods(&self, runs: &[Run]) -> Result<Vec<Value>, KubectlError> {
        let mut arguments = vec!["get".to_owned(), "pods".to_owned()];
        arguments.extend(runs.iter().filter(|run| run.outcome.is_none()).map(|run| run.pod.clone()));
        if arguments.len() == 2 {
            return Ok(Vec::new());
        }
        let options = [
            "--ignore-not-found".to_owned(),
            format!("--namespace={}", self.namespace),
            "--output=json".to_owned(),
        ];
        arguments.extend(options);
        let output = self.kubectl.run(&arguments, None)?;
        // Of Pods that are all gone, kubectl prints nothing.
        if output.status.success() && output.stdout.is_empty() {
            return Ok(Vec::new());
        }
        let answer = self.kubectl.read(&arguments, &output)?;
        Ok(match answer["items"].as_array() {
            Some(items) => items.clone(),
            None => vec![answer],
        })
    }

    /// Looks how far one has come.
    fn look(
        &self,
        run: &mut Run,
        pod: Option<&Value>,
        is_late: bool,
        report: &mut Report<'_>,
    ) -> io::Result<()> {
        let outcome = match pod.map(|pod| stage::of(pod, &run.container)) {
            None => Outcome::Lost("the Pod is gone, and the injection with it".to_owned()),
            Some(Stage::Waiting { reason, is_hopeless }) => {
                if !is_hopeless && !is_late {
                    return Ok(());
                }
                // An ephemeral container cannot be taken away.
                Outcome::Failed(format!(
                    "its container does not start ({reason}); it begins when it can, unless the Pod is deleted before"
                ))
            }
            Some(Stage::Running) if run.attached.is_some() => return Ok(()),
            Some(Stage::Running) => {
                run.is_running = true;
                if let Some(attached) = stage::object(&self.log(run), "attached") {
                    report.attached(&run.pod, &run.container, &attached)?;
                    run.attached = Some(attached);
                }
                return Ok(());
            }
            Some(Stage::Ended { code, message }) => {
                let said = |text: &str| {
                    let released = stage::object(text, "released").map(Outcome::Released);
                    released.or_else(|| stage::object(text, "refused").map(Outcome::Refused))
                };
                said(&message).or_else(|| said(&self.log(run))).unwrap_or_else(|| {
                    let line = message.lines().last().unwrap_or_default();
                    Outcome::Lost(format!("its container ended with code {code}: {line}"))
                })
            }
        };
        report.ended(&run.pod, &run.container, &outcome)?;
        run.outcome = Some(outcome);
        Ok(())
    }

    fn log(&self, run: &Run) -> String {
        stage::log(self.kubectl, self.namespace, &run.pod, &run.container)
    }

    /// Asks those that run to end, and gives up those that do not.
    fn stop(&self, runs: &mut [Run], is_late: bool, report: &mut Report<'_>) -> Result<(), KubectlError> {
        for run in runs.iter_mut().filter(|run| run.outcome.is_none()) {
            match run.stop.as_mut().and_then(result_of) {
                Some(result) => {
                    run.stop = None;
                    run.is_ending = result.is_ok();
                    run.failures.extend(result.err());
                }
                None if run.stop.is_none() && run.is_running && !run.is_ending => {
                    run.stop = Some(self.kubectl.start_quiet(&self.stop_call(run))?);
                }
                None => {}
            }
            let until = run.attached.as_ref().and_then(|attached| attached["until"].as_str());
            let until = until.map(|until| format!("; it ends by itself at {until}")).unwrap_or_default();
            let reason = match run.failures.as_slice() {
                [.., last] if run.failures.len() >= STOP_FAILURES => {
                    format!("it cannot be ended: {last}{until}")
                }
                _ if is_late => format!("it has not ended{until}"),
                _ => continue,
            };
            let outcome = Outcome::Lost(reason);
            report.ended(&run.pod, &run.container, &outcome)?;
            run.outcome = Some(outcome);
        }
        Ok(())
    }

    fn stop_call(&self, run: &Run) -> [String; 8] {
        [
            "exec".to_owned(),
            run.pod.clone(),
            format!("--namespace={}", self.namespace),
            format!("--container={}", run.container),
            "--".to_owned(),
            self.executable.to_owned(),
            "attach".to_owned(),
            "--stop".to_owned(),
        ]
    }
}

/// How a call has ended, once it has: with the last line of what it complained about.
fn result_of(child: &mut Child) -> Option<Result<(), String>> {
    let status = child.try_wait().ok()??;
    if status.success() {
        return Some(Ok(()));
    }
    let mut said = String::new();
    if let Some(stderr) = &mut child.stderr {
        // What cannot be read is not shown.
        let _ = stderr.read_to_string(&mut said);
    }
    Some(Err(said.lines().last().map_or_else(|| status.to_string(), str::to_owned)))
}
