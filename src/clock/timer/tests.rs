//! Tests with the paused clock and with the real one.

use super::*;

/// Longer than a slow, shared machine delays a thread.
const PATIENCE: Duration = Duration::from_secs(20);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn waiting(timer: &Timer) -> usize {
    timer.0.as_ref().unwrap().waits.lock().waiting.len()
}

#[tokio::test]
async fn no_wait_ends_early_and_most_end_within_a_millisecond() {
    let timer = Timer::new();
    let mut late = Vec::new();
    for round in 0..40 {
        let waits = (0..25).map(|i| {
            let timer = timer.clone();
            tokio::spawn(async move {
                // From 0 to 10 ms, avoiding round numbers.
                let delay = Duration::from_nanos((round * 25 + i) * 9_973 % 10_000_000);
                let began = std::time::Instant::now();
                timer.sleep_until(Instant::now() + delay).await;
                (began.elapsed(), delay)
            })
        });
        for wait in waits.collect::<Vec<_>>() {
            let (took, delay) = wait.await.unwrap();
            late.push(took.checked_sub(delay).unwrap_or_else(|| panic!("{took:?} instead of {delay:?}")));
        }
    }
    late.sort();
    // The runtime's timer is late by at least half a millisecond in half of all cases.
    assert!(late[late.len() / 4] < Duration::from_micros(500), "{:?}", late[late.len() / 4]);
    assert_eq!(waiting(&timer), 0);
}

#[tokio::test]
async fn waits_end_in_the_order_of_their_deadlines_whatever_the_order_of_their_beginnings() {
    let timer = Timer::new();
    let (sender, mut ended) = tokio::sync::mpsc::unbounded_channel();
    let begin = Instant::now() + ms(20);
    for millis in [5, 1, 4, 0, 3, 2] {
        let (timer, sender) = (timer.clone(), sender.clone());
        tokio::spawn(async move {
            timer.sleep_until(begin + ms(millis)).await;
            sender.send(millis).unwrap();
        });
    }
    drop(sender);
    for millis in 0..6 {
        assert_eq!(ended.recv().await, Some(millis));
    }
}

#[tokio::test]
async fn a_wait_that_is_shorter_than_all_others_does_not_wait_for_them() {
    let timer = Timer::new();
    let long = tokio::spawn({
        let timer = timer.clone();
        async move { timer.sleep_until(Instant::now() + PATIENCE).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(waiting(&timer), 1);
    let began = Instant::now();
    timer.sleep_until(began + ms(5)).await;
    assert!(began.elapsed() < PATIENCE / 2);
    long.abort();
}

#[tokio::test]
async fn waits_that_are_given_up_leave_nothing_behind_and_do_not_hold_up_others() {
    let timer = Timer::new();
    // Far enough that none expires while a slow machine creates the others.
    let far = Instant::now() + Duration::from_secs(600);
    let given_up: Vec<_> = (0..10_000_u64)
        .map(|i| {
            let timer = timer.clone();
            tokio::spawn(async move { timer.sleep_until(far + Duration::from_micros(i)).await })
        })
        .collect();
    while waiting(&timer) < 10_000 {
        tokio::task::yield_now().await;
    }
    let until = Instant::now() + ms(100);
    let kept = tokio::spawn({
        let timer = timer.clone();
        async move { timer.sleep_until(until).await }
    });
    for wait in &given_up {
        wait.abort();
    }
    for wait in given_up {
        assert!(wait.await.unwrap_err().is_cancelled());
    }
    tokio::time::timeout(PATIENCE, kept).await.unwrap().unwrap();
    assert!(until <= Instant::now());
    assert_eq!(waiting(&timer), 0);
}

#[tokio::test]
async fn a_wait_can_be_moved_to_another_time() {
    let timer = Timer::new();
    let began = Instant::now();
    let mut sleep = timer.sleep_until(began + PATIENCE);
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut sleep).poll(cx)))
        .await
        .is_pending()
        .then_some(())
        .unwrap();
    sleep.reset(began + ms(10));
    assert_eq!((sleep.deadline(), waiting(&timer)), (began + ms(10), 0));
    sleep.await;
    assert!((ms(10)..PATIENCE / 2).contains(&began.elapsed()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_waits_on_several_threads_all_end() {
    let timer = Timer::new();
    let waits: Vec<_> = (0..10_000_u64)
        .map(|i| {
            let timer = timer.clone();
            tokio::spawn(async move {
                let until = Instant::now() + Duration::from_micros(i * 7 % 30_000);
                timer.sleep_until(until).await;
                assert!(until <= Instant::now());
            })
        })
        .collect();
    for wait in waits {
        tokio::time::timeout(PATIENCE, wait).await.unwrap().unwrap();
    }
    assert_eq!(waiting(&timer), 0);
}

#[tokio::test]
async fn the_last_handle_takes_the_timer_with_it() {
    let timer = Timer::new();
    let waits = Arc::downgrade(&timer.0.as_ref().unwrap().waits);
    drop(timer);
    while waits.strong_count() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn where_no_clock_is_to_be_had_the_runtimes_timer_serves() {
    let timer = Timer::with_clock(Err(io::ErrorKind::Unsupported.into()));
    assert!(timer.0.is_none());
    let began = Instant::now();
    let mut sleep = timer.sleep_until(began + PATIENCE);
    sleep.reset(began + 2 * PATIENCE);
    sleep.await;
    assert_eq!(began.elapsed(), 2 * PATIENCE);
}
