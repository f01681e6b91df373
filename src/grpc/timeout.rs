//! The `grpc-timeout` header.

use std::time::Duration;

use hyper::HeaderMap;
use tokio::time::Instant;

/// Returns the deadline of a call. An invalid `grpc-timeout` is ignored.
pub(crate) fn deadline(headers: &HeaderMap) -> Option<Instant> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    Instant::now().checked_add(parse(value)?)
}

/// Parses at most eight digits and a unit.
fn parse(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_consists_of_digits_and_one_of_six_units() {
        for (value, timeout) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("99999999m", Some(Duration::from_millis(99_999_999))),
            ("5u", Some(Duration::from_micros(5))),
            ("0n", Some(Duration::ZERO)),
        ] {
            assert_eq!(parse(value), timeout, "{value}");
        }
        for value in ["", "S", "1", "1s", "1 S", "+1S", "-1S", "123456789S", "1.5S", "1ä"] {
            assert_eq!(parse(value), None, "{value}");
        }
    }
}
