//! The pure core: decides which fault a request or a connection gets.
//!
//! Nothing here sleeps, logs, locks, reads the environment or uses sockets. Time is a parameter, as a
//! [`Duration`](std::time::Duration) since the start of the process; a request is identified by its number. The same
//! plan, seed, number and time give the same [`Decision`] on every machine, in the service as in a prediction.
//!
//! | type | meaning |
//! |---|---|
//! | [`Rule`] | a condition, its targets and an effect |
//! | [`Match`] | the requests of its targets that a rule acts on |
//! | [`Plan`] | an ordered list of rules with unique names |
//! | [`ActivePlan`] | a plan with a seed and, for each rule, the [`Origin`] of its conditions |
//! | [`Replica`] | where a plan runs: the Pod and the start of its container |
//! | [`RequestInfo`] | one request: its target, client class, number and time |
//! | [`Decision`] | the delay and mode of a request |
//! | [`Link`] | the state of a listener at an instant |
//! | [`Proxies`] | the known proxies; each is a target, by its name |
//! | [`ProcessHit`] | the effect of a rule on the process at an instant |
//! | [`Container`] | the limits of process faults in a container |

mod active;
mod answer;
mod delay;
mod draw;
mod error;
mod limits;
mod link;
mod mode;
mod name;
mod normal;
mod plan;
mod process;
mod proxies;
mod proxy;
mod rate;
mod replica;
mod request_match;
mod rule;
mod shape;
mod stream;
mod target;
mod trigger;
mod upstream;
mod window;

pub use active::{
    ActivePlan, Decision, Drawn, OpenRule, Origin, ProcessHit, RequestCounts, RequestInfo, RequestedDecision,
    RuleHit, Verdict,
};
pub use answer::FaultAnswer;
pub use delay::{Delay, Distribution};
pub use draw::{Draws, Seed, fnv1a};
pub use error::{DelayError, MatchError, RuleError, TriggerError};
pub use limits::{
    MAX_BODY, MAX_BODY_TEXT, MAX_BURST, MAX_DELAY, MAX_GRPC_MESSAGE, MAX_HEADERS, MAX_HEADERS_SIZE,
    MAX_MATCH_TEXT, MAX_MATCHES, MAX_PROXIES, MAX_RULES, MAX_SIZE_PERCENT, MAX_SPEED, MIN_WINDOW,
};
pub use link::{Link, LinkCut, ListenerId};
pub use mode::{
    ActsOn, Cut, DEFAULT_BODY, DEFAULT_DRIP, DEFAULT_LOCATION, DEFAULT_PAUSE, DEFAULT_PIECE, DEFAULT_SPEED,
    DEFAULT_STATUS, GrpcStatus, HandshakeFault, KUBELET_BODY_LIMIT, MODES, Mode, ModeField, ModeInfo,
    ModeParts, Partial, Slices, StatusEffect, TlsAlert, WireMode,
};
pub use plan::{Plan, PlanError};
pub use process::{
    ABORT_CODE, CORES, Container, DEFAULT_CODE, PROCESS_MODES, ProcessField, ProcessMode, ProcessModeInfo,
    ProcessParts, Resources, Size, UNLIMITED_CORES, UNLIMITED_MEMORY,
};
pub use proxies::{Proxies, TooManyProxies};
pub use proxy::{Protocol, ProxyName, RESERVED_NAMES, Slot};
pub use rate::{Burst, Rate};
pub use replica::{Pods, Replica, Timestamp};
pub use request_match::{Match, RequestView};
pub use rule::{Action, ListenerName, Networks, Rule, RuleName};
pub use shape::{MAX_HELD, Shape};
pub use stream::{OnConnection, Stream, Streams};
pub use target::{Client, ClientFilter, Target, TargetId, Targets};
pub use trigger::Trigger;
pub use upstream::{UpstreamAddress, UpstreamError, UpstreamHost, UpstreamPlace, UpstreamProtocol};
pub use window::{RequestWindow, TimeWindow};
