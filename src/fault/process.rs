//! What happens to the process itself.

mod container;
mod table;

use std::time::Duration;

pub use container::{Container, Resources, UNLIMITED_CORES, UNLIMITED_MEMORY};
pub use table::{PROCESS_MODES, ProcessField, ProcessModeInfo, ProcessParts};

use super::error::RuleError;
use super::limits::MAX_DELAY;

/// The exit code of mode exit, unless given.
pub const DEFAULT_CODE: u8 = 1;

/// The exit code of a process that SIGABRT ended, as shells and container runtimes report it.
pub const ABORT_CODE: u8 = 134;

/// The largest share of the container's limit that mode memory may ask for, in percent: enough to go beyond it.
pub const MAX_SIZE_PERCENT: f64 = 200.0;

/// The most cores that a rule may ask for, and the least.
pub const CORES: std::ops::RangeInclusive<f64> = 0.01..=1024.0;

/// The longest path of mode disk, in bytes: that of the kernel.
const MAX_PATH: usize = 4096;

/// How much memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Size {
    /// So many bytes.
    Bytes(u64),
    /// A share of the memory limit of the container, in percent.
    Percent(f64),
}

impl Size {
    /// The bytes, in a container with that limit.
    pub fn bytes(self, limit: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => (limit as f64 * percent / 100.0) as u64,
        }
    }
}

/// What a rule does to the process.
#[derive(Clone, Debug, PartialEq)]
pub enum ProcessMode {
    /// It ends with this exit code.
    Exit(u8),
    /// It ends as SIGABRT ends a process.
    Abort,
    /// It holds memory.
    Memory(Size),
    /// It burns so many cores' worth of CPU time.
    Cpu(f64),
    /// SIGTERM does nothing.
    IgnoreTerm,
    /// SIGTERM is acted on so much later.
    SlowTerm(Duration),
    /// It holds the file descriptors that the admin listener does not need.
    Fds,
    /// It fills a volume.
    Disk {
        /// The mount point of the volume.
        path: String,
        /// Bytes.
        size: u64,
    },
}

impl ProcessMode {
    /// Its row in the table.
    pub const fn info(&self) -> &'static ProcessModeInfo {
        match self {
            Self::Exit(_) => &table::EXIT,
            Self::Abort => &table::ABORT,
            Self::Memory(_) => &table::MEMORY,
            Self::Cpu(_) => &table::CPU,
            Self::IgnoreTerm => &table::IGNORE_TERM,
            Self::SlowTerm(_) => &table::SLOW_TERM,
            Self::Fds => &table::FDS,
            Self::Disk { .. } => &table::DISK,
        }
    }

    /// The name in plans and metric labels.
    pub const fn name(&self) -> &'static str {
        self.info().name
    }

    /// The exit code with which it ends the process; `None`: it goes on.
    pub const fn exit_code(&self) -> Option<u8> {
        match self {
            Self::Exit(code) => Some(*code),
            Self::Abort => Some(ABORT_CODE),
            _ => None,
        }
    }

    /// Whether it acts at a SIGTERM that arrives in its window, and not from the window's beginning on.
    pub const fn acts_at_term(&self) -> bool {
        matches!(self, Self::IgnoreTerm | Self::SlowTerm(_))
    }

    /// The values of its fields; those that it does not take are absent.
    pub fn parts(&self) -> ProcessParts {
        let mut parts = ProcessParts::default();
        match self {
            Self::Exit(code) => parts.code = Some(*code),
            Self::Memory(size) => parts.size = Some(*size),
            Self::Cpu(cores) => parts.cores = Some(*cores),
            Self::SlowTerm(delay) => parts.delay = Some(*delay),
            Self::Disk { path, size } => {
                (parts.path, parts.size) = (Some(path.clone()), Some(Size::Bytes(*size)));
            }
            Self::Abort | Self::IgnoreTerm | Self::Fds => {}
        }
        parts
    }

    pub(super) fn check(&self) -> Result<(), RuleError> {
        match self {
            Self::Memory(Size::Bytes(0)) | Self::Disk { size: 0, .. } => Err(RuleError::NoSize),
            Self::Memory(Size::Percent(percent)) if !(*percent > 0.0 && *percent <= MAX_SIZE_PERCENT) => {
                Err(RuleError::SizePercent(*percent))
            }
            Self::Cpu(cores) if !CORES.contains(cores) => Err(RuleError::Cores(*cores)),
            Self::SlowTerm(delay) if delay.is_zero() || *delay > MAX_DELAY => {
                Err(RuleError::TermDelay(*delay))
            }
            Self::Disk { path, .. } if !is_plain_path(path) => Err(RuleError::Path(path.clone())),
            _ => Ok(()),
        }
    }
}

/// Whether a path is absolute, and says where it leads.
fn is_plain_path(path: &str) -> bool {
    path.starts_with('/')
        && path.len() <= MAX_PATH
        && !path.contains('\0')
        && !path.split('/').any(|part| matches!(part, "." | ".."))
}
