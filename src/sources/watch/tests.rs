use std::fs;
use std::os::unix::fs::symlink;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use super::*;

/// An empty directory that is removed after the test.
struct Directory(PathBuf, #[expect(dead_code, reason = "removes it when dropped")] TempDir);

impl Directory {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self(directory.path().to_owned(), directory)
    }

    fn file(&self) -> PathBuf {
        self.0.join("plan.yaml")
    }
}

/// A file polled every 50 ms on its own clock.
struct Polls {
    file: WatchedFile,
    start: Instant,
    count: u32,
}

impl Polls {
    fn at(path: &Path) -> Self {
        Self { file: WatchedFile::new(path.to_owned(), read(path)), start: Instant::now(), count: 0 }
    }

    fn now(&mut self) -> Instant {
        self.count += 1;
        self.start + POLL_INTERVAL * self.count
    }

    fn poll(&mut self) -> Option<PollResult> {
        let now = self.now();
        self.file.poll(now)
    }

    fn settle(&mut self) {
        while !self.file.settled {
            assert_eq!(self.poll(), None);
        }
    }
}

fn text(text: &str) -> PollResult {
    PollResult::Text(text.to_owned())
}

#[test]
fn a_change_is_reported_once_at_the_next_poll() {
    let directory = Directory::new();
    fs::write(directory.file(), "a").unwrap();
    let mut polls = Polls::at(&directory.file());
    assert_eq!(polls.poll(), None);
    fs::write(directory.file(), "bb").unwrap();
    assert_eq!(polls.poll(), Some(text("bb")));
    assert_eq!(polls.poll(), None);
}

#[test]
fn a_change_between_the_initial_read_and_the_first_poll_is_reported() {
    let directory = Directory::new();
    fs::write(directory.file(), "a").unwrap();
    let mut polls = Polls::at(&directory.file());
    fs::write(directory.file(), "b").unwrap();
    assert_eq!(polls.poll(), Some(text("b")));
}

#[test]
fn rewriting_the_same_content_is_no_change() {
    let directory = Directory::new();
    fs::write(directory.file(), "a").unwrap();
    let mut polls = Polls::at(&directory.file());
    polls.settle();
    fs::write(directory.file(), "a").unwrap();
    polls.settle();
}

#[test]
fn a_second_write_that_stat_does_not_show_is_found_within_two_seconds() {
    let directory = Directory::new();
    fs::write(directory.file(), "a").unwrap();
    let frozen = FileStamp::of(&directory.file());
    let mut polls = Polls::at(&directory.file());
    for _ in 0..(Duration::from_secs(2).as_millis() / POLL_INTERVAL.as_millis()) {
        let now = polls.now();
        assert_eq!(polls.file.poll_with(|_| frozen, now), None);
    }
    fs::write(directory.file(), "b").unwrap();
    let now = polls.now();
    assert_eq!(polls.file.poll_with(|_| frozen, now), Some(text("b")));
}

#[test]
fn a_file_that_has_not_changed_for_three_seconds_is_not_read() {
    let directory = Directory::new();
    fs::write(directory.file(), "a").unwrap();
    let frozen = FileStamp::of(&directory.file());
    let mut polls = Polls::at(&directory.file());
    for _ in 0..(Duration::from_secs(3).as_millis() / POLL_INTERVAL.as_millis()) {
        let now = polls.now();
        assert_eq!(polls.file.poll_with(|_| frozen, now), None);
    }
    fs::write(directory.file(), "b").unwrap();
    let now = polls.now();
    assert_eq!(polls.file.poll_with(|_| frozen, now), None);
    assert_eq!(polls.poll(), Some(text("b")), "once stat shows the change, it is read");
}

#[test]
fn a_file_that_is_swapped_after_stat_is_checked_as_it_was_opened() {
    let directory = Directory::new();
    for (kind, reason) in [
        ("fifo", "is not a regular file"),
        ("device", "is not a regular file"),
        ("directory", "is a directory"),
    ] {
        let path = directory.0.join(kind);
        fs::write(&path, "a").unwrap();
        let mut polls = Polls::at(&path);
        let swap = |path: &Path| {
            let stamp = FileStamp::of(path).map(|stamp| FileStamp { size: 99, ..stamp });
            if path.is_file() {
                fs::remove_file(path).unwrap();
                match kind {
                    "fifo" => mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap(),
                    "device" => symlink("/dev/zero", path).unwrap(),
                    _ => fs::create_dir(path).unwrap(),
                }
            }
            stamp
        };
        let now = polls.now();
        assert_eq!(polls.file.poll_with(swap, now), None, "{kind}: it may be in the middle of a change");
        assert_eq!(polls.poll(), Some(PollResult::Unreadable(reason.to_owned())), "{kind}");
    }
}

#[test]
fn content_read_during_a_write_waits_for_the_next_poll() {
    let directory = Directory::new();
    fs::write(directory.file(), "a").unwrap();
    let mut polls = Polls::at(&directory.file());
    polls.settle();
    fs::write(directory.file(), "").unwrap();
    let calls = std::cell::Cell::new(0);
    let stamp_of = |path: &Path| {
        // The writer continues between the read and the second `stat`.
        if calls.replace(calls.get() + 1) == 1 {
            fs::write(path, "the whole of it").unwrap();
        }
        FileStamp::of(path)
    };
    let now = polls.now();
    assert_eq!(polls.file.poll_with(stamp_of, now), None);
    assert_eq!(polls.poll(), Some(text("the whole of it")));
}

#[test]
fn a_missing_file_is_reported_at_the_second_poll() {
    let directory = Directory::new();
    fs::write(directory.file(), "a").unwrap();
    let mut polls = Polls::at(&directory.file());
    polls.settle();
    fs::remove_file(directory.file()).unwrap();
    assert_eq!(polls.poll(), None);
    assert_eq!(polls.poll(), Some(PollResult::Missing));
    assert_eq!(polls.poll(), None);
}

#[test]
fn a_file_that_is_back_at_the_second_poll_is_not_reported() {
    let directory = Directory::new();
    fs::write(directory.file(), "a").unwrap();
    let mut polls = Polls::at(&directory.file());
    for _ in 0..3 {
        fs::remove_file(directory.file()).unwrap();
        assert_eq!(polls.poll(), None);
        fs::write(directory.file(), "a").unwrap();
        assert_eq!(polls.poll(), None);
    }
    fs::remove_file(directory.file()).unwrap();
    assert_eq!(polls.poll(), None);
    fs::write(directory.file(), "b").unwrap();
    assert_eq!(polls.poll(), Some(text("b")));
}

#[test]
fn half_a_character_at_the_end_is_not_reported_if_the_rest_follows() {
    let directory = Directory::new();
    fs::write(directory.file(), "a").unwrap();
    let mut polls = Polls::at(&directory.file());
    fs::write(directory.file(), b"gr\xc3").unwrap();
    assert_eq!(polls.poll(), None);
    fs::write(directory.file(), b"gr\xc3\xbcn\xc3").unwrap();
    assert_eq!(polls.poll(), None);
    fs::write(directory.file(), "grünü").unwrap();
    assert_eq!(polls.poll(), Some(text("grünü")));
}

#[test]
fn each_kind_of_unreadable_file_has_its_reason() {
    let directory = Directory::new();
    let reason = || match read(&directory.file()) {
        PollResult::Unreadable(reason) => reason,
        other => panic!("{other:?}"),
    };
    fs::write(directory.file(), b"gr\xfcn").unwrap();
    assert_eq!(reason(), "is not UTF-8 from byte 2 on");
    fs::write(directory.file(), vec![b'#'; 2 << 20]).unwrap();
    assert_eq!(reason(), "is larger than the 1048576 bytes allowed");
    fs::remove_file(directory.file()).unwrap();
    fs::create_dir(directory.file()).unwrap();
    assert_eq!(reason(), "is a directory");
    fs::remove_dir(directory.file()).unwrap();
    symlink("plan.yaml", directory.file()).unwrap();
    assert!(reason().contains("symbolic link"), "{}", reason());
    fs::remove_file(directory.file()).unwrap();
    symlink("/dev/null", directory.file()).unwrap();
    assert_eq!(reason(), "is not a regular file");
}

#[test]
fn the_largest_plan_is_read_completely() {
    let directory = Directory::new();
    let largest = "#".repeat(MAX_PLAN);
    fs::write(directory.file(), &largest).unwrap();
    assert_eq!(read(&directory.file()), PollResult::Text(largest));
}

#[test]
fn a_link_to_nothing_and_an_absent_directory_are_missing() {
    let directory = Directory::new();
    assert_eq!(read(&directory.0.join("absent").join("plan.yaml")), PollResult::Missing);
    symlink("nowhere", directory.file()).unwrap();
    assert_eq!(read(&directory.file()), PollResult::Missing);
}

#[test]
fn a_refresh_reports_unchanged_files() {
    let directory = Directory::new();
    fs::write(directory.file(), "a").unwrap();
    let mut polls = Polls::at(&directory.file());
    polls.settle();
    polls.file.refresh();
    assert_eq!(polls.poll(), Some(text("a")));
    assert_eq!(polls.poll(), None);
    fs::remove_file(directory.file()).unwrap();
    polls.file.refresh();
    assert_eq!(polls.poll(), None);
    assert_eq!(polls.poll(), Some(PollResult::Missing));
}

#[test]
fn without_paths_there_is_no_thread() {
    let (sender, receiver) = mpsc::channel::<()>();
    let watcher = spawn(Vec::new(), move |_, _| sender.send(()).is_err()).unwrap();
    // A thread would own the sender.
    assert_eq!(receiver.recv(), Err(mpsc::RecvError));
    watcher.refresh();
}

#[test]
fn the_deepest_document_needs_at_most_half_the_stack() {
    let depth = 64;
    let deepest = "[".repeat(depth) + &"]".repeat(depth);
    let read = move || {
        let value = crate::plan::document::parse(&deepest, MAX_PLAN).unwrap();
        let text = value.to_string();
        value.clone() == value && text == deepest
    };
    let thread = thread::Builder::new().stack_size(STACK / 2).spawn(read).unwrap();
    assert!(thread.join().unwrap());
}

#[test]
fn a_change_of_content_that_is_not_text_is_reported() {
    let directory = Directory::new();
    fs::write(directory.file(), [0xff; 10]).unwrap();
    let mut polls = Polls::at(&directory.file());
    let unreadable = Some(read(&directory.file()));
    assert_eq!([polls.poll(), polls.poll(), polls.poll()], [const { None }; 3]);
    for size in [20, 30] {
        fs::write(directory.file(), vec![0xff; size]).unwrap();
        assert_eq!([polls.poll(), polls.poll(), polls.poll()], [None, unreadable.clone(), None]);
    }
}
