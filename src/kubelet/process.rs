//! This program as seen by probes, from the start of the process to its end.

mod answer;

use std::net::IpAddr;

use super::attempt::{AttemptResult, ProbeReply, Symptom};
use super::clock::{NEVER, Nanos, duration, nanos};
use super::process_rules::Term;
use super::spec::{Application, ContainerEnd, ProbeEndpoint, Program, StartTime, Transport};
use crate::fault::{ActivePlan, Client, Cut, HandshakeFault, ListenerId, RequestCounts, Rule, Seed, Target};

/// The application behind a process, for a request.
pub(super) struct Behind<'a> {
    /// Its process, if its behaviour is known.
    pub(super) process: Option<&'a mut ContainerProcess>,
    /// Whether its container runs.
    pub(super) runs: bool,
}

/// A request to a process.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProcessRequest<'a> {
    pub(super) at: Nanos,
    pub(super) deadline: Nanos,
    pub(super) endpoint: ProbeEndpoint,
    /// Whether it uses TLS.
    pub(super) https: bool,
    pub(super) client: Client,
    pub(super) peer: IpAddr,
    /// Whether it is a call of the gRPC health service.
    pub(super) is_grpc: bool,
    /// Its class for an application behind the process: the kind of a probe, or traffic for a call.
    pub(super) purpose: Target,
    /// The rules with a match that admit it, by position in the plan of the process.
    pub(super) matched: &'a [usize],
    /// The same in the plan of the application behind it.
    pub(super) matched_behind: &'a [usize],
}

/// The process of a container.
#[derive(Clone, Debug)]
pub(super) struct ContainerProcess {
    program: Program,
    /// The effective seed of the first start.
    seed: Seed,
    starts: u64,
    shutdown_delay: Nanos,
    /// Whether the plan has partitions; saves a lookup for each request otherwise.
    has_cuts: bool,
    counts: RequestCounts,
    /// The number of requests so far that each rule's match admitted, by the rule's position.
    match_counts: Vec<(usize, RequestCounts)>,
    /// TLS handshakes so far.
    handshakes: u64,
    /// When the plan's clock was zero.
    zero: Nanos,
    accepts_from: Nanos,
    accepts_until: Nanos,
    stopping_from: Nanos,
}

impl ContainerProcess {
    pub(super) fn new(program: Program) -> Self {
        let has_cuts = program.plan.rules().any(Rule::is_partition);
        Self {
            seed: program.plan.seed(),
            starts: 0,
            shutdown_delay: nanos(program.shutdown_delay),
            has_cuts,
            program,
            counts: RequestCounts::default(),
            match_counts: Vec::new(),
            handshakes: 0,
            zero: 0,
            accepts_from: NEVER,
            accepts_until: NEVER,
            stopping_from: NEVER,
        }
    }

    pub(super) fn plan(&self) -> &ActivePlan {
        &self.program.plan
    }

    /// When the plan's clock was zero.
    pub(super) fn zero(&self) -> Nanos {
        self.zero
    }

    pub(super) fn accepts(&self, now: Nanos) -> bool {
        now >= self.accepts_from && now < self.accepts_until
    }

    /// How long after its next start the process listens, if configured.
    pub(super) fn start_time(&self) -> Option<Nanos> {
        let StartTime { delay, draws } = self.program.listens_after.as_deref()?;
        Some(nanos(delay.quantile(draws.quantile(self.starts + 1))))
    }

    /// The reply to a TCP, gRPC or exec probe of a program whose behaviour is given by probe. It is never an error.
    pub(super) fn assumed(
        &mut self,
        request: ProcessRequest,
        transport: Transport,
        behind: Option<Behind>,
    ) -> ProbeReply {
        if transport == Transport::Tcp
            && let Err(reply) = self.connect(request.at, request.deadline)
        {
            return reply;
        }
        let is_grpc = transport == Transport::Grpc;
        let ProbeReply { at, outcome } = self.request(ProcessRequest { is_grpc, ..request }, behind);
        match (transport, outcome) {
            (_, AttemptResult::Success | AttemptResult::Warning(_) | AttemptResult::Redirect(_)) => {
                // The kernel accepts the connection before the program becomes slow.
                let at = if transport == Transport::Tcp { request.at } else { at };
                ProbeReply { at, outcome: AttemptResult::Success }
            }
            (Transport::Tcp, AttemptResult::Failure(Symptom::HeadTimeout)) => {
                ProbeReply { at: request.at, outcome: AttemptResult::Success }
            }
            (Transport::Tcp, _) => {
                ProbeReply { at: request.at, outcome: AttemptResult::Failure(Symptom::Refused) }
            }
            // The kubelet's client waits for a server that does not listen yet.
            (Transport::Grpc, AttemptResult::Failure(Symptom::Refused)) => {
                ProbeReply { at: request.deadline, outcome: AttemptResult::Failure(Symptom::Refused) }
            }
            (_, AttemptResult::Error(symptom)) => ProbeReply { at, outcome: AttemptResult::Failure(symptom) },
            (_, failure) => ProbeReply { at, outcome: failure },
        }
    }

    /// Starts a new process, which listens some time later. Counts and clock start over, or continue if state is
    /// kept.
    pub(super) fn start(&mut self, now: Nanos, listens_after: Nanos) {
        self.starts += 1;
        self.handshakes = 0;
        if self.starts == 1 || !self.program.keeps_state {
            self.counts = RequestCounts::default();
            self.match_counts.clear();
            self.zero = now;
        }
        let mut replica = self.program.replica(self.starts, duration(self.zero));
        replica.resumed = duration(now.saturating_sub(self.zero));
        self.program.plan.set_replica(replica);
        let seed = match &self.program.reseeds {
            Some(draws) if self.starts > 1 => Seed(draws.at(self.starts)),
            _ => self.seed,
        };
        self.program.plan.reseed(seed);
        self.accepts_from = now.saturating_add(listens_after);
        self.accepts_until = NEVER;
        self.stopping_from = NEVER;
    }

    /// Handles SIGTERM. Returns by how much rules delay the end of the process.
    pub(super) fn stop(&mut self, at: Nanos) -> Nanos {
        let Term { from, until } = self.program.term(at, self.zero);
        self.stopping_from = from;
        self.accepts_until = until.saturating_add(self.shutdown_delay);
        until.saturating_sub(at)
    }

    /// When the process that starts now will exceed the limit of a volume.
    pub(super) fn overfills_at(&self, now: Nanos) -> Option<Nanos> {
        self.program.overfills_at(now, self.zero)
    }

    /// When and how a rule ends the process that starts now.
    pub(super) fn end_by_rule(&self, now: Nanos) -> Option<(Nanos, ContainerEnd)> {
        self.program.end_by_rule(now, self.zero)
    }

    /// The end of the process.
    pub(super) fn end(&mut self) {
        self.accepts_from = NEVER;
    }

    /// The result of a connection that is closed as soon as it is established.
    pub(super) fn connect(&self, at: Nanos, deadline: Nanos) -> Result<(), ProbeReply> {
        if !self.accepts(at) {
            return Err(ProbeReply { at, outcome: AttemptResult::Failure(Symptom::Refused) });
        }
        if !self.has_cuts {
            return Ok(());
        }
        match self.program.plan.link(ListenerId::Probe, duration(at - self.zero)).whole.map(|whole| whole.cut)
        {
            None | Some(Cut::Reset) => Ok(()),
            Some(Cut::Refuse) => Err(ProbeReply { at, outcome: AttemptResult::Failure(Symptom::Refused) }),
            // It counts as lost even if the network recovers before the deadline, since repeated SYNs are not modelled.
            Some(Cut::Drop) => {
                Err(ProbeReply { at: deadline, outcome: AttemptResult::Failure(Symptom::ConnectTimeout) })
            }
        }
    }

    /// The application to which it forwards requests.
    pub(super) fn application(&self) -> Option<Application> {
        self.program.application
    }

    /// The result of a request, which an application `behind` answers if no rule does.
    pub(super) fn request(&mut self, mut request: ProcessRequest, behind: Option<Behind>) -> ProbeReply {
        if let Err(mut reply) = self.connect(request.at, request.deadline) {
            if reply.outcome == AttemptResult::Failure(Symptom::ConnectTimeout) {
                // The client's timeout fires before the dialer's.
                reply.outcome = AttemptResult::Failure(Symptom::HeadTimeout);
            }
            return reply;
        }
        // The kernel accepts connections that the process cannot.
        match self.program.descriptors_until(request.at, self.zero) {
            Some(until) if until >= request.deadline => {
                let outcome = AttemptResult::Failure(Symptom::HeadTimeout);
                return ProbeReply { at: request.deadline, outcome };
            }
            Some(until) => request.at = until,
            None => {}
        }
        if self.has_cuts {
            match self.cut(&request, request.at) {
                None => {}
                Some(Cut::Refuse | Cut::Reset) => {
                    return ProbeReply { at: request.at, outcome: AttemptResult::Failure(Symptom::Reset) };
                }
                Some(Cut::Drop) => match self.healed(&request, request.at) {
                    // The request was sent during the silence; it is counted and answered when the silence ends.
                    Ok(healed) => request.at = healed,
                    Err(timeout) => return timeout,
                },
            }
        }
        if request.https
            && let Some(failed) = self.handshake(&request)
        {
            return failed;
        }
        let (head, reply) = self.answer(&request, behind);
        if self.has_cuts && reply.at > request.at { self.interrupt(&request, head, reply) } else { reply }
    }

    /// The result of a request whose handshake fails. The kubelet does not verify certificates.
    fn handshake(&mut self, request: &ProcessRequest) -> Option<ProbeReply> {
        let ProcessRequest { at, deadline, peer, .. } = *request;
        self.handshakes += 1;
        let elapsed = duration(at - self.zero);
        let plan = &self.program.plan;
        let rule = plan.decide_handshake(peer, elapsed, self.handshakes, |_| {})?;
        let (at, symptom) = match plan.rule(rule).handshake()? {
            HandshakeFault::Hang => (deadline, Symptom::HeadTimeout),
            HandshakeFault::Close => (at, Symptom::Closed),
            HandshakeFault::Alert(alert) => (at, Symptom::TlsAlert(alert)),
            HandshakeFault::Expired | HandshakeFault::WrongName | HandshakeFault::Untrusted => return None,
        };
        Some(ProbeReply { at, outcome: AttemptResult::Failure(symptom) })
    }

    fn cut(&self, request: &ProcessRequest, at: Nanos) -> Option<Cut> {
        let elapsed = duration(at - self.zero);
        self.program
            .plan
            .cut(ListenerId::Probe, elapsed, request.peer, Some(request.client))
            .map(|cut| cut.cut)
    }

    fn next_change(&self, at: Nanos) -> Option<Nanos> {
        let next = self.program.plan.next_change(duration(at - self.zero))?;
        Some(self.zero.saturating_add(nanos(next)))
    }

    /// When the silence at `at` ends, or the timeout or an RST if that is earlier.
    fn healed(&self, request: &ProcessRequest, mut at: Nanos) -> Result<Nanos, ProbeReply> {
        while let Some(next) = self.next_change(at).filter(|next| *next < request.deadline) {
            at = next;
            match self.cut(request, at) {
                None => return Ok(at),
                Some(Cut::Drop) => {}
                Some(Cut::Refuse | Cut::Reset) => {
                    return Err(ProbeReply { at, outcome: AttemptResult::Failure(Symptom::Reset) });
                }
            }
        }
        Err(ProbeReply { at: request.deadline, outcome: AttemptResult::Failure(Symptom::HeadTimeout) })
    }

    /// The result of an answer when a partition begins before its end.
    fn interrupt(&self, request: &ProcessRequest, head: Nanos, mut reply: ProbeReply) -> ProbeReply {
        let mut at = request.at;
        while let Some(next) = self.next_change(at).filter(|next| *next < reply.at) {
            at = next;
            let lost = match self.cut(request, at) {
                None => continue,
                Some(Cut::Refuse | Cut::Reset) => {
                    ProbeReply { at, outcome: AttemptResult::Failure(Symptom::Reset) }
                }
                Some(Cut::Drop) => match self.healed(request, at) {
                    Ok(healed) => {
                        at = healed;
                        reply.at = reply.at.max(healed);
                        continue;
                    }
                    Err(lost) => lost,
                },
            };
            return if head < at {
                ProbeReply { outcome: within_body(lost.outcome, reply.outcome), ..lost }
            } else {
                lost
            };
        }
        reply
    }
}

/// The loss of a connection after the head of an answer that would have ended as `reply`.
const fn within_body(lost: AttemptResult, reply: AttemptResult) -> AttemptResult {
    let status = match reply {
        AttemptResult::Warning(_) | AttemptResult::Redirect(_) => 200,
        _ => reply.status(),
    };
    AttemptResult::Error(match lost {
        AttemptResult::Failure(Symptom::Reset) => Symptom::BodyReset(status),
        _ => Symptom::BodyTimeout(status),
    })
}
