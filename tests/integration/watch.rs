//! Watched files, changed in the ways in which they change in a Pod and under an editor.

// Helpers outside the test functions unwrap, too.
#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use kube_probesim::sources::watch::{self, PollResult, Watcher};

/// Longer than any expected event takes on a slow, shared machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Several polling periods: a change that is not reported by then was not seen.
const SILENCE: Duration = Duration::from_millis(400);

const NAME: &str = "plan.yaml";

/// An empty directory for the test of that name.
fn directory(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("watch").join(test);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

/// A watched file and its reported changes.
struct Watched {
    watcher: Watcher,
    told: Receiver<PollResult>,
}

impl Watched {
    fn new(path: &Path) -> Self {
        let (sender, told) = mpsc::channel();
        let first = watch::read(path);
        let tell = move |index, content| {
            assert_eq!(index, 0);
            let _ = sender.send(content);
            false
        };
        Self { watcher: watch::spawn(vec![(path.to_owned(), first)], tell).unwrap(), told }
    }

    fn next(&self) -> PollResult {
        self.told.recv_timeout(PATIENCE).unwrap()
    }

    /// The reports until `last`, which must come in the end.
    fn until(&self, last: &PollResult) -> Vec<PollResult> {
        let mut all = Vec::new();
        while all.last() != Some(last) {
            all.push(self.told.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{last:?} after {all:?}")));
        }
        all
    }

    fn is_silent(&self) {
        assert_eq!(self.told.recv_timeout(SILENCE), Err(RecvTimeoutError::Timeout));
    }
}

fn text(text: &str) -> PollResult {
    PollResult::Text(text.to_owned())
}

/// A volume as the kubelet's atomic writer maintains it, for a ConfigMap, a Secret or the downward API.
struct Volume {
    path: PathBuf,
    updates: u32,
}

impl Volume {
    fn new(path: PathBuf) -> Self {
        Self { path, updates: 0 }
    }

    fn file(&self) -> PathBuf {
        self.path.join(NAME)
    }

    /// One update in the kubelet's order; without content, the key is removed.
    fn update(&mut self, content: Option<&[u8]>) {
        self.updates += 1;
        let data = self.path.join("..data");
        let old = fs::read_link(&data).ok();
        let new = format!("..2026_11_23_12_00_00.{:09}", self.updates);
        fs::create_dir(self.path.join(&new)).unwrap();
        if let Some(content) = content {
            fs::write(self.path.join(&new).join(NAME), content).unwrap();
        }
        let temporary = self.path.join("..data_tmp");
        symlink(&new, &temporary).unwrap();
        fs::rename(&temporary, &data).unwrap();
        if content.is_some() && fs::symlink_metadata(self.file()).is_err() {
            symlink(Path::new("..data").join(NAME), self.file()).unwrap();
        } else if content.is_none() && fs::symlink_metadata(self.file()).is_ok() {
            fs::remove_file(self.file()).unwrap();
        }
        if let Some(old) = old {
            fs::remove_dir_all(self.path.join(old)).unwrap();
        }
    }
}

#[test]
fn each_update_of_a_config_map_is_reported_and_none_as_a_missing_file() {
    let mut volume = Volume::new(directory("config_map"));
    volume.update(Some(b"faults: []"));
    let watched = Watched::new(&volume.file());
    for number in 0..20_u64 {
        // In a different phase of the polling each time.
        sleep(Duration::from_millis(number * 7 % 50));
        let plan = format!("seed: {number}");
        volume.update(Some(plan.as_bytes()));
        assert_eq!(watched.next(), text(&plan));
    }
    watched.is_silent();
}

#[test]
fn rapid_updates_end_with_the_last_one_and_no_missing_file() {
    let mut volume = Volume::new(directory("config_map_fast"));
    volume.update(Some(b"first"));
    let watched = Watched::new(&volume.file());
    let until = Instant::now() + Duration::from_secs(1);
    let mut number = 0;
    while Instant::now() < until {
        number += 1;
        volume.update(Some(format!("seed: {number}").as_bytes()));
        sleep(Duration::from_millis(1));
    }
    let told = watched.until(&text(&format!("seed: {number}")));
    assert!(told.iter().all(|content| matches!(content, PollResult::Text(_))), "{told:?}");
    assert!(told.len() < 40, "one per look at the most: {}", told.len());
}

#[test]
fn a_config_map_may_come_later_break_heal_lose_its_key_and_get_it_back() {
    let mut volume = Volume::new(directory("config_map_life"));
    assert_eq!(watch::read(&volume.file()), PollResult::Missing);
    let watched = Watched::new(&volume.file());
    watched.is_silent();
    volume.update(Some(b"seed: 1"));
    assert_eq!(watched.next(), text("seed: 1"));
    volume.update(Some(b"seed: [1"));
    assert_eq!(watched.next(), text("seed: [1"));
    volume.update(Some(b"seed: \xff"));
    assert_eq!(watched.next(), PollResult::Unreadable("is not UTF-8 from byte 6 on".to_owned()));
    volume.update(Some(b"seed: 2"));
    assert_eq!(watched.next(), text("seed: 2"));
    volume.update(None);
    assert_eq!(watched.next(), PollResult::Missing);
    volume.update(Some(b"seed: 2"));
    assert_eq!(watched.next(), text("seed: 2"));
    watched.is_silent();
}

#[test]
fn several_files_are_reported_separately() {
    let path = directory("several");
    let files = [path.join("a"), path.join("b")];
    let (sender, told) = mpsc::channel();
    let paths = files.iter().map(|file| (file.clone(), watch::read(file))).collect();
    let watcher = watch::spawn(paths, move |index, content| {
        sender.send((index, content)).unwrap();
        false
    })
    .unwrap();
    fs::write(&files[1], "of b").unwrap();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), (1, text("of b")));
    fs::write(&files[0], "of a").unwrap();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), (0, text("of a")));
    watcher.refresh();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), (0, text("of a")));
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), (1, text("of b")));
}

#[test]
fn a_file_written_in_place_replaced_or_deleted_is_reported() {
    let path = directory("plain");
    let file = path.join(NAME);
    fs::write(&file, "one").unwrap();
    let watched = Watched::new(&file);
    watched.is_silent();
    fs::write(&file, "two").unwrap();
    watched.until(&text("two"));
    fs::write(path.join("new"), "six").unwrap();
    fs::rename(path.join("new"), &file).unwrap();
    assert_eq!(watched.next(), text("six"));
    fs::remove_file(&file).unwrap();
    assert_eq!(watched.next(), PollResult::Missing);
    fs::create_dir(&file).unwrap();
    assert_eq!(watched.next(), PollResult::Unreadable("is a directory".to_owned()));
    fs::remove_dir(&file).unwrap();
    fs::write(path.join("new"), vec![b'#'; 2 << 20]).unwrap();
    fs::rename(path.join("new"), &file).unwrap();
    assert!(matches!(watched.until(&watch::read(&file)).last(), Some(PollResult::Unreadable(_))));
    fs::write(path.join("new"), "ten").unwrap();
    fs::rename(path.join("new"), &file).unwrap();
    assert_eq!(watched.next(), text("ten"));
    watched.is_silent();
}

#[test]
fn a_file_written_in_pieces_is_finally_read_completely() {
    use std::io::Write as _;
    let file = directory("pieces").join(NAME);
    let watched = Watched::new(&file);
    let mut writer = fs::File::create(&file).unwrap();
    for _ in 0..50 {
        // Two bytes of one character, never whole between the writes.
        writer.write_all(b"\xc3").unwrap();
        sleep(Duration::from_millis(3));
        writer.write_all(b"\xbc").unwrap();
    }
    let whole = "ü".repeat(50);
    let told = watched.until(&text(&whole));
    let part = |content: &PollResult| match content {
        PollResult::Text(text) => whole.starts_with(text),
        // If this thread slept for two polling periods.
        PollResult::Unreadable(_) => true,
        PollResult::Missing => false,
    };
    assert!(told.iter().all(part), "{told:?}");
}

#[test]
fn the_second_of_two_quick_writes_is_reported() {
    let file = directory("twice").join(NAME);
    fs::write(&file, "first 000").unwrap();
    let watched = Watched::new(&file);
    for number in 0..10 {
        fs::write(&file, format!("first {number:03}")).unwrap();
        fs::write(&file, format!("other {number:03}")).unwrap();
        watched.until(&text(&format!("other {number:03}")));
    }
    watched.is_silent();
}

#[test]
fn a_refresh_also_reports_unchanged_files() {
    let file = directory("refresh").join(NAME);
    fs::write(&file, "plan").unwrap();
    let watched = Watched::new(&file);
    watched.is_silent();
    watched.watcher.refresh();
    assert_eq!(watched.next(), text("plan"));
    watched.is_silent();
}

#[test]
fn the_thread_ends_with_the_handle() {
    let file = directory("end").join(NAME);
    let Watched { watcher, told } = Watched::new(&file);
    drop(watcher);
    // The other end is in the thread.
    assert_eq!(told.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
}

#[test]
fn a_file_without_permission_is_reported_and_read_once_permitted() {
    crate::unprivileged::run(
        "watch::a_file_without_permission_is_reported_and_read_once_permitted",
        lose_and_get_permission,
    );
}

fn lose_and_get_permission(path: &Path) {
    let file = path.join(NAME);
    fs::write(&file, "plan").unwrap();
    let watched = Watched::new(&file);
    let allow = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let refused = PollResult::Unreadable("cannot be read: Permission denied (os error 13)".to_owned());
    for (place, without, with) in [(&*file, 0o000, 0o600), (path, 0o600, 0o700)] {
        allow(place, without);
        let told = watched.told.recv_timeout(PATIENCE);
        allow(place, with);
        assert_eq!(told, Ok(refused.clone()));
        assert_eq!(watched.next(), text("plan"));
    }
}

#[test]
fn a_change_is_reported_within_100_milliseconds() {
    let mut volume = Volume::new(directory("latency"));
    volume.update(Some(b"first"));
    let watched = Watched::new(&volume.file());
    let mut latencies: Vec<_> = (0..41_u64)
        .map(|number| {
            sleep(Duration::from_millis(number * 13 % 50));
            let plan = format!("seed: {number}");
            volume.update(Some(plan.as_bytes()));
            let start = Instant::now();
            assert_eq!(watched.next(), text(&plan));
            start.elapsed()
        })
        .collect();
    latencies.sort_unstable();
    let (median, worst) = (latencies[latencies.len() / 2], latencies[latencies.len() - 1]);
    println!("median {median:?}, worst {worst:?}");
    assert!(median < Duration::from_millis(100), "median {median:?}");
    assert!(worst < Duration::from_secs(2), "worst {worst:?}");
}
