//! Faults of the process itself.

mod container;
mod table;

use std::time::Duration;

pub use container::{Container, Resources, UNLIMITED_CORES, UNLIMITED_MEMORY};
pub use table::{PROCESS_MODES, ProcessField, ProcessModeInfo, ProcessParts};

use super::error::RuleError;
use super::limits::{MAX_DELAY, MAX_SIZE_PERCENT};

/// Default exit code of mode `exit`.
pub const DEFAULT_CODE: u8 = 1;

/// Exit code of a process that SIGABRT ended, as reported by shells and container runtimes.
pub const ABORT_CODE: u8 = 134;

/// Range of the cores that a rule may use.
pub const CORES: std::ops::RangeInclusive<f64> = 0.01..=1024.0;

/// Length limit of the path of mode `disk`, in bytes: that of the kernel.
const MAX_PATH: usize = 4096;

/// An amount of memory or disk space.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Size {
    /// In bytes.
    Bytes(u64),
    /// As a share of the container's memory limit, in percent.
    Percent(f64),
}

impl Size {
    /// The size in bytes, for a given memory limit.
    pub fn bytes(self, limit: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => (limit as f64 * percent / 100.0) as u64,
        }
    }
}

/// The effect of a rule on the process.
#[derive(Clone, Debug, PartialEq)]
pub enum ProcessMode {
    /// Exits with this code.
    Exit(u8),
    /// Aborts, as with SIGABRT.
    Abort,
    /// Allocates memory.
    Memory(Size),
    /// Uses this many cores of CPU time.
    Cpu(f64),
    /// Ignores SIGTERM.
    IgnoreTerm,
    /// Delays the handling of SIGTERM.
    SlowTerm(Duration),
    /// Uses all file descriptors that the admin listener does not need.
    Fds,
    /// Fills a volume.
    Disk {
        /// Mount point of the volume.
        path: String,
        /// Bytes to write.
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

    /// The exit code with which it ends the process; `None` if the process continues.
    pub const fn exit_code(&self) -> Option<u8> {
        match self {
            Self::Exit(code) => Some(*code),
            Self::Abort => Some(ABORT_CODE),
            _ => None,
        }
    }

    /// Whether it acts when SIGTERM arrives in its window, instead of when the window opens.
    pub const fn acts_at_term(&self) -> bool {
        matches!(self, Self::IgnoreTerm | Self::SlowTerm(_))
    }

    /// Values of its fields; fields that it does not have are absent.
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

/// Whether a path is absolute and has no `.` or `..`.
fn is_plain_path(path: &str) -> bool {
    path.starts_with('/')
        && path.len() <= MAX_PATH
        && !path.contains('\0')
        && !path.split('/').any(|part| matches!(part, "." | ".."))
}
