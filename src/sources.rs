//! Where rules come from: the environment, files, an annotation and the admin API, merged into the plan in force; and
//! what outlives the container.
//!
//! [`Layers`] and [`merge`] are values without side effects, which `predict` uses as well. [`Control`] owns them in the
//! running service, [`start::start`] makes it, [`watch`] and the admin API hand their changes to it, and [`state`] keeps
//! what a restart of the container must not lose.

mod change;
mod container;
mod control;
mod instance;
mod layers;
mod merge;
mod overlay;
pub mod proxies;
pub mod start;
pub mod state;
mod status;
mod summary;
pub mod volume;
pub mod watch;

pub use change::{Change, Changed, Refusal};
pub use control::Control;
pub use instance::{Instance, epoch};
pub use layers::Layers;
pub use merge::{Hidden, Layer, Merged, merge};
pub use proxies::ProxyHost;
pub use status::{Returning, RuleStatus, SourceStatus, Status};
pub use summary::summary;
