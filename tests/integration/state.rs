//! State that survives restarts of a container, also during a write.

// Helpers outside the test functions unwrap, too.
#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::sleep;
use std::time::{Duration, Instant};

use kube_probesim::clock::wall_clock;
use kube_probesim::fault::{Client, Origin, RequestCounts, Target, Timestamp};
use kube_probesim::sources::state::{self, Restored, SavedState, StateDir};
use serde_json::json;

use crate::support::tools;

/// Longer than any expected event takes on a slow, shared machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Several periods of the saving thread.
const LOOKS: Duration = Duration::from_millis(400);

/// An empty directory for the test of that name.
fn directory(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("state").join(test);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

fn counts(requests: u64) -> RequestCounts {
    let mut counts = RequestCounts::default();
    counts.set(Target::Readiness, Client::Kubelet, requests);
    counts
}

fn requests(counts: &RequestCounts) -> u64 {
    counts.get(Target::Readiness, Client::Kubelet)
}

fn present(elapsed: Duration, requests: u64) -> SavedState {
    let rule = json!({ "name": "readiness-down", "target": ["readiness"], "mode": "status", "burst": 1.1 });
    let origin = Origin { elapsed: Duration::from_millis(1), counts: counts(3), starts: 1 };
    let origins = [(rule.to_string(), origin)].into();
    SavedState { elapsed, counts: counts(requests), origins, ..SavedState::default() }
}

/// A start without errors.
fn start(path: &Path) -> (StateDir, Restored) {
    let (dir, remembered, wrong) = StateDir::open(path, wall_clock());
    assert_eq!(wrong, None);
    (dir, remembered)
}

/// Asks repeatedly, so that the answer is current.
fn wait_for(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE);
    }
}

#[test]
fn counts_origins_and_time_continue_over_ten_starts() {
    let path = directory("ten_starts");
    // The wall clock is an argument of a start, so all values are exact.
    let mut now = Timestamp(Duration::from_secs(1_800_000_000));
    let mut elapsed = Duration::ZERO;
    for number in 0..10 {
        let (mut dir, remembered, wrong) = StateDir::open(&path, now);
        assert_eq!((wrong, remembered.starts), (None, number));
        assert_eq!(requests(&remembered.counts), number * 10);
        if number > 0 {
            assert_eq!(remembered.origins, present(Duration::ZERO, 0).origins);
        }
        assert_eq!(remembered.elapsed, elapsed, "start {number}");
        // It runs for 20 s, saves its state, and is down for 3 s.
        elapsed += Duration::from_secs(20);
        now = Timestamp(now.0 + Duration::from_secs(20));
        dir.save(&present(elapsed, requests(&remembered.counts) + 10), now).unwrap();
        elapsed += Duration::from_secs(3);
        now = Timestamp(now.0 + Duration::from_secs(3));
    }
    // A wall clock that was set back does not reduce the elapsed time.
    let (_, remembered, _) = StateDir::open(&path, Timestamp(Duration::from_secs(1_700_000_000)));
    assert_eq!(remembered.elapsed, elapsed.saturating_sub(Duration::from_secs(3)));
}

/// A file system of this many bytes, unmounted when it is dropped. None where this process may not mount one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf, size: &str) -> Option<Self> {
        let options = ["-t", "tmpfs", "-o", size, "tmpfs"];
        let output = Command::new("mount").args(options).arg(&path).output().ok()?;
        output.status.success().then_some(Self(path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_reported_keeps_the_last_state_and_is_used_again_once_there_is_room() {
    let Some(disk) = SmallDisk::mount(directory("full"), "size=64k") else {
        tools::skip("no tmpfs can be mounted without root");
        return;
    };
    let (mut dir, _) = start(&disk.0);
    dir.save(&present(Duration::ZERO, 1), wall_clock()).unwrap();
    let ballast = disk.0.join("ballast");
    let mut file = fs::File::create(&ballast).unwrap();
    while std::io::Write::write_all(&mut file, &[0; 512]).is_ok() {}
    let error = dir.save(&present(Duration::ZERO, 2), wall_clock()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert!(!disk.0.join("state.json.tmp").exists(), "half a state takes up the last room");
    let (dir, remembered, wrong) = StateDir::open(&disk.0, wall_clock());
    assert_eq!(requests(&remembered.counts), 1, "the last state is still there");
    let wrong = wrong.unwrap();
    assert!(wrong.contains("cannot be written: No space left on device"), "{wrong}");
    let (sender, failed) = mpsc::channel();
    let now = || present(Duration::ZERO, 3);
    let saver = state::spawn(dir, now, move |error| sender.send(error.kind()).unwrap()).unwrap();
    assert_eq!(failed.recv_timeout(PATIENCE), Ok(std::io::ErrorKind::StorageFull));
    fs::remove_file(&ballast).unwrap();
    drop(file);
    let current = disk.0.join("state.json");
    wait_for(|| fs::read_to_string(&current).unwrap().contains(r#""counts":{"readiness":{"kubelet":3}}"#));
    saver.finish();
    assert_eq!(failed.try_recv(), Err(mpsc::TryRecvError::Disconnected), "reported once");
    assert_eq!(requests(&start(&disk.0).1.counts), 3);
}

/// Saves as often as possible until it is killed, and prints each completed save.
#[test]
#[ignore = "runs within another test"]
fn the_child_saves_until_it_is_killed() {
    let (mut dir, remembered) = start(Path::new(&std::env::var_os("DIRECTORY").unwrap()));
    println!("\nstart {} {}", remembered.starts, requests(&remembered.counts));
    let mut state = present(Duration::ZERO, requests(&remembered.counts));
    // Large, so that much of the time is spent on writing.
    state.origins = state.origins.iter().cloned().chain([("#".repeat(4 << 20), Origin::default())]).collect();
    loop {
        state.counts.increment(Target::Readiness, Client::Kubelet);
        dir.save(&state, wall_clock()).unwrap();
        println!("\nsaved {}", requests(&state.counts));
    }
}

#[test]
fn ten_kills_during_writes_lose_no_saved_state() {
    let path = directory("ten_kills");
    let temporary = path.join("state.json.tmp");
    let (mut saved, mut left) = (0, 0);
    for number in 0..10 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "state::the_child_saves_until_it_is_killed", "--ignored", "--nocapture"])
            .env("DIRECTORY", &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut lines = lines.filter(|line| line.starts_with("start ") || line.starts_with("saved "));
        let begin = lines.next().unwrap();
        let in_flight = saved + 1;
        assert!(
            [format!("start {number} {saved}"), format!("start {number} {in_flight}")].contains(&begin),
            "{begin}, {saved} had been saved"
        );
        let third = lines.nth(2).unwrap();
        wait_for(|| fs::metadata(&temporary).is_ok_and(|metadata| metadata.len() > 0));
        child.kill().unwrap();
        child.wait().unwrap();
        let last = lines.last().unwrap_or(third);
        saved = last.rsplit(' ').next().unwrap().parse().unwrap();
        left += u32::from(temporary.exists());
    }
    println!("{left} of 10 kills left a temporary file");
    assert!(left > 0, "no kill was in the middle of a write");
    let (_, remembered) = start(&path);
    assert_eq!(remembered.starts, 10);
    assert!((saved..=saved + 1).contains(&requests(&remembered.counts)));
    assert_eq!(remembered.origins[0], present(Duration::ZERO, 0).origins[0]);
    let mut names: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["state.json", "state.json.old"]);
}

#[test]
fn changes_are_saved_without_a_shutdown() {
    let path = directory("without_end");
    let (dir, _) = start(&path);
    let served = Arc::new(AtomicU64::new(0));
    let now = {
        let served = served.clone();
        move || present(Duration::ZERO, served.load(Ordering::Relaxed))
    };
    let saver = state::spawn(dir, now, |error| panic!("{error}")).unwrap();
    served.store(42, Ordering::Relaxed);
    let file = path.join("state.json");
    wait_for(|| fs::read_to_string(&file).unwrap().contains(r#""counts":{"readiness":{"kubelet":42}}"#));
    let written = || fs::metadata(&file).unwrap().modified().unwrap();
    let before = written();
    sleep(LOOKS);
    assert_eq!(written(), before, "nothing has changed, nothing was written");
    served.store(43, Ordering::Relaxed);
    saver.finish();
    assert_eq!(requests(&start(&path).1.counts), 43);
}

#[test]
fn a_saver_that_is_dropped_saves_a_last_time_and_ends() {
    let path = directory("dropped");
    let (dir, _) = start(&path);
    let (alive, ended) = mpsc::channel::<()>();
    let failed = move |error: std::io::Error| {
        let _ = &alive;
        panic!("{error}");
    };
    drop(state::spawn(dir, || present(Duration::ZERO, 5), failed).unwrap());
    assert_eq!(ended.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected));
    assert_eq!(requests(&start(&path).1.counts), 5);
}

#[test]
fn a_damaged_file_is_reported_and_the_service_starts() {
    let path = directory("damaged");
    for requests in [1, 2] {
        let (mut dir, _) = start(&path);
        dir.save(&present(Duration::ZERO, requests), wall_clock()).unwrap();
    }
    let file = path.join("state.json");
    let mut bytes = fs::read(&file).unwrap();
    bytes.truncate(bytes.len() / 2);
    fs::write(&file, &bytes).unwrap();
    let (mut dir, remembered, wrong) = StateDir::open(&path, wall_clock());
    let wrong = wrong.unwrap();
    assert!(wrong.contains("state.json is damaged: cut short; kept as state.json.damaged"), "{wrong}");
    assert_eq!((remembered.starts, requests(&remembered.counts)), (2, 1));
    assert_eq!(fs::read(path.join("state.json.damaged")).unwrap(), bytes);
    dir.save(&present(Duration::ZERO, 3), wall_clock()).unwrap();
    assert_eq!(requests(&start(&path).1.counts), 3);
}

#[test]
fn a_directory_without_permission_is_reported_and_used_once_permitted() {
    crate::unprivileged::run(
        "state::a_directory_without_permission_is_reported_and_used_once_permitted",
        |path| {
            let allow = |mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
            let (mut dir, _) = start(path);
            dir.save(&present(Duration::ZERO, 1), wall_clock()).unwrap();

            allow(0o500);
            let (dir, remembered, wrong) = StateDir::open(path, wall_clock());
            assert_eq!((remembered.starts, requests(&remembered.counts)), (1, 1), "it can still be read");
            assert!(wrong.unwrap().ends_with("cannot be written: Permission denied (os error 13)"));

            let (sender, failed) = mpsc::channel();
            let served = Arc::new(AtomicU64::new(1));
            let now = {
                let served = served.clone();
                move || present(Duration::ZERO, served.fetch_add(1, Ordering::Relaxed))
            };
            let saver = state::spawn(dir, now, move |error| sender.send(error.kind()).unwrap()).unwrap();
            assert_eq!(failed.recv_timeout(PATIENCE), Ok(std::io::ErrorKind::PermissionDenied));
            sleep(LOOKS);
            assert_eq!(failed.try_recv(), Err(mpsc::TryRecvError::Empty), "told once");
            allow(0o700);
            saver.finish();
            let (_, remembered) = start(path);
            assert_eq!(remembered.starts, 2);
            assert_eq!(requests(&remembered.counts), served.load(Ordering::Relaxed) - 1);
        },
    );
}

#[test]
fn two_containers_with_one_directory_never_fail_for_good() {
    let path = directory("two");
    let savers: Vec<_> = (0..2)
        .map(|_| {
            let (mut dir, _, _) = StateDir::open(&path, wall_clock());
            let path = path.clone();
            std::thread::spawn(move || {
                for number in 0..500 {
                    // One removes the file that the other is about to rename.
                    let _ = dir.save(&present(Duration::ZERO, number), wall_clock());
                    if number % 50 == 0 {
                        StateDir::open(&path, wall_clock());
                    }
                }
                dir
            })
        })
        .collect();
    // Both have ended before either saves alone: a save beside the other's may fail.
    let dirs: Vec<_> = savers.into_iter().map(|saver| saver.join().unwrap()).collect();
    for mut dir in dirs {
        dir.save(&present(Duration::ZERO, 7), wall_clock()).unwrap();
    }
    assert_eq!(requests(&start(&path).1.counts), 7);
}
