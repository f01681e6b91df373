//! Parsing and formatting of durations, percentages, sizes and instants.

use std::fmt;
use std::time::Duration;

use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::fault::{MAX_DELAY, Timestamp};

/// The unit of a bare number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bare {
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Minutes.
    Minutes,
}

impl Bare {
    const fn nanos(self) -> u64 {
        match self {
            Self::Milliseconds => 1_000_000,
            Self::Seconds => 1_000_000_000,
            Self::Minutes => 60_000_000_000,
        }
    }

    /// The suffix of the unit.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
            Self::Minutes => "m",
        }
    }
}

/// An error of a quantity. The message says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnitError {
    /// Not a duration; with the unit of bare numbers.
    #[error("is not a duration such as 250ms, 30s or 1m30s (units: us, ms, s, m, h, d); a bare number is in {}", .0.suffix())]
    Duration(Bare),
    /// A duration above [`MAX_DELAY`].
    #[error("is above the limit of 365d")]
    TooLong,
    /// Not a percentage.
    #[error("is not a percentage such as 20%")]
    Percent,
    /// A number between 0 and 1 without the sign, which could be meant as a share.
    #[error("is ambiguous; write {0}")]
    PercentSign(String),
    /// A percentage outside 0 to 100.
    #[error("is not between 0% and 100%")]
    PercentRange,
    /// Not a size.
    #[error("is not a size such as 16, 512B or 11KiB (units: B, KB, KiB, MB, MiB, GB, GiB)")]
    Size,
    /// Not an instant.
    #[error("is not a time such as 2026-11-23T12:00:00Z or 2026-11-23T13:00:00+01:00 (RFC 3339)")]
    Timestamp,
}

/// Parses an instant such as `2026-11-23T12:00:00Z` (RFC 3339), not before 1970.
pub fn timestamp(text: &str) -> Result<Timestamp, UnitError> {
    let instant = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| UnitError::Timestamp)?;
    let nanos = instant.unix_timestamp_nanos();
    let seconds = u64::try_from(nanos / 1_000_000_000).map_err(|_| UnitError::Timestamp)?;
    let rest = u32::try_from(nanos % 1_000_000_000).map_err(|_| UnitError::Timestamp)?;
    Ok(Timestamp(Duration::new(seconds, rest)))
}

/// Formats an instant in UTC, as [`timestamp`] parses it.
pub fn show_timestamp(instant: Timestamp) -> String {
    i128::try_from(instant.0.as_nanos())
        .ok()
        .and_then(|nanos| OffsetDateTime::from_unix_timestamp_nanos(nanos).ok())
        .and_then(|instant| instant.format(&Rfc3339).ok())
        // `timestamp` accepts no instant after the year 9999.
        .unwrap_or_else(|| "9999-12-31T23:59:59Z".to_owned())
}

/// Parses a duration such as `250ms` or `1m30s`; a bare number has the unit `bare`. At most 365 days, rounded to
/// nanoseconds.
pub fn duration(text: &str, bare: Bare) -> Result<Duration, UnitError> {
    let invalid = || UnitError::Duration(bare);
    let whole = unsigned(text);
    let mut rest = whole;
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut nanos = 0.0;
    while !rest.is_empty() {
        let (number, after) = split_number(rest).ok_or_else(invalid)?;
        let letters = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (unit, next) = after.split_at(letters);
        let is_alone = rest.len() == whole.len() && next.is_empty();
        let scale = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            "" if is_alone => bare.nanos(),
            _ => return Err(invalid()),
        };
        nanos += number.parse::<f64>().map_err(|_| invalid())? * scale as f64;
        rest = next;
    }
    if nanos > MAX_DELAY.as_nanos() as f64 {
        return Err(UnitError::TooLong);
    }
    Ok(Duration::from_nanos(nanos.round() as u64))
}

/// Parses a percentage from 0 to 100 such as `20%` or `20`. A number between 0 and 1 needs the sign, since it could
/// be meant as a share.
pub fn percent(text: &str) -> Result<f64, UnitError> {
    let text = text.trim();
    if let Some(number) = text.strip_suffix('%') {
        return in_percent(number.trim_end());
    }
    let number = in_percent(text)?;
    if number > 0.0 && number < 1.0 {
        // Rounded, since 0.29 * 100.0 is 28.999999999999996.
        let share = (number * 1e14).round() / 1e12;
        return Err(UnitError::PercentSign(format!("{number}% or {share}%")));
    }
    Ok(number)
}

fn in_percent(number: &str) -> Result<f64, UnitError> {
    let number = finite(number).ok_or(UnitError::Percent)?;
    if (0.0..=100.0).contains(&number) { Ok(number) } else { Err(UnitError::PercentRange) }
}

/// A decimal number without an exponent, such as `0.5`.
pub(crate) fn decimal(number: &str) -> Option<f64> {
    finite(number.trim())
}

fn finite(number: &str) -> Option<f64> {
    let digits = number.strip_prefix(['-', '+']).unwrap_or(number);
    // Rust's parser also accepts `inf`, `nan` and `1e3`.
    if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit() || c == b'.') {
        return None;
    }
    number.parse().ok()
}

/// Parses a size in bytes, such as `16`, `512B` or `11KiB`.
pub fn size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split_number(unsigned(text)).ok_or(UnitError::Size)?;
    let scale: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "KB" | "kB" | "k" => 1_000,
        "KiB" | "Ki" => 1 << 10,
        "MB" | "M" => 1_000_000,
        "MiB" | "Mi" => 1 << 20,
        "GB" | "G" => 1_000_000_000,
        "GiB" | "Gi" => 1 << 30,
        _ => return Err(UnitError::Size),
    };
    let bytes = number.parse::<f64>().map_err(|_| UnitError::Size)? * scale as f64;
    // A fraction of a byte is a mistake, such as a wrong unit.
    if bytes.fract() == 0.0 { Ok(bytes as u64) } else { Err(UnitError::Size) }
}

/// The text without surrounding space and without a plus sign, which Go's `Atoi` accepts.
pub(crate) fn unsigned(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('+').unwrap_or(text)
}

/// Splits off the decimal number at the start.
fn split_number(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().take_while(|c| c.is_ascii_digit() || *c == b'.').count();
    let (number, rest) = text.split_at(end);
    number.bytes().any(|c| c.is_ascii_digit()).then_some((number, rest))
}

/// Formats a duration as [`duration`] parses it, in the largest units without loss: `1m30s`, `1.5ms`.
#[derive(Clone, Copy, Debug)]
pub struct Show(pub Duration);

impl fmt::Display for Show {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        if seconds < 60 {
            // The standard library uses the same units, except for the micro sign.
            return f.write_str(&format!("{:?}", self.0).replace('µ', "u"));
        }
        for (unit, count) in [("d", seconds / 86_400), ("h", seconds / 3_600 % 24), ("m", seconds / 60 % 60)]
        {
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        let rest = Duration::new(seconds % 60, self.0.subsec_nanos());
        if rest.is_zero() { Ok(()) } else { write!(f, "{}s", rest.as_secs_f64()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_instant_is_read_in_any_offset_and_shown_in_utc() {
        for (text, shown) in [
            ("2026-11-23T12:00:00Z", "2026-11-23T12:00:00Z"),
            ("2026-11-23T13:30:00.25+01:30", "2026-11-23T12:00:00.25Z"),
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(timestamp(text).map(show_timestamp).as_deref(), Ok(shown), "{text}");
        }
        for bad in [
            "",
            "12:00",
            "2026-11-23",
            "2026-13-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "now",
            "2026-11-23T12:00:00",
        ] {
            assert_eq!(timestamp(bad), Err(UnitError::Timestamp), "{bad}");
        }
    }

    #[test]
    fn durations_take_units_and_a_bare_number_the_unit_of_its_variable() {
        for (text, bare, millis) in [
            ("250ms", Bare::Seconds, 250),
            ("1m30s", Bare::Seconds, 90_000),
            ("1.5s", Bare::Seconds, 1_500),
            ("50", Bare::Milliseconds, 50),
            ("60", Bare::Seconds, 60_000),
            ("30", Bare::Minutes, 1_800_000),
            (" 2h ", Bare::Seconds, 7_200_000),
            ("0", Bare::Seconds, 0),
            ("+50", Bare::Milliseconds, 50),
            ("5000µs", Bare::Seconds, 5),
        ] {
            assert_eq!(duration(text, bare), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "abc",
            "-1",
            "5 parsecs",
            "1x",
            "1m30",
            "NaN",
            "inf",
            ".",
            "1..5s",
            "1e3",
            "s",
            "5s 5",
            "++5",
            "+-5",
            "5µ",
        ] {
            assert_eq!(duration(text, Bare::Seconds), Err(UnitError::Duration(Bare::Seconds)), "{text}");
        }
        assert_eq!(duration("99999999999999999999", Bare::Milliseconds), Err(UnitError::TooLong));
    }

    #[test]
    fn a_percentage_below_one_needs_its_sign() {
        assert_eq!(
            (percent("20"), percent("20%"), percent("99.9 %"), percent("+5")),
            (Ok(20.0), Ok(20.0), Ok(99.9), Ok(5.0))
        );
        assert_eq!((percent("0"), percent("1"), percent("0.2%")), (Ok(0.0), Ok(1.0), Ok(0.2)));
        assert_eq!(percent("0.2"), Err(UnitError::PercentSign("0.2% or 20%".into())));
        for text in ["120", "150%", "-1"] {
            assert_eq!(percent(text), Err(UnitError::PercentRange), "{text}");
        }
        for text in ["abc", "NaN", "", "%", "1e1"] {
            assert_eq!(percent(text), Err(UnitError::Percent), "{text}");
        }
    }

    #[test]
    fn sizes_take_binary_and_decimal_units() {
        assert_eq!(
            (size("16"), size("11KiB"), size("1.5KB"), size("2Gi")),
            (Ok(16), Ok(11_264), Ok(1_500), Ok(2 << 30))
        );
        for text in ["", "-1", "1.5", "KiB", "1TB", "1 parsec"] {
            assert_eq!(size(text), Err(UnitError::Size), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_shown_duration_reads_back(seconds in 0..100_000_u64, millis in 0..1000_u64) {
            let value = Duration::from_millis(seconds * 1000 + millis);
            prop_assert_eq!(duration(&Show(value).to_string(), Bare::Seconds), Ok(value));
        }
    }
}
