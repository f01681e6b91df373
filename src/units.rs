//! Durations, percentages and sizes as people write them.

use std::fmt;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::fault::{MAX_DELAY, Timestamp};

/// The unit of a number that has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bare {
    /// A bare number is refused.
    Refused,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Minutes.
    Minutes,
}

impl Bare {
    const fn nanos(self) -> Option<u64> {
        match self {
            Self::Refused => None,
            Self::Milliseconds => Some(1_000_000),
            Self::Seconds => Some(1_000_000_000),
            Self::Minutes => Some(60_000_000_000),
        }
    }

    /// The suffix of the unit; `None` where a bare number is refused.
    pub const fn suffix(self) -> Option<&'static str> {
        match self {
            Self::Refused => None,
            Self::Milliseconds => Some("ms"),
            Self::Seconds => Some("s"),
            Self::Minutes => Some("m"),
        }
    }
}

/// What is wrong with a quantity. The text says what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnitError {
    /// Not a duration.
    Duration(Bare),
    /// A duration without a unit where one is needed.
    NoUnit(String),
    /// A duration above [`MAX_DELAY`].
    TooLong,
    /// Not a percentage.
    Percent,
    /// A percentage without its sign where it is needed, or a number between 0 and 1 that may be meant as a share.
    PercentSign(String),
    /// A percentage outside 0 to 100.
    PercentRange,
    /// Not a size.
    Size,
    /// Not an instant.
    Timestamp,
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duration(bare) => {
                f.write_str("is not a duration such as 250ms, 30s or 1m30s (units: us, ms, s, m, h, d)")?;
                match bare.suffix() {
                    Some(suffix) => write!(f, "; a bare number is in {suffix}"),
                    None => Ok(()),
                }
            }
            Self::NoUnit(number) => write!(f, "has no unit; write {number}s or {number}ms"),
            Self::TooLong => f.write_str("is above the limit of 365d"),
            Self::Percent => f.write_str("is not a percentage such as 20%"),
            Self::PercentSign(number) => write!(f, "is ambiguous; write {number}"),
            Self::PercentRange => f.write_str("is not between 0% and 100%"),
            Self::Timestamp => f.write_str(
                "is not a time such as 2026-11-23T12:00:00Z or 2026-11-23T13:00:00+01:00 (RFC 3339)",
            ),
            Self::Size => f.write_str("is not a size such as 16, 512B or 11KiB (units: B, KB, KiB, MB, MiB)"),
        }
    }
}

impl std::error::Error for UnitError {}

/// An instant such as `2026-11-23T12:00:00Z` (RFC 3339), not before 1970.
pub fn timestamp(text: &str) -> Result<Timestamp, UnitError> {
    let instant = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| UnitError::Timestamp)?;
    let nanos = instant.unix_timestamp_nanos();
    let seconds = u64::try_from(nanos / 1_000_000_000).map_err(|_| UnitError::Timestamp)?;
    let rest = u32::try_from(nanos % 1_000_000_000).map_err(|_| UnitError::Timestamp)?;
    Ok(Timestamp(Duration::new(seconds, rest)))
}

/// An instant as [`timestamp`] reads it, in UTC.
pub fn show_timestamp(instant: Timestamp) -> String {
    i128::try_from(instant.0.as_nanos())
        .ok()
        .and_then(|nanos| OffsetDateTime::from_unix_timestamp_nanos(nanos).ok())
        .and_then(|instant| instant.format(&Rfc3339).ok())
        // No instant that was read lies beyond the year 9999.
        .unwrap_or_else(|| "9999-12-31T23:59:59Z".to_owned())
}

/// A duration such as `250ms` or `1m30s`; a number alone has the unit `bare`. At most 365 days, rounded to nanoseconds.
pub fn duration(text: &str, bare: Bare) -> Result<Duration, UnitError> {
    let invalid = || UnitError::Duration(bare);
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut nanos = 0.0;
    while !rest.is_empty() {
        let (number, after) = split_number(rest).ok_or_else(invalid)?;
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, next) = after.split_at(letters);
        let alone = rest.len() == text.trim().len() && next.is_empty();
        let scale = match unit {
            "ns" => 1,
            "us" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            // Zero is the same in every unit.
            "" if alone && number.bytes().all(|c| matches!(c, b'0' | b'.')) => 1,
            "" if alone => bare.nanos().ok_or_else(|| UnitError::NoUnit(number.to_owned()))?,
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

/// A percentage with its sign, such as `20%`, from 0 to 100.
pub fn percent(text: &str) -> Result<f64, UnitError> {
    let text = text.trim();
    match text.strip_suffix('%') {
        Some(number) => in_percent(number.trim_end()),
        None => Err(UnitError::PercentSign(meant(in_percent(text)?))),
    }
}

/// A percentage from 0 to 100 whose sign may be left out. A bare number between 0 and 1 is refused: it may be meant as
/// a share.
pub fn bare_percent(text: &str) -> Result<f64, UnitError> {
    let text = text.trim();
    if text.ends_with('%') {
        return percent(text);
    }
    let number = in_percent(text)?;
    if number > 0.0 && number < 1.0 { Err(UnitError::PercentSign(meant(number))) } else { Ok(number) }
}

/// What a number without a sign can have been meant to be.
fn meant(number: f64) -> String {
    if number > 0.0 && number < 1.0 {
        // Rounded, since 0.29 * 100.0 is 28.999999999999996.
        let share = (number * 1e14).round() / 1e12;
        format!("{number}% or {share}%")
    } else {
        format!("{number}%")
    }
}

fn in_percent(number: &str) -> Result<f64, UnitError> {
    let number = finite(number).ok_or(UnitError::Percent)?;
    if (0.0..=100.0).contains(&number) { Ok(number) } else { Err(UnitError::PercentRange) }
}

fn finite(number: &str) -> Option<f64> {
    let digits = number.strip_prefix(['-', '+']).unwrap_or(number);
    // Rust's own parser takes `inf`, `nan` and `1e3`, too.
    if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit() || c == b'.') {
        return None;
    }
    number.parse().ok()
}

/// A size in bytes, such as `16`, `512B` or `11KiB`.
pub fn size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split_number(text.trim()).ok_or(UnitError::Size)?;
    let scale: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "KB" | "kB" => 1_000,
        "KiB" | "Ki" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" | "Mi" => 1 << 20,
        _ => return Err(UnitError::Size),
    };
    let bytes = number.parse::<f64>().map_err(|_| UnitError::Size)? * scale as f64;
    // A size of a part of a byte is a slip, such as a wrong unit.
    if bytes.fract() == 0.0 { Ok(bytes as u64) } else { Err(UnitError::Size) }
}

/// The decimal number at the beginning, and what follows it.
fn split_number(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().take_while(|c| c.is_ascii_digit() || *c == b'.').count();
    let (number, rest) = text.split_at(end);
    number.bytes().any(|c| c.is_ascii_digit()).then_some((number, rest))
}

/// A duration as [`duration`] reads it, in the largest units that lose nothing: `1m30s`, `1.5ms`.
#[derive(Clone, Copy, Debug)]
pub struct Show(pub Duration);

impl fmt::Display for Show {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        if seconds < 60 {
            // The standard library's form has the same units, but for the sign of micro.
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
            ("250ms", Bare::Refused, 250),
            ("1m30s", Bare::Refused, 90_000),
            ("1.5s", Bare::Refused, 1_500),
            ("50", Bare::Milliseconds, 50),
            ("60", Bare::Seconds, 60_000),
            ("30", Bare::Minutes, 1_800_000),
            (" 2h ", Bare::Seconds, 7_200_000),
            ("0", Bare::Refused, 0),
        ] {
            assert_eq!(duration(text, bare), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in
            ["", "abc", "-1", "5 parsecs", "1x", "1m30", "NaN", "inf", ".", "1..5s", "1e3", "s", "5s 5"]
        {
            assert_eq!(duration(text, Bare::Seconds), Err(UnitError::Duration(Bare::Seconds)), "{text}");
        }
        assert_eq!(duration("60", Bare::Refused), Err(UnitError::NoUnit("60".into())));
        assert_eq!(duration("99999999999999999999", Bare::Milliseconds), Err(UnitError::TooLong));
    }

    #[test]
    fn a_percentage_below_one_needs_its_sign() {
        assert_eq!(bare_percent("20"), Ok(20.0));
        assert_eq!(bare_percent("0.2%"), Ok(0.2));
        assert_eq!(bare_percent("0.2"), Err(UnitError::PercentSign("0.2% or 20%".into())));
        assert_eq!(bare_percent("120"), Err(UnitError::PercentRange));
        assert_eq!(bare_percent("-1"), Err(UnitError::PercentRange));
        for text in ["abc", "NaN", "", "%", "1e1"] {
            assert_eq!(bare_percent(text), Err(UnitError::Percent), "{text}");
        }
        assert_eq!(percent("20"), Err(UnitError::PercentSign("20%".into())));
        assert_eq!(percent("0.2"), Err(UnitError::PercentSign("0.2% or 20%".into())));
        assert_eq!(percent("150"), Err(UnitError::PercentRange));
        assert_eq!(percent("99.9 %"), Ok(99.9));
    }

    #[test]
    fn sizes_take_binary_and_decimal_units() {
        assert_eq!((size("16"), size("11KiB"), size("1.5KB")), (Ok(16), Ok(11_264), Ok(1_500)));
        for text in ["", "-1", "1.5", "KiB", "1TB", "1 parsec"] {
            assert_eq!(size(text), Err(UnitError::Size), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_shown_duration_reads_back(seconds in 0..100_000_u64, millis in 0..1000_u64) {
            let value = Duration::from_millis(seconds * 1000 + millis);
            prop_assert_eq!(duration(&Show(value).to_string(), Bare::Refused), Ok(value));
        }
    }
}
