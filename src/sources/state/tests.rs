use std::os::unix::fs::symlink;

use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::fault::{Client, Target};

/// An empty directory that is removed after the test.
pub(in crate::sources) struct Directory(
    pub(in crate::sources) PathBuf,
    #[expect(dead_code, reason = "removes it when dropped")] TempDir,
);

impl Directory {
    pub(in crate::sources) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self(directory.path().to_owned(), directory)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A start at this second, without problems.
    fn start(&self, second: u64) -> (StateDir, Restored) {
        let (dir, remembered, wrong) = StateDir::open(&self.0, at(second));
        assert_eq!(wrong, None);
        (dir, remembered)
    }

    /// A start at this second, with problems.
    fn wrong_start(&self, second: u64) -> (Restored, String) {
        let (_, remembered, wrong) = StateDir::open(&self.0, at(second));
        (remembered, wrong.unwrap())
    }
}

/// An instant in 2026.
fn at(second: u64) -> Timestamp {
    Timestamp(Duration::from_secs(1_795_000_000 + second))
}

fn present(seconds: u64, requests: u64) -> SavedState {
    let mut counts = RequestCounts::default();
    counts.set(Target::Readiness, Client::Kubelet, requests);
    let rule = json!({ "name": "readiness-down", "target": ["readiness"], "mode": "status" });
    let origins =
        [(rule.to_string(), Origin { elapsed: Duration::from_secs(2), counts: counts.clone(), starts: 1 })]
            .into();
    SavedState { elapsed: Duration::from_secs(seconds), counts, origins, ..Default::default() }
}

#[test]
fn the_first_start_has_no_state() {
    let directory = Directory::new();
    let (_, remembered) = directory.start(0);
    assert_eq!(remembered, Restored::default());
}

#[test]
fn a_start_counts_even_if_nothing_was_saved() {
    let directory = Directory::new();
    for number in 0..4 {
        let (_, remembered) = directory.start(number * 10);
        assert_eq!((remembered.starts, remembered.elapsed), (number, Duration::from_secs(number * 10)));
    }
}

#[test]
fn counts_and_origins_survive_a_start_that_saved_nothing() {
    let directory = Directory::new();
    let (mut dir, _) = directory.start(0);
    dir.save(&present(5, 7), at(5)).unwrap();
    for starts in 1..3 {
        let (_, remembered) = directory.start(9);
        let SavedState { counts, origins, .. } = present(5, 7);
        let elapsed = Duration::from_secs(9);
        assert_eq!(remembered, Restored { starts, elapsed, counts, origins, ..Default::default() });
    }
}

#[test]
fn setting_the_clock_back_loses_no_elapsed_time() {
    let directory = Directory::new();
    let (mut dir, _) = directory.start(1_000);
    dir.save(&present(500, 0), at(1_500)).unwrap();
    assert_eq!(directory.start(0).1.elapsed, Duration::from_secs(500));
    assert_eq!(directory.start(10).1.elapsed, Duration::from_secs(510), "from where it was set back to");
    assert_eq!(StateDir::open(&directory.0, Timestamp::default()).1.elapsed, Duration::from_secs(510));
}

#[test]
fn a_clock_set_forward_by_centuries_is_clamped() {
    let directory = Directory::new();
    directory.start(0);
    assert_eq!(directory.start(500 * 365 * 86_400).1.elapsed, format::MAX_ELAPSED);
    assert_eq!(directory.start(600 * 365 * 86_400).1.elapsed, format::MAX_ELAPSED);
}

#[test]
fn leftover_temporary_files_are_harmless() {
    let directory = Directory::new();
    let (mut dir, _) = directory.start(0);
    dir.save(&present(5, 7), at(5)).unwrap();
    let whole = fs::read(directory.file(CURRENT)).unwrap();
    for (starts, length) in (0..=whole.len()).enumerate() {
        fs::write(directory.file(TEMPORARY), &whole[..length]).unwrap();
        let (_, remembered) = directory.start(5);
        assert_eq!((remembered.starts, remembered.counts), (starts as u64 + 1, present(5, 7).counts));
        assert!(!directory.file(TEMPORARY).exists());
    }
}

#[test]
fn an_invalid_state_with_a_correct_checksum_is_not_counted_as_a_start() {
    let directory = Directory::new();
    let nonsense = r#"{"starts":7,"saved_ns":0,"elapsed_ns":0,"counts":[]}"#;
    let checksum = crate::fault::fnv1a(nonsense.as_bytes());
    let text = format!("{{\"version\":1,\"checksum\":\"{checksum:016x}\",\"state\":{nonsense}}}\n");
    fs::write(directory.file(CURRENT), text).unwrap();
    let (remembered, wrong) = directory.wrong_start(0);
    assert!(wrong.contains("is damaged: invalid type") && wrong.ends_with("starts over"), "{wrong}");
    assert_eq!(remembered, Restored::default());
    assert_eq!(directory.start(1).1.starts, 1);
}

#[test]
fn a_damaged_file_is_kept_and_the_previous_one_used() {
    let directory = Directory::new();
    let (mut dir, _) = directory.start(0);
    dir.save(&present(5, 7), at(5)).unwrap();
    let (mut dir, _) = directory.start(6);
    dir.save(&present(8, 9), at(8)).unwrap();
    fs::write(directory.file(CURRENT), "").unwrap();
    let (remembered, wrong) = directory.wrong_start(10);
    assert_eq!(
        wrong,
        format!(
            "{} is damaged: empty; kept as state.json.damaged; the previous state is used",
            directory.file(CURRENT).display()
        )
    );
    assert_eq!(fs::read(directory.file(DAMAGED)).unwrap(), b"");
    // The second start's saves are lost, but it still counts as a start.
    let SavedState { counts, origins, .. } = present(5, 7);
    assert_eq!(
        remembered,
        Restored { starts: 2, elapsed: Duration::from_secs(10), counts, origins, ..Default::default() }
    );
    assert_eq!(directory.start(11).1.starts, 3);
}

#[test]
fn without_a_previous_file_a_damaged_one_starts_over() {
    let directory = Directory::new();
    for text in ["{}", "\0", "null", "{\"version\":2,\"checksum\":\"\"}"] {
        fs::write(directory.file(CURRENT), text).unwrap();
        let (remembered, wrong) = directory.wrong_start(0);
        assert_eq!(remembered, Restored::default());
        assert!(wrong.ends_with("kept as state.json.damaged; starts over"), "{wrong}");
        assert_eq!(fs::read_to_string(directory.file(DAMAGED)).unwrap(), text);
    }
    assert_eq!(directory.start(0).1.starts, 1);
}

#[test]
fn two_damaged_files_are_both_reported() {
    let directory = Directory::new();
    fs::write(directory.file(CURRENT), "x").unwrap();
    fs::write(directory.file(OLD), "y").unwrap();
    let (remembered, wrong) = directory.wrong_start(0);
    assert_eq!(remembered, Restored::default());
    assert!(
        wrong.contains("state.json.old is damaged") && wrong.contains("state.json is damaged"),
        "{wrong}"
    );
}

#[test]
fn an_old_state_without_a_current_one_is_used() {
    let directory = Directory::new();
    let (mut dir, _) = directory.start(0);
    dir.save(&present(5, 7), at(5)).unwrap();
    fs::rename(directory.file(CURRENT), directory.file(OLD)).unwrap();
    let (_, remembered) = directory.start(5);
    assert_eq!((remembered.starts, remembered.counts), (1, present(5, 7).counts));
}

#[test]
fn the_current_state_stays_until_the_next_one_is_complete() {
    let directory = Directory::new();
    let (mut dir, _) = directory.start(0);
    dir.save(&present(5, 7), at(5)).unwrap();
    // Nothing can be written, as if the start had been killed before its own state was complete.
    fs::create_dir(directory.file(TEMPORARY)).unwrap();
    directory.wrong_start(6);
    assert!(directory.file(CURRENT).exists());
}

#[test]
fn a_missing_directory_is_created_only_if_its_parent_exists() {
    let directory = Directory::new();
    let inner = directory.file("inner");
    assert_eq!(StateDir::open(&inner, at(0)).2, None);
    assert_eq!(StateDir::open(&inner, at(0)).1.starts, 1);
    let (mut dir, remembered, wrong) = StateDir::open(&directory.file("a").join("b"), at(0));
    assert_eq!(remembered, Restored::default());
    assert!(wrong.unwrap().contains("cannot be created: No such file or directory"));
    assert!(dir.save(&present(1, 1), at(1)).is_err());
}

#[test]
fn a_path_that_is_no_directory_is_reported() {
    let directory = Directory::new();
    let file = directory.file("file");
    fs::write(&file, "").unwrap();
    let (mut dir, remembered, wrong) = StateDir::open(&file, at(0));
    assert_eq!(remembered, Restored::default());
    assert!(wrong.unwrap().contains("cannot be created: not a directory"));
    assert!(dir.save(&present(1, 1), at(1)).is_err());
}

#[test]
fn a_state_path_that_is_no_file_is_reported() {
    let directory = Directory::new();
    fs::create_dir(directory.file(CURRENT)).unwrap();
    let (remembered, wrong) = directory.wrong_start(0);
    assert_eq!(remembered, Restored::default());
    assert!(wrong.contains("is a directory; kept as"), "{wrong}");
    assert_eq!(directory.start(0).1.starts, 1);
    fs::remove_dir(directory.file(DAMAGED)).unwrap();
    fs::remove_file(directory.file(CURRENT)).unwrap();
    symlink("/dev/zero", directory.file(CURRENT)).unwrap();
    assert!(directory.wrong_start(0).1.contains("is not a regular file"));
}

#[test]
fn a_write_error_is_reported_and_keeps_the_last_state() {
    let directory = Directory::new();
    let (mut dir, _) = directory.start(0);
    dir.save(&present(5, 7), at(5)).unwrap();
    let origins = [("#".repeat(MAX_STATE), Origin::default())].into();
    let large = SavedState { origins, ..present(6, 8) };
    assert_eq!(dir.save(&large, at(6)).unwrap_err().kind(), ErrorKind::FileTooLarge);
    // A directory at the temporary path can be neither written nor removed.
    fs::create_dir(directory.file(TEMPORARY)).unwrap();
    assert!(dir.save(&present(6, 8), at(6)).is_err());
    let (remembered, wrong) = directory.wrong_start(7);
    assert_eq!((remembered.starts, remembered.counts), (1, present(5, 7).counts));
    assert!(wrong.contains("cannot be written: "), "{wrong}");
    fs::remove_dir(directory.file(TEMPORARY)).unwrap();
    assert_eq!(directory.start(8).1.counts, present(5, 7).counts);
}

#[test]
fn a_fifo_or_link_at_the_temporary_path_is_replaced_and_not_followed() {
    let directory = Directory::new();
    let (mut dir, _) = directory.start(0);
    fs::write(directory.file("other"), "untouched").unwrap();
    for number in 1..4 {
        let temporary = directory.file(TEMPORARY);
        match number {
            1 => symlink(directory.file("other"), temporary).unwrap(),
            2 => symlink("/dev/full", temporary).unwrap(),
            _ => {
                use rustix::fs::{CWD, FileType, Mode, mknodat};
                mknodat(CWD, temporary, FileType::Fifo, Mode::RWXU, 0).unwrap();
            }
        }
        dir.save(&present(5, number), at(5)).unwrap();
    }
    assert_eq!(fs::read_to_string(directory.file("other")).unwrap(), "untouched");
    assert_eq!(directory.start(6).1.counts, present(5, 3).counts);
}

#[test]
fn the_clock_neither_stops_nor_doubles_over_many_starts() {
    let directory = Directory::new();
    for number in 0..20 {
        let (mut dir, remembered) = directory.start(number * 10);
        assert_eq!(remembered.elapsed, Duration::from_secs(number * 10));
        // Each start saves once, after 4 s.
        let elapsed = remembered.elapsed + Duration::from_secs(4);
        dir.save(&SavedState { elapsed, ..present(0, 0) }, at(number * 10 + 4)).unwrap();
    }
}

#[test]
fn a_stop_outlives_starts_until_it_is_saved_without_one() {
    let directory = Directory::new();
    let (mut dir, _) = directory.start(0);
    let stop = Stop { source: crate::plan::Source::Api, by: "api 127.0.0.1:5".to_owned(), since: at(3) };
    dir.save(&SavedState { stop: Some(stop.clone()), ..present(5, 7) }, at(5)).unwrap();
    assert_eq!(directory.start(6).1.stop, Some(stop.clone()));
    let (mut dir, remembered) = directory.start(7);
    assert_eq!(remembered.stop, Some(stop));
    dir.save(&present(8, 7), at(8)).unwrap();
    assert_eq!(directory.start(9).1.stop, None);
}

#[test]
fn of_two_containers_sharing_a_directory_the_last_writer_wins() {
    let directory = Directory::new();
    let (mut one, _) = directory.start(0);
    let (mut other, _) = directory.start(0);
    for second in 0..10 {
        one.save(&present(second, 1), at(second)).unwrap();
        other.save(&present(second, 2), at(second)).unwrap();
    }
    assert_eq!(directory.start(10).1.counts, present(0, 2).counts);
}

proptest! {
    #[test]
    fn a_start_succeeds_whatever_the_files_contain(
        present in any::<Vec<u8>>(), old in any::<Vec<u8>>(), temporary in any::<Vec<u8>>(),
    ) {
        let directory = Directory::new();
        for (name, bytes) in [(CURRENT, present), (OLD, old), (TEMPORARY, temporary)] {
            fs::write(directory.file(name), bytes).unwrap();
        }
        let (remembered, wrong) = directory.wrong_start(0);
        prop_assert_eq!(remembered, Restored::default());
        prop_assert!(wrong.ends_with("starts over"), "{}", wrong);
        prop_assert_eq!(directory.start(1).1.starts, 1);
    }
}
