//! How a process answers a request: its rules, and the application behind it.

use super::{Behind, ContainerProcess, ProcessRequest};
use crate::fault::{Client, GrpcStatus, Mode, RequestCounts, RequestInfo, Target, Verdict};
use crate::kubelet::attempt::{AttemptResult, Ordinary, ProbeReply, Symptom, faulted, faulted_call};
use crate::kubelet::clock::{NEVER, Nanos, duration, nanos};
use crate::kubelet::spec::ProbeEndpoint;

/// Status of readiness after SIGTERM, unless a rule replaces it.
const STOPPING: u16 = 503;
/// The status if the application behind a program cannot be reached.
const BAD_GATEWAY: u16 = 502;
/// The status if the application behind a program does not answer in time.
const GATEWAY_TIMEOUT: u16 = 504;

impl ContainerProcess {
    /// The answer without network cuts, and when its head comes.
    pub(super) fn answer(&mut self, request: &ProcessRequest, behind: Option<Behind>) -> (Nanos, ProbeReply) {
        let ProcessRequest { at, deadline, endpoint, client, .. } = *request;
        let target = match endpoint {
            ProbeEndpoint::Target(target) => target,
            ProbeEndpoint::Status(status) => {
                return (at, ProbeReply { at, outcome: AttemptResult::of_status(status) });
            }
        };
        let number = self.counts.increment(target, client);
        let attempt =
            RequestInfo { target: target.into(), client, elapsed: duration(at - self.zero), number };
        let Self { program, match_counts, .. } = self;
        let matched = |rule| {
            request.matched.contains(&rule).then(|| counts_of(match_counts, rule).increment(target, client))
        };
        let decision = program.plan.decide_matched(&attempt, false, matched, |_| {});
        let delayed = |at: Nanos| self.program.throttled(at.saturating_add(nanos(decision.delay)), self.zero);
        let rule = match decision.verdict {
            Verdict::Inject(position) => Some(position),
            Verdict::Pass | Verdict::DependencyFailed(_) => None,
        };
        let is_lost = rule.is_some_and(|rule| self.program.plan.rule(rule).answer().forward);
        let stops = at >= self.stopping_from && target == Target::Readiness;
        let status = match decision.verdict {
            Verdict::DependencyFailed(_) => 500,
            _ if stops => STOPPING,
            _ => 200,
        };
        let behind = behind.filter(|_| !stops && self.passes_on(target, decision.verdict));
        let is_real = behind.is_some();
        let sent = if is_lost { at } else { delayed(at) };
        let mut ordinary = match behind {
            Some(behind) if sent < deadline => self.forward(sent, request, behind),
            _ => ProbeReply { at: sent, outcome: AttemptResult::of_status(status) },
        };
        if is_lost {
            ordinary.at = delayed(ordinary.at);
        }
        let head = ordinary.at;
        if head >= deadline {
            let timeout = AttemptResult::Failure(Symptom::HeadTimeout);
            return (deadline, ProbeReply { at: deadline, outcome: timeout });
        }
        let reply = rule.map_or(ordinary, |rule| self.injected(rule, request, ordinary, is_real));
        (head, reply)
    }

    /// Whether the application behind it gets a request to `target` with this verdict.
    fn passes_on(&self, target: Target, verdict: Verdict) -> bool {
        let answers_probes = self.program.application.is_some_and(|it| it.answers_probes);
        (answers_probes || target == Target::Traffic)
            && match verdict {
                Verdict::Pass => true,
                Verdict::DependencyFailed(_) => false,
                Verdict::Inject(position) => {
                    let rule = self.program.plan.rule(position);
                    // Modes that need a body change the application's answer; the others replace it.
                    rule.answer().forward || rule.mode().is_some_and(|mode| mode.info().needs_body)
                }
            }
    }

    /// The answer of the application behind it to a request that is forwarded at `at`.
    fn forward(&self, at: Nanos, request: &ProcessRequest, behind: Behind) -> ProbeReply {
        let failed = |at, status: u16| {
            let symptom =
                if request.is_grpc { Symptom::Rpc(GrpcStatus::UNAVAILABLE) } else { Symptom::Status(status) };
            ProbeReply { at, outcome: AttemptResult::Failure(symptom) }
        };
        if !behind.runs {
            return failed(at, BAD_GATEWAY);
        }
        let Some(process) = behind.process else { return ProbeReply { at, outcome: AttemptResult::Success } };
        let limit = self.program.application.and_then(|application| application.timeout);
        let limit = limit.map_or(NEVER, |limit| at.saturating_add(nanos(limit)));
        let passed_on = ProcessRequest {
            at,
            deadline: request.deadline.min(limit),
            endpoint: ProbeEndpoint::Target(request.purpose),
            https: false,
            matched: request.matched_behind,
            matched_behind: &[],
            ..*request
        };
        let reply = process.request(passed_on, None);
        match reply.outcome {
            AttemptResult::Failure(Symptom::HeadTimeout) if reply.at < request.deadline => {
                failed(reply.at, GATEWAY_TIMEOUT)
            }
            AttemptResult::Failure(
                Symptom::Refused
                | Symptom::Closed
                | Symptom::Reset
                | Symptom::Garbage
                | Symptom::ConnectTimeout
                | Symptom::TlsAlert(_),
            ) => failed(reply.at, BAD_GATEWAY),
            _ => reply,
        }
    }

    /// The result of a request that gets the mode of the rule at a position. Without it, `ordinary` would be the answer;
    /// `is_real` says whether an application gave that answer.
    fn injected(
        &self,
        position: usize,
        request: &ProcessRequest,
        ordinary: ProbeReply,
        is_real: bool,
    ) -> ProbeReply {
        let ProbeReply { at: head, outcome } = ordinary;
        let rule = self.program.plan.rule(position);
        match rule.mode() {
            // Callers of a gRPC service check the gRPC status, not the HTTP status.
            Some(Mode::Grpc { .. }) if request.client == Client::Other => {
                ProbeReply { at: head, outcome: AttemptResult::Failure(Symptom::Status(200)) }
            }
            Some(mode) => {
                let followed = self.program.followed.iter().find(|(rule, _)| *rule == position);
                let ordinary =
                    Ordinary { head, deadline: request.deadline, status: outcome.status(), is_real };
                if request.is_grpc {
                    faulted_call(mode, ordinary)
                } else {
                    faulted(rule, mode, ordinary, followed.map(|(_, endpoint)| *endpoint))
                }
            }
            None => ordinary,
        }
    }
}

/// The counters of a rule with a match.
fn counts_of(all: &mut Vec<(usize, RequestCounts)>, rule: usize) -> &mut RequestCounts {
    let known = all.iter().position(|(of, _)| *of == rule);
    let at = known.unwrap_or_else(|| {
        all.push((rule, RequestCounts::default()));
        all.len() - 1
    });
    &mut all[at].1
}
