//! Resource limits: those of the container's own cgroup, in versions 1 and 2, and those of the machine.

use crate::fault::Resources;
use crate::file;

/// Mount point of cgroups.
const MOUNT: &str = "/sys/fs/cgroup";

/// Version 1 reports a huge number if there is no limit.
const NO_LIMIT: u64 = 1 << 50;

/// The resources of the container; what the system does not report is absent.
pub fn resources() -> Resources {
    Resources {
        memory_limit: memory_limit(),
        machine_memory: machine_memory(&read("/proc/meminfo").unwrap_or_default()),
        cpu_limit: cpu_limit_in(MOUNT, &own()),
        machine_cores: allowed_cores(&read("/proc/self/status").unwrap_or_default()),
    }
}

/// Memory limit of the container in bytes; `None` if unlimited.
pub fn memory_limit() -> Option<u64> {
    memory_limit_in(MOUNT, &own())
}

/// The cgroups of the process.
fn own() -> String {
    read("/proc/self/cgroup").unwrap_or_default()
}

fn memory_limit_in(mount: &str, own: &str) -> Option<u64> {
    let limit = |folder: String| {
        let text = read(&format!("{folder}/memory.max"))
            .or_else(|| read(&format!("{folder}/memory.limit_in_bytes")))?;
        text.trim().parse().ok()
    };
    folders(mount, own, "memory").filter_map(limit).min().filter(|limit| *limit < NO_LIMIT)
}

/// CPU limit of the container in cores; `None` if unlimited.
fn cpu_limit_in(mount: &str, own: &str) -> Option<f64> {
    let limit = |folder: String| match read(&format!("{folder}/cpu.max")) {
        Some(text) => quota(text.split_once(' ')?),
        None => quota((
            &read(&format!("{folder}/cpu.cfs_quota_us"))?,
            &read(&format!("{folder}/cpu.cfs_period_us"))?,
        )),
    };
    folders(mount, own, "cpu").filter_map(limit).min_by(f64::total_cmp)
}

/// A quota and its period, both in microseconds. `max` or a negative number means no quota.
fn quota((quota, period): (&str, &str)) -> Option<f64> {
    let quota: u64 = quota.trim().parse().ok()?;
    let period: u64 = period.trim().parse().ok().filter(|period| *period > 0)?;
    Some(quota as f64 / period as f64)
}

/// Candidate folders of the process's own cgroup. With a cgroup namespace, or in a container of version 1, it is the
/// mount point; otherwise, `/proc/self/cgroup` gives the path below it.
fn folders(mount: &str, own: &str, controller: &str) -> impl Iterator<Item = String> {
    let (second, first) = (path_in(own, ""), path_in(own, controller));
    [(String::new(), second), (format!("/{controller}"), first)].into_iter().flat_map(
        move |(hierarchy, path)| {
            let path = path.filter(|path| path != "/");
            let mount = format!("{mount}{hierarchy}");
            path.map(|path| format!("{mount}{path}")).into_iter().chain([mount])
        },
    )
}

/// The path of the cgroup with a controller; the empty name is version 2.
fn path_in(own: &str, controller: &str) -> Option<String> {
    own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let is_meant = fields.next()?.split(',').any(|name| name == controller);
        fields.next().filter(|_| is_meant).map(str::to_owned)
    })
}

fn machine_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

/// Number of cores the process may run on, from a list such as `0-3,8`.
fn allowed_cores(status: &str) -> Option<f64> {
    let cores = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let count = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let before: u32 = first.parse().ok()?;
        Some(f64::from(last.parse::<u32>().ok()?.checked_sub(before)?) + 1.0)
    };
    cores.trim().split(',').map(count).sum()
}

fn read(path: &str) -> Option<String> {
    file::read_kernel(path).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn limits_of_both_versions_are_read() {
        assert_eq!(quota(("50000", "100000\n")), Some(0.5));
        assert_eq!(quota(("200000\n", "100000\n")), Some(2.0));
        assert_eq!((quota(("max", "100000\n")), quota(("-1\n", "100000\n"))), (None, None));
        let first = "4:memory:/kubepods/pod1/a\n3:cpu,cpuacct:/b\n0::/\n";
        assert_eq!(path_in(first, "memory").as_deref(), Some("/kubepods/pod1/a"));
        assert_eq!(path_in(first, "cpu").as_deref(), Some("/b"));
        assert_eq!(path_in(first, "").as_deref(), Some("/"));
        assert_eq!(path_in("0::/system.slice/x:y\n", "").as_deref(), Some("/system.slice/x:y"));
    }

    #[test]
    fn the_memory_limit_is_read_from_cgroups_of_either_version() {
        for (files, limit) in [
            (&[("memory.max", "33554432\n")][..], Some(32 << 20)),
            (&[("memory.max", "max\n")], None),
            (&[("memory/memory.limit_in_bytes", "16777216\n")], Some(16 << 20)),
            (&[("memory/memory.limit_in_bytes", "9223372036854771712\n")], None),
            // Some machines mount version 2 next to version 1.
            (&[("memory.max", "max\n"), ("memory/memory.limit_in_bytes", "67108864\n")], Some(64 << 20)),
            // A container that sees all cgroups of the machine finds its own.
            (
                &[
                    ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
                    ("memory/a/memory.limit_in_bytes", "4096\n"),
                ],
                Some(4096),
            ),
            (&[("a/memory.max", "8192\n")], Some(8192)),
            (&[("memory.max", "")], None),
            (&[], None),
        ] {
            let root = tempfile::tempdir().unwrap();
            for folder in ["memory/a", "a"] {
                fs::create_dir_all(root.path().join(folder)).unwrap();
            }
            for (file, content) in files {
                fs::write(root.path().join(file), content).unwrap();
            }
            let mount = root.path().to_str().unwrap();
            assert_eq!(memory_limit_in(mount, "4:memory:/a\n0::/a\n"), limit, "{files:?}");
        }
    }

    #[test]
    fn what_the_machine_has_is_read() {
        assert_eq!(machine_memory("MemTotal:       16 kB\nMemFree: 5 kB\n"), Some(16_384));
        assert_eq!(allowed_cores("Name:\tx\nCpus_allowed_list:\t0-3,8,10-11\n"), Some(7.0));
        assert_eq!(allowed_cores("Cpus_allowed_list:\t1\n"), Some(1.0));
        let here = resources();
        assert!(here.machine_memory > Some(1 << 20) && here.machine_cores >= Some(1.0), "{here:?}");
    }
}
