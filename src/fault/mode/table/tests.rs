use std::time::Duration;

use super::*;
use crate::fault::mode::{Cut, GrpcStatus, ModeField, ModeParts, Slices, StatusEffect};
use crate::fault::rate::Rate;

/// Values other than the defaults.
fn parts() -> ModeParts {
    ModeParts {
        status: Some(418),
        body: 7,
        drip: Duration::from_secs(9),
        location: "/x".to_owned(),
        speed: 5,
        share: Rate::from_percent(7.0).unwrap(),
        grpc_status: GrpcStatus::parse("ABORTED").unwrap(),
        grpc_message: "try later".to_owned(),
        slices: Slices { piece: 9, jitter: 3, pause: Duration::from_secs(2) },
    }
}

#[test]
fn every_mode_has_a_row_and_round_trips_its_fields() {
    for info in ModeInfo::all_of_requests() {
        let mode = info.mode(parts()).unwrap();
        assert_eq!(mode.name(), info.name);
        let (kept, given, default) = (mode.parts(), parts(), ModeParts::default());
        for field in ModeField::ALL {
            let takes = match field {
                ModeField::Status => kept.status == given.status,
                ModeField::Location => kept.location == given.location,
                ModeField::Body => kept.body == given.body,
                ModeField::Drip => kept.drip == given.drip,
                ModeField::Speed => kept.speed == given.speed,
                ModeField::Share => kept.share == given.share,
                ModeField::GrpcStatus => kept.grpc_status == given.grpc_status,
                ModeField::GrpcMessage => kept.grpc_message == given.grpc_message,
                ModeField::Alert => false,
                // These belong to the rule, or to modes of TCP proxies.
                _ => continue,
            };
            assert_eq!(takes, info.takes(field), "{} {}", info.name, field.name());
        }
        assert_ne!(given, default);
    }
    for info in ModeInfo::all_of_partitions() {
        let ActsOn::Listener(cut) = info.acts_on else { panic!("{}", info.name) };
        assert_eq!(Cut::from_name(info.name), Some(cut));
    }
}

#[test]
fn each_row_matches_its_mode() {
    for info in ModeInfo::all_of_requests() {
        let mode = info.mode(parts()).unwrap();
        let takes_status = matches!(info.status, StatusEffect::Given | StatusEffect::Kept);
        let status = match info.status {
            StatusEffect::Fixed(status) => Some(status),
            _ => takes_status.then_some(418),
        };
        assert_eq!(mode.status(), status, "{}", info.name);
        assert_eq!(info.takes(ModeField::Status), takes_status, "{}", info.name);
        // Modes that send a head take more headers; modes that act on a body always forward.
        assert_eq!(info.takes(ModeField::Headers), info.status != StatusEffect::None, "{}", info.name);
        assert_eq!(info.takes(ModeField::Forward), !info.needs_body, "{}", info.name);
        assert_eq!(mode.partial().is_some(), info.takes(ModeField::Body), "{}", info.name);
        assert!(!info.client.is_empty() && !info.curl.is_empty() && !info.grpc.is_empty(), "{}", info.name);
    }
}

#[test]
fn mode_names_are_unique_per_subject() {
    for names in [
        ModeInfo::all_of_requests().map(|info| info.name).collect::<Vec<_>>(),
        ModeInfo::all_of_listener().map(|info| info.name).collect(),
    ] {
        let unique: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len(), "{names:?}");
    }
}

#[test]
fn the_rows_of_tcp_proxies_agree_with_their_modes() {
    for info in ModeInfo::all_of_tcp() {
        let mode = info.mode(parts()).unwrap();
        assert_eq!(mode.name(), info.name);
        let has_pieces = ModeField::OF_TCP.into_iter().skip(3).all(|field| info.takes_on_tcp(field));
        assert_eq!(mode.parts().slices == parts().slices, has_pieces, "{}", info.name);
        assert_eq!(ModeInfo::of_proxies(info.name).unwrap().name, info.name);
    }
}
