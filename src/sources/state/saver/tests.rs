use std::fs;
use std::path::Path;

use super::*;
use crate::fault::{Client, RequestCounts, Target};
use crate::sources::state::tests::Directory;

fn saving(path: &Path) -> Saving {
    let (dir, _, wrong) = StateDir::open(path, wall_clock());
    assert_eq!(wrong, None);
    Saving { dir, last: None, reported: Vec::new() }
}

fn after(millis: u64) -> SavedState {
    SavedState { elapsed: Duration::from_millis(millis), ..SavedState::default() }
}

#[test]
fn passing_time_is_saved_once_a_second() {
    let directory = Directory::new();
    let mut saving = saving(&directory.0);
    let mut written = Vec::new();
    for millis in (0..3_000).step_by(100) {
        if saving.is_due(&after(millis)) {
            saving.save(after(millis)).unwrap();
            written.push(millis);
        }
    }
    assert_eq!(written, [0, 1_000, 2_000]);
}

#[test]
fn a_request_or_a_new_plan_is_saved_at_the_next_check() {
    let directory = Directory::new();
    let mut saving = saving(&directory.0);
    saving.save(after(0)).unwrap();
    let mut counts = RequestCounts::default();
    counts.set(Target::Liveness, Client::Other, 1);
    assert!(saving.is_due(&SavedState { counts, ..after(100) }));
    let origins = [("{}".to_owned(), crate::fault::Origin::default())].into();
    assert!(saving.is_due(&SavedState { origins, ..after(100) }));
    assert!(!saving.is_due(&after(100)));
}

#[test]
fn each_kind_of_error_is_reported_once_until_saving_works_again() {
    let directory = Directory::new();
    let mut saving = saving(&directory.0);
    let temporary = directory.0.join("state.json.tmp");
    for _ in 0..2 {
        let origins = [("#".repeat(9 << 20), crate::fault::Origin::default())].into();
        let error = saving.save(SavedState { origins, ..after(0) }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        assert!(saving.is_new(&error));
        fs::create_dir(&temporary).unwrap();
        let error = saving.save(after(0)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IsADirectory);
        assert!(saving.is_new(&error) && !saving.is_new(&error));
        assert!(saving.last.is_none());
        fs::remove_dir(&temporary).unwrap();
        saving.save(after(0)).unwrap();
        assert_eq!(saving.last.take(), Some(after(0)));
    }
}

#[tokio::test]
async fn a_requested_save_returns_when_the_state_is_on_disk_or_with_an_error() {
    let directory = Directory::new();
    let (dir, _, _) = StateDir::open(&directory.0, wall_clock());
    let stop = Arc::new(std::sync::atomic::AtomicU64::new(1));
    let state = {
        let stop = stop.clone();
        move || after(stop.load(std::sync::atomic::Ordering::SeqCst))
    };
    let saver = spawn(dir, state, |_| {}).unwrap();
    let requests = saver.requests();
    for millis in 2..20 {
        stop.store(millis, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(requests.save().await, Ok(()));
        let text = fs::read_to_string(directory.0.join("state.json")).unwrap();
        assert!(text.contains(&format!("\"elapsed_ns\":{millis}000000,")), "{millis}: {text}");
    }
    fs::create_dir(directory.0.join("state.json.tmp")).unwrap();
    let error = requests.save().await.unwrap_err();
    assert!(error.to_string().starts_with("the state cannot be written: "), "{error}");
    saver.finish();
    assert_eq!(requests.save().await, Err(SaveError::Ended));
}
