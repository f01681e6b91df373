//! The table of process modes, used by parser, writer, command line and documentation.

use std::time::Duration;

use super::{DEFAULT_CODE, ProcessMode, Size};

/// A field of a rule that belongs to some process modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessField {
    /// `code`: the exit code.
    Code,
    /// `size`: memory or file size.
    Size,
    /// `ramp`: time over which the memory grows.
    Ramp,
    /// `cores`: CPU usage.
    Cores,
    /// `delay`: delay of SIGTERM.
    Delay,
    /// `path`: mount point of a volume.
    Path,
    /// `allow_node_pressure`: permission to put the node under pressure.
    AllowNodePressure,
}

impl ProcessField {
    /// All fields.
    pub const ALL: [Self; 7] =
        [Self::Code, Self::Size, Self::Ramp, Self::Cores, Self::Delay, Self::Path, Self::AllowNodePressure];

    /// The name in plans.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Size => "size",
            Self::Ramp => "ramp",
            Self::Cores => "cores",
            Self::Delay => "delay",
            Self::Path => "path",
            Self::AllowNodePressure => "allow_node_pressure",
        }
    }
}

/// Values of the fields; each mode uses those that it has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessParts {
    /// Exit code.
    pub code: Option<u8>,
    /// Memory or file size.
    pub size: Option<Size>,
    /// Number of cores.
    pub cores: Option<f64>,
    /// Delay of SIGTERM.
    pub delay: Option<Duration>,
    /// Mount point of a volume.
    pub path: Option<String>,
}

/// A row of the table of process modes.
#[derive(Clone, Copy, Debug)]
pub struct ProcessModeInfo {
    /// Name in plans and metric labels.
    pub name: &'static str,
    /// Its fields.
    pub fields: &'static [ProcessField],
    /// Required fields.
    pub required: &'static [ProcessField],
    /// Effect in the window.
    pub does: &'static str,
    /// Effect at the end of the window.
    pub end: &'static str,
    make: fn(ProcessParts) -> Option<ProcessMode>,
}

impl ProcessModeInfo {
    /// Whether it has a field.
    pub fn takes(&self, field: ProcessField) -> bool {
        self.fields.contains(&field)
    }

    /// The row of that name, in any case.
    pub fn from_name(name: &str) -> Option<&'static Self> {
        PROCESS_MODES.iter().copied().find(|info| info.name.eq_ignore_ascii_case(name))
    }

    /// The mode; `None` if a required field is absent, or if a file size is a percentage.
    pub fn mode(&self, parts: ProcessParts) -> Option<ProcessMode> {
        (self.make)(parts)
    }
}

/// All modes, in the order of the documentation.
pub const PROCESS_MODES: &[&ProcessModeInfo] =
    &[&EXIT, &ABORT, &MEMORY, &CPU, &IGNORE_TERM, &SLOW_TERM, &FDS, &DISK];

const NOTHING: &str = "nothing";

pub(super) const EXIT: ProcessModeInfo = ProcessModeInfo {
    name: "exit",
    fields: &[ProcessField::Code],
    required: &[],
    does: "the process exits immediately with code `code` (1)",
    end: NOTHING,
    make: |parts| Some(ProcessMode::Exit(parts.code.unwrap_or(DEFAULT_CODE))),
};

pub(super) const ABORT: ProcessModeInfo = ProcessModeInfo {
    name: "abort",
    fields: &[],
    required: &[],
    does: "the process ends at once by SIGABRT, with exit code 134 even as PID 1",
    end: NOTHING,
    make: |_| Some(ProcessMode::Abort),
};

pub(super) const MEMORY: ProcessModeInfo = ProcessModeInfo {
    name: "memory",
    fields: &[ProcessField::Size, ProcessField::Ramp, ProcessField::AllowNodePressure],
    required: &[ProcessField::Size],
    does: "`size` of memory, bytes or percent of the container's limit, is written and held; with `ramp`, it grows linearly",
    end: "the memory is returned to the system",
    make: |parts| Some(ProcessMode::Memory(parts.size?)),
};

pub(super) const CPU: ProcessModeInfo = ProcessModeInfo {
    name: "cpu",
    fields: &[ProcessField::Cores, ProcessField::AllowNodePressure],
    required: &[ProcessField::Cores],
    does: "separate threads burn `cores` cores' worth of CPU time",
    end: "the threads end",
    make: |parts| Some(ProcessMode::Cpu(parts.cores?)),
};

pub(super) const IGNORE_TERM: ProcessModeInfo = ProcessModeInfo {
    name: "ignore-term",
    fields: &[],
    required: &[],
    does: "SIGTERM is ignored; SIGINT still ends the process",
    end: "a SIGTERM received meanwhile takes effect",
    make: |_| Some(ProcessMode::IgnoreTerm),
};

pub(super) const SLOW_TERM: ProcessModeInfo = ProcessModeInfo {
    name: "slow-term",
    fields: &[ProcessField::Delay],
    required: &[ProcessField::Delay],
    does: "after SIGTERM the process keeps serving for `delay` without being ready, then shuts down as usual",
    end: "a pending SIGTERM takes effect",
    make: |parts| Some(ProcessMode::SlowTerm(parts.delay?)),
};

pub(super) const FDS: ProcessModeInfo = ProcessModeInfo {
    name: "fds",
    fields: &[],
    required: &[],
    does: "all file descriptors are in use, except those reserved for the admin listener: no new connection is accepted",
    end: "they are closed",
    make: |_| Some(ProcessMode::Fds),
};

pub(super) const DISK: ProcessModeInfo = ProcessModeInfo {
    name: "disk",
    fields: &[ProcessField::Path, ProcessField::Size],
    required: &[ProcessField::Path, ProcessField::Size],
    does: "a file of `size` bytes fills the volume mounted at `path`; a fifth of the volume always stays free",
    end: "the file is removed",
    make: |parts| match (parts.path?, parts.size?) {
        (path, Size::Bytes(size)) => Some(ProcessMode::Disk { path, size }),
        (_, Size::Percent(_)) => None,
    },
};
