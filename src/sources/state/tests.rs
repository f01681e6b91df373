use std::os::unix::fs::symlink;

use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::fault::{Client, Target};

/// An empty directory that is removed after the test.
pub(super) struct Directory(
    pub(super) PathBuf,
    #[expect(dead_code, reason = "removes it when dropped")] TempDir,
);

impl Directory {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self(directory.path().to_owned(), directory)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A start at this second, which has to find nothing wrong.
    fn start(&self, second: u64) -> (StateDir, Remembered) {
        let (dir, remembered, wrong) = StateDir::open(&self.0, at(second));
        assert_eq!(wrong, None);
        (dir, remembered)
    }

    /// A start at this second, which has to find something wrong.
    fn wrong_start(&self, second: u64) -> (Remembered, String) {
        let (_, remembered, wrong) = StateDir::open(&self.0, at(second));
        (remembered, wrong.unwrap())
    }
}

/// An instant in 2026.
fn at(second: u64) -> Timestamp {
    Timestamp(Duration::from_secs(1_795_000_000 + second))
}

fn present(seconds: u64, requests: u64) -> Present {
    let mut counts = Counts::default();
    *counts.get_mut(Target::Readiness, Client::Kubelet) = requests;
    let rule = json!({ "name": "readiness-down", "target": ["readiness"], "mode": "status" });
    let origins = [(rule.to_string(), Origin { elapsed: Duration::from_secs(2), counts, starts: 1 })].into();
    Present { elapsed: Duration::from_secs(seconds), counts, origins }
}

#[test]
fn the_first_start_remembers_nothing() {
    let directory = Directory::new();
    let (_, remembered) = directory.start(0);
    assert_eq!(remembered, Remembered::default());
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
fn counts_and_origins_go_on_even_through_a_start_that_saved_nothing() {
    let directory = Directory::new();
    let (mut dir, _) = directory.start(0);
    dir.save(&present(5, 7), at(5)).unwrap();
    for starts in 1..3 {
        let (_, remembered) = directory.start(9);
        let Present { counts, origins, .. } = present(5, 7);
        assert_eq!(remembered, Remembered { starts, elapsed: Duration::from_secs(9), counts, origins });
    }
}

#[test]
fn a_clock_set_back_takes_no_time_away() {
    let directory = Directory::new();
    let (mut dir, _) = directory.start(1_000);
    dir.save(&present(500, 0), at(1_500)).unwrap();
    assert_eq!(directory.start(0).1.elapsed, Duration::from_secs(500));
    assert_eq!(directory.start(10).1.elapsed, Duration::from_secs(510), "from where it was set back to");
    assert_eq!(StateDir::open(&directory.0, Timestamp::default()).1.elapsed, Duration::from_secs(510));
}

#[test]
fn a_clock_set_forward_by_centuries_ends_at_the_bound() {
    let directory = Directory::new();
    directory.start(0);
    assert_eq!(directory.start(500 * 365 * 86_400).1.elapsed, format::MAX_ELAPSED);
    assert_eq!(directory.start(600 * 365 * 86_400).1.elapsed, format::MAX_ELAPSED);
}

#[test]
fn a_temporary_file_of_any_length_does_no_harm() {
    let directory = Directory::new();
    let (mut dir, _) = directory.start(0);
    dir.save(&present(5, 7), at(5)).unwrap();
    let whole = fs::read(directory.file(PRESENT)).unwrap();
    for (starts, length) in (0..=whole.len()).enumerate() {
        fs::write(directory.file(TEMPORARY), &whole[..length]).unwrap();
        let (_, remembered) = directory.start(5);
        assert_eq!((remembered.starts, remembered.counts), (starts as u64 + 1, present(5, 7).counts));
        assert!(!directory.file(TEMPORARY).exists());
    }
}

#[test]
fn a_damaged_file_is_kept_and_its_predecessor_used() {
    let directory = Directory::new();
    let (mut dir, _) = directory.start(0);
    dir.save(&present(5, 7), at(5)).unwrap();
    let (mut dir, _) = directory.start(6);
    dir.save(&present(8, 9), at(8)).unwrap();
    fs::write(directory.file(PRESENT), "").unwrap();
    let (remembered, wrong) = directory.wrong_start(10);
    assert_eq!(
        wrong,
        format!(
            "{} is damaged: empty; kept as state.json.damaged; its predecessor is used",
            directory.file(PRESENT).display()
        )
    );
    assert_eq!(fs::read(directory.file(DAMAGED)).unwrap(), b"");
    // What the second start saved is lost, that it has been is not.
    let Present { counts, origins, .. } = present(5, 7);
    assert_eq!(remembered, Remembered { starts: 2, elapsed: Duration::from_secs(10), counts, origins });
    assert_eq!(directory.start(11).1.starts, 3);
}

#[test]
fn without_a_predecessor_a_damaged_file_begins_anew() {
    let directory = Directory::new();
    for text in ["{}", "\0", "null", "{\"version\":2,\"checksum\":\"\"}"] {
        fs::write(directory.file(PRESENT), text).unwrap();
        let (remembered, wrong) = directory.wrong_start(0);
        assert_eq!(remembered, Remembered::default());
        assert!(wrong.ends_with("kept as state.json.damaged; begins anew"), "{wrong}");
        assert_eq!(fs::read_to_string(directory.file(DAMAGED)).unwrap(), text);
    }
    assert_eq!(directory.start(0).1.starts, 1);
}

#[test]
fn both_files_damaged_are_both_told() {
    let directory = Directory::new();
    fs::write(directory.file(PRESENT), "x").unwrap();
    fs::write(directory.file(OLD), "y").unwrap();
    let (remembered, wrong) = directory.wrong_start(0);
    assert_eq!(remembered, Remembered::default());
    assert!(
        wrong.contains("state.json.old is damaged") && wrong.contains("state.json is damaged"),
        "{wrong}"
    );
}

#[test]
fn killed_between_the_two_renames_the_old_state_is_the_last() {
    let directory = Directory::new();
    let (mut dir, _) = directory.start(0);
    dir.save(&present(5, 7), at(5)).unwrap();
    fs::rename(directory.file(PRESENT), directory.file(OLD)).unwrap();
    let (_, remembered) = directory.start(5);
    assert_eq!((remembered.starts, remembered.counts), (1, present(5, 7).counts));
}

#[test]
fn a_missing_directory_is_created_in_its_parent_alone() {
    let directory = Directory::new();
    let inner = directory.file("inner");
    assert_eq!(StateDir::open(&inner, at(0)).2, None);
    assert_eq!(StateDir::open(&inner, at(0)).1.starts, 1);
    let (mut dir, remembered, wrong) = StateDir::open(&directory.file("a").join("b"), at(0));
    assert_eq!(remembered, Remembered::default());
    assert!(wrong.unwrap().contains("cannot be created: No such file or directory"));
    assert!(dir.save(&present(1, 1), at(1)).is_err());
}

#[test]
fn anything_but_a_directory_in_its_place_is_told() {
    let directory = Directory::new();
    let file = directory.file("file");
    fs::write(&file, "").unwrap();
    let (mut dir, remembered, wrong) = StateDir::open(&file, at(0));
    assert_eq!(remembered, Remembered::default());
    assert!(wrong.unwrap().contains("cannot be created: File exists"));
    assert!(dir.save(&present(1, 1), at(1)).is_err());
}

#[test]
fn anything_but_a_file_in_the_place_of_the_state_is_told() {
    let directory = Directory::new();
    fs::create_dir(directory.file(PRESENT)).unwrap();
    let (remembered, wrong) = directory.wrong_start(0);
    assert_eq!(remembered, Remembered::default());
    assert!(wrong.contains("cannot be read: it is not a regular file; kept as"), "{wrong}");
    assert_eq!(directory.start(0).1.starts, 1);
    fs::remove_dir(directory.file(DAMAGED)).unwrap();
    fs::remove_file(directory.file(PRESENT)).unwrap();
    symlink("/dev/zero", directory.file(PRESENT)).unwrap();
    assert!(directory.wrong_start(0).1.contains("it is not a regular file"));
}

#[test]
fn a_full_disk_is_told_and_leaves_the_last_state_alone() {
    let directory = Directory::new();
    let (mut dir, _) = directory.start(0);
    dir.save(&present(5, 7), at(5)).unwrap();
    // What is written to this device never fits.
    symlink("/dev/full", directory.file(TEMPORARY)).unwrap();
    let error = dir.save(&present(6, 8), at(6)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    symlink("/dev/full", directory.file(TEMPORARY)).unwrap();
    let (remembered, wrong) = directory.wrong_start(7);
    assert_eq!((remembered.starts, remembered.counts), (1, present(5, 7).counts));
    assert!(wrong.ends_with("cannot be written: No space left on device (os error 28)"), "{wrong}");
    let (_, remembered) = directory.start(8);
    assert_eq!(remembered.counts, present(5, 7).counts);
}

#[test]
fn of_two_containers_over_one_directory_the_last_wins() {
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
    fn whatever_is_in_the_files_a_start_succeeds(
        present in any::<Vec<u8>>(), old in any::<Vec<u8>>(), temporary in any::<Vec<u8>>(),
    ) {
        let directory = Directory::new();
        for (name, bytes) in [(PRESENT, present), (OLD, old), (TEMPORARY, temporary)] {
            fs::write(directory.file(name), bytes).unwrap();
        }
        let (remembered, wrong) = directory.wrong_start(0);
        prop_assert_eq!(remembered, Remembered::default());
        prop_assert!(wrong.ends_with("begins anew"), "{}", wrong);
        prop_assert_eq!(directory.start(1).1.starts, 1);
    }
}
