use std::fs;
use std::path::Path;

use super::*;
use crate::fault::{Client, Counts, Target};
use crate::sources::state::tests::Directory;

fn saving(path: &Path) -> Saving {
    let (dir, _, wrong) = StateDir::open(path, wall_clock());
    assert_eq!(wrong, None);
    Saving { dir, last: None, reported: Vec::new() }
}

fn after(millis: u64) -> State {
    State { elapsed: Duration::from_millis(millis), ..State::default() }
}

#[test]
fn time_alone_is_written_once_a_second() {
    let directory = Directory::new();
    let mut saving = saving(&directory.0);
    let mut written = Vec::new();
    for millis in (0..3_000).step_by(100) {
        if saving.is_due(&after(millis)) {
            assert!(saving.save(after(millis)).is_none());
            written.push(millis);
        }
    }
    assert_eq!(written, [0, 1_000, 2_000]);
}

#[test]
fn a_request_or_another_plan_is_written_at_the_next_look() {
    let directory = Directory::new();
    let mut saving = saving(&directory.0);
    assert!(saving.save(after(0)).is_none());
    let mut counts = Counts::default();
    counts.set(Target::Liveness, Client::Other, 1);
    assert!(saving.is_due(&State { counts, ..after(100) }));
    let origins = [("{}".to_owned(), crate::fault::Origin::default())].into();
    assert!(saving.is_due(&State { origins, ..after(100) }));
    assert!(!saving.is_due(&after(100)));
}

#[test]
fn each_kind_of_error_is_told_once_until_saving_works_again() {
    let directory = Directory::new();
    let mut saving = saving(&directory.0);
    let temporary = directory.0.join("state.json.tmp");
    for _ in 0..2 {
        let origins = [("#".repeat(9 << 20), crate::fault::Origin::default())].into();
        let error = saving.save(State { origins, ..after(0) }).unwrap();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        fs::create_dir(&temporary).unwrap();
        let error = saving.save(after(0)).unwrap();
        assert_eq!(error.kind(), ErrorKind::IsADirectory);
        assert!(saving.save(after(0)).is_none(), "told already");
        assert!(saving.last.is_none());
        fs::remove_dir(&temporary).unwrap();
        assert!(saving.save(after(0)).is_none());
        assert_eq!(saving.last.take(), Some(after(0)));
    }
}
