//! Sources of rules: the environment, files, an annotation and the admin API, merged into the plan in force; and the
//! state that outlives the container.
//!
//! [`Layers`] and [`merge()`] have no side effects; `predict` uses them as well. In the running service,
//! [`start::start`] creates [`Control`], which owns them; [`watch`] and the admin API pass their changes to it, and
//! [`state`] keeps what a container restart must not lose.

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

pub use change::{ApiChange, ChangeRefusal, ChangeResult};
pub use control::{Control, Preview};
pub use instance::{Instance, epoch};
pub use layers::Layers;
pub use merge::{Hidden, Layer, Merged, merge};
pub use proxies::ProxyHost;
pub use status::{Returning, RuleStatus, SourceStatus, SourcesStatus};
pub use summary::summary;
