use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use super::*;

fn counts() -> impl Strategy<Value = RequestCounts> {
    vec(prop_oneof![Just(0), 0..=MAX_COUNT], Target::COUNT * Client::COUNT).prop_map(|numbers| {
        let mut counts = RequestCounts::default();
        for (position, number) in numbers.into_iter().enumerate() {
            let (target, client) = (position / Client::COUNT, position % Client::COUNT);
            counts.set(Target::ALL[target], Client::ALL[client], number);
        }
        counts
    })
}

fn elapsed() -> impl Strategy<Value = Duration> {
    (0..=MAX_ELAPSED.as_nanos() as u64).prop_map(Duration::from_nanos)
}

fn rule() -> impl Strategy<Value = String> {
    any::<String>().prop_map(|name| json!({ "name": name, "when": { "after": "1m" } }).to_string())
}

fn present() -> impl Strategy<Value = SavedState> {
    let origin = (elapsed(), counts(), 0..=MAX_COUNT).prop_map(|(elapsed, counts, starts)| Origin {
        elapsed,
        counts,
        starts,
    });
    (elapsed(), counts(), vec((rule(), origin), 0..4)).prop_map(|(elapsed, counts, origins)| SavedState {
        elapsed,
        counts,
        origins: origins.into(),
        ..SavedState::default()
    })
}

fn instant() -> impl Strategy<Value = Timestamp> {
    elapsed().prop_map(Timestamp)
}

/// An example state with numbers and a rule.
fn example() -> String {
    let mut counts = RequestCounts::default();
    counts.set(Target::Readiness, Client::Kubelet, 7);
    let rule = json!({ "name": "readiness-down", "target": ["readiness"], "mode": "status" });
    let origins =
        [(rule.to_string(), Origin { elapsed: Duration::from_secs(60), counts: counts.clone(), starts: 2 })]
            .into();
    let present = SavedState { elapsed: Duration::from_secs(90), counts, origins, ..SavedState::default() };
    encode(3, Timestamp(Duration::from_secs(1_800_000_000)), &present).unwrap()
}

#[test]
fn counts_of_a_proxy_are_restored_by_name_whatever_its_slot() {
    let name = |text| ProxyName::new(text).unwrap();
    let table =
        Proxies::default().with(&[name("stock")]).unwrap().with(&[name("stock"), name("db")]).unwrap();
    let slot = |table: &Proxies, text| table.slot_of_known(&name(text)).unwrap();
    let mut counts = RequestCounts::default();
    counts.set(TargetId::Proxy(slot(&table, "stock")), Client::Other, 7);
    counts.set(TargetId::Proxy(slot(&table, "db")), Client::Kubelet, 3);
    let origins = [("{}".to_owned(), Origin { counts: counts.clone(), ..Origin::default() })].into();
    let present = SavedState { counts, origins, proxies: table.clone(), ..SavedState::default() };
    let text = encode(1, Timestamp(Duration::from_secs(1)), &present).unwrap();
    let StateRecord { state, .. } = decode(text.as_bytes()).unwrap();
    assert_ne!(slot(&state.proxies, "stock"), slot(&table, "stock"), "sorted by name now");
    for counts in [&state.counts, &state.origins[0].1.counts] {
        assert_eq!(counts.get(TargetId::Proxy(slot(&state.proxies, "stock")), Client::Other), 7);
        assert_eq!(counts.get(TargetId::Proxy(slot(&state.proxies, "db")), Client::Kubelet), 3);
        assert_eq!(counts.total(Client::Other), 7);
    }
    assert_eq!(state.proxies.present().count(), 0, "a source has to define them first");
}

#[test]
fn match_counts_are_kept_and_older_states_have_none() {
    let mut matched = RequestCounts::default();
    matched.set(Target::Traffic, Client::Other, 9);
    let origins = [("{}".to_owned(), Origin::default()), ("{1}".to_owned(), Origin::default())].into();
    let present =
        SavedState { origins, matched: vec![RequestCounts::default(), matched], ..SavedState::default() };
    let text = encode(1, Timestamp(Duration::from_secs(1)), &present).unwrap();
    assert_eq!(decode(text.as_bytes()).unwrap().state, present);
    assert_eq!(text.matches("matched").count(), 1, "rules without a match write nothing: {text}");
    assert_eq!(decode(example().as_bytes()).unwrap().state.matched, []);
}

/// `state` with its correct checksum.
fn sealed(state: &Value) -> String {
    let state = state.to_string();
    format!("{}{:016x}{BEFORE_STATE}{state}{END}", start(VERSION), checksum(state.as_bytes()))
}

#[test]
fn the_format_is_one_line_of_json_with_a_version() {
    let text = example();
    let state = r#"{"starts":3,"saved_ns":1800000000000000000,"elapsed_ns":90000000000,"counts":{"readiness":{"kubelet":7}},"origins":[{"rule":"{\"name\":\"readiness-down\",\"target\":[\"readiness\"],\"mode\":\"status\"}","elapsed_ns":60000000000,"counts":{"readiness":{"kubelet":7}},"starts":2}]}"#;
    let checksum = &text[start(VERSION).len()..][..DIGITS];
    assert_eq!(
        text,
        format!("{{\"version\":1,\"checksum\":\"{checksum}\",\"state\":{state}}}\n"),
        "a format change needs a new version"
    );
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["state"]["starts"], 3);
}

#[test]
fn the_checksum_is_fnv_1a() {
    // Test vectors of the FNV authors.
    assert_eq!(checksum(b""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(checksum(b"a"), 0xaf63_dc4c_8601_ec8c);
    assert_eq!(checksum(b"foobar"), 0x8594_4171_f739_67e8);
}

#[test]
fn a_truncated_file_is_damaged() {
    let text = example();
    for length in 0..text.len() {
        let error = decode(&text.as_bytes()[..length]).unwrap_err();
        assert!(error.starts_with("is damaged: "), "{length}: {error}");
    }
}

#[test]
fn every_flipped_bit_is_detected() {
    let text = example();
    for position in 0..text.len() {
        for bit in 0..8 {
            let mut bytes = text.clone().into_bytes();
            bytes[position] ^= 1 << bit;
            assert!(decode(&bytes).is_err(), "bit {bit} of byte {position}");
        }
    }
}

#[test]
fn each_kind_of_damage_has_its_message() {
    let words = |bytes: &[u8]| decode(bytes).unwrap_err();
    assert_eq!(words(b""), "is damaged: empty");
    assert_eq!(words(b"{}"), "is damaged: its head is unknown");
    assert_eq!(words(b"\xff"), "is damaged: not UTF-8");
    assert_eq!(words(&vec![b'{'; MAX_STATE + 1]), "is damaged: larger than 8388608 bytes");
    assert_eq!(words(example().trim_end().as_bytes()), "is damaged: cut short");
    let other = example().replace("\"version\":1", "\"version\":2");
    assert_eq!(words(other.as_bytes()), "is of version 2, not 1");
    let other = example().replace("\"starts\":3", "\"starts\":4");
    assert_eq!(words(other.as_bytes()), "is damaged: its checksum does not match");
    assert_eq!(words(sealed(&json!({})).as_bytes()), "is damaged: missing field `starts` at line 1 column 2");
}

#[test]
fn out_of_range_numbers_are_rejected_despite_a_correct_checksum() {
    let with = |field: &str, value: Value| {
        let mut state = json!({ "starts": 0, "saved_ns": 0, "elapsed_ns": 0, "counts": {}, "origins": [] });
        assert!(decode(sealed(&state).as_bytes()).is_ok());
        state[field] = value;
        decode(sealed(&state).as_bytes())
    };
    let out_of_bounds = Err("is damaged: a number is out of bounds".to_owned());
    for field in ["starts", "saved_ns", "elapsed_ns"] {
        assert_eq!(with(field, u64::MAX.into()), out_of_bounds, "{field}");
        assert!(with(field, json!(-1)).is_err(), "{field}");
        assert!(with(field, json!(1e30)).is_err(), "{field}");
    }
    let counts = json!({ "traffic": { "other": MAX_COUNT + 1 } });
    assert_eq!(with("counts", counts.clone()), out_of_bounds);
    assert_eq!(
        with("origins", json!([{ "rule": "{}", "elapsed_ns": 0, "counts": counts, "starts": 0 }])),
        out_of_bounds
    );
    let late = MAX_ELAPSED.as_nanos() as u64 + 1;
    let origin = |elapsed: u64, starts: u64| json!([{ "rule": "{}", "elapsed_ns": elapsed, "counts": {}, "starts": starts }]);
    assert!(with("origins", origin(late - 1, MAX_COUNT)).is_ok());
    assert_eq!(with("origins", origin(late, 0)), out_of_bounds);
    assert_eq!(with("origins", origin(0, MAX_COUNT + 1)), out_of_bounds);
}

#[test]
fn numbers_are_clamped_when_written() {
    let mut present = SavedState { elapsed: Duration::MAX, ..SavedState::default() };
    present.counts.set(Target::Traffic, Client::Other, u64::MAX);
    let record = decode(encode(u64::MAX, Timestamp(Duration::MAX), &present).unwrap().as_bytes()).unwrap();
    assert_eq!((record.starts, record.saved), (MAX_COUNT, Timestamp(MAX_ELAPSED)));
    assert_eq!(record.state.elapsed, MAX_ELAPSED);
    assert_eq!(record.state.counts.get(Target::Traffic, Client::Other), MAX_COUNT);
}

#[test]
fn a_state_too_large_to_read_is_not_written() {
    let rule = "#".repeat(MAX_STATE);
    let present = SavedState { origins: [(rule, Origin::default())].into(), ..SavedState::default() };
    let error = encode(1, Timestamp::default(), &present).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FileTooLarge);
}

proptest! {
    #[test]
    fn encoding_and_decoding_round_trips(starts in 0..=MAX_COUNT, saved in instant(), present in present()) {
        let text = encode(starts, saved, &present).unwrap();
        prop_assert_eq!(decode(text.as_bytes()), Ok(StateRecord { starts, saved, state: present }));
    }

    #[test]
    fn the_next_start_changes_only_its_number_and_times(
        starts in 0..=MAX_COUNT, saved in instant(), now in instant(), present in present(),
    ) {
        let text = encode(starts, saved, &present).unwrap();
        let next = at_next_start(text.as_bytes(), now).unwrap();
        let elapsed = (present.elapsed + now.0.saturating_sub(saved.0)).min(MAX_ELAPSED);
        let expected = encode(starts + 1, now, &SavedState { elapsed, ..present }).unwrap();
        prop_assert_eq!(&next, &expected);
        prop_assert_eq!(at_next_start(&text.as_bytes()[..text.len() - 1], now), None);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..512)) {
        prop_assert!(decode(&bytes).is_err());
    }

    #[test]
    fn arbitrary_content_with_a_correct_checksum_never_panics(state in "[\\[{}\\]\":,a-z0-9_.e-]{0,64}") {
        let text = format!("{}{:016x}{BEFORE_STATE}{state}{END}", start(VERSION), checksum(state.as_bytes()));
        prop_assert!(decode(text.as_bytes()).is_err());
        let _ = at_next_start(text.as_bytes(), Timestamp::default());
    }

    #[test]
    fn a_mutated_file_is_detected(
        present in present(),
        changes in vec((any::<Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<Index>()),
    ) {
        let text = encode(1, Timestamp::default(), &present).unwrap();
        let mut bytes = text.clone().into_bytes();
        for (position, byte) in changes {
            let position = position.index(bytes.len());
            bytes[position] = byte;
        }
        bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
        prop_assert_eq!(decode(&bytes).is_ok(), bytes == text.as_bytes());
    }

    #[test]
    fn numbers_of_any_size_are_read_or_rejected(numbers in vec(any::<u64>(), 7)) {
        let counts = json!({ "readiness": { "kubelet": numbers[3] } });
        let state = json!({
            "starts": numbers[0], "saved_ns": numbers[1], "elapsed_ns": numbers[2], "counts": counts,
            "origins": [{ "rule": "{}", "elapsed_ns": numbers[4], "counts": { "traffic": { "other": numbers[5] } },
                "starts": numbers[6] }],
        });
        let within = |position: usize, most: u64| numbers[position] <= most;
        let late = MAX_ELAPSED.as_nanos() as u64;
        let fits = [0, 3, 5, 6].iter().all(|i| within(*i, MAX_COUNT)) && [1, 2, 4].iter().all(|i| within(*i, late));
        prop_assert_eq!(decode(sealed(&state).as_bytes()).is_ok(), fits);
    }
}
