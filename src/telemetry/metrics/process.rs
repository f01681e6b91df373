//! The `process_*` family, from `/proc`.

use std::fs;
use std::sync::OnceLock;

use prometheus::proto::MetricFamily;
use rustix::process::{Resource, getrlimit};

use super::family::Family;
use crate::file;

/// Unit of the CPU times in `/proc`, part of Linux's stable interface (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads the metrics from `/proc`; missing values are omitted.
pub(super) fn collect() -> Vec<MetricFamily> {
    let stat = file::read_kernel("/proc/self/stat").unwrap_or_default();
    // The program name in parentheses may contain blanks.
    let fields: Vec<f64> = stat.rsplit_once(')').map_or_else(Vec::new, |(_, rest)| {
        rest.split_ascii_whitespace().map(|field| field.parse().unwrap_or(0.0)).collect()
    });
    // Field numbers of proc(5), which start at 1; two precede the parenthesis.
    let field = |number: usize| fields.get(number - 3).copied();
    let ticks = |number| field(number).map(|ticks| ticks / TICKS_PER_SECOND);
    let status = file::read_kernel("/proc/self/status").unwrap_or_default();
    let resident = line(&status, "VmRSS:").map(|kib| kib * 1024.0);
    let (open, most) = (open_files(), most_files());

    let cpu = ticks(14).zip(ticks(15)).map(|(user, system)| user + system);
    let gauge = Family::gauge;
    [
        (Family::counter("process_cpu_seconds_total", "User and system CPU time in seconds."), cpu),
        (gauge("process_resident_memory_bytes", "Resident memory in bytes."), resident),
        (gauge("process_virtual_memory_bytes", "Virtual memory in bytes."), field(23)),
        (gauge("process_open_fds", "Open file descriptors."), open),
        (gauge("process_max_fds", "Limit of open file descriptors."), most),
        (gauge("process_threads", "Threads of the process."), field(20)),
        (
            gauge("process_start_time_seconds", "Start of the process in seconds since the Unix epoch."),
            start_time(ticks(22)),
        ),
    ]
    .into_iter()
    .filter_map(|(mut family, value)| {
        family.add(&[], value?);
        Some(family.done())
    })
    .collect()
}

/// Number of file descriptors that the process may still open.
pub(super) fn spare_files() -> Option<usize> {
    most_files().zip(open_files()).map(|(most, open)| (most - open).max(0.0) as usize)
}

/// Resident memory in bytes.
pub(super) fn resident_memory() -> Option<u64> {
    let status = file::read_kernel("/proc/self/status").ok()?;
    line(&status, "VmRSS:").map(|kib| kib as u64 * 1024)
}

fn open_files() -> Option<f64> {
    fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64 - 1.0)
}

fn most_files() -> Option<f64> {
    getrlimit(Resource::Nofile).current.map(|most| most as f64)
}

/// The first number after `label`.
fn line(text: &str, label: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(label)?.split_ascii_whitespace().next()?.parse().ok())
}

/// Cached: the computed boot time changes when the wall clock is set.
fn start_time(since_boot: Option<f64>) -> Option<f64> {
    static BOOT: OnceLock<Option<f64>> = OnceLock::new();
    let boot = BOOT.get_or_init(|| line(&file::read_kernel("/proc/stat").ok()?, "btime "));
    Some((*boot)? + since_boot?)
}
