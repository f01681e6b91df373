//! Options of a faulted answer in addition to its mode.

use super::error::RuleError;
use super::limits::{MAX_BODY_TEXT, MAX_HEADERS, MAX_HEADERS_SIZE};
use super::mode::{Mode, ModeField};

/// What a faulted answer carries, and what it does beside its mode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultAnswer {
    /// Headers, with names in lower case, in order. They replace headers of the same name.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body_text: Option<String>,
    /// Whether the request is forwarded although its answer is lost.
    pub forward: bool,
    /// Whether the connection ends, even if it carries concurrent requests (HTTP/2).
    pub ends_connection: bool,
}

/// The default: no options.
pub(super) static NO_OPTIONS: FaultAnswer =
    FaultAnswer { headers: Vec::new(), body_text: None, forward: false, ends_connection: false };

/// Headers that frame a message or belong to one connection (RFC 9110, 7.6.1; RFC 9112, 6): they would change what
/// the mode does.
const RESERVED: &[(&str, &str)] = &[
    ("connection", "belongs to the connection"),
    ("keep-alive", "belongs to the connection"),
    ("proxy-connection", "belongs to the connection"),
    ("te", "belongs to the connection"),
    ("upgrade", "belongs to the connection"),
    ("content-length", "frames the body; see `body_text`, and mode truncate"),
    ("transfer-encoding", "frames the body; see mode malformed"),
    ("trailer", "frames the body"),
    ("location", "is what mode redirect sends"),
    ("x-probesim-fault", "names the rule"),
];

impl FaultAnswer {
    /// Whether it has no options.
    pub fn is_plain(&self) -> bool {
        *self == NO_OPTIONS
    }

    /// Checks that it fits `mode`.
    pub(super) fn check(&self, mode: Option<&Mode>) -> Result<(), RuleError> {
        for (field, is_given) in [
            (ModeField::Headers, !self.headers.is_empty()),
            (ModeField::BodyText, self.body_text.is_some()),
            (ModeField::Forward, self.forward),
            (ModeField::Connection, self.ends_connection),
        ] {
            if is_given && !mode.is_some_and(|mode| mode.info().takes(field)) {
                return Err(match mode {
                    Some(mode) => RuleError::FieldOfMode { field: field.name(), mode: mode.name() },
                    None => RuleError::FieldWithoutMode(field.name()),
                });
            }
        }
        self.check_headers()?;
        if let Some(mode) = mode.filter(|mode| mode.info().needs_body)
            && self.body_text.as_ref().is_some_and(String::is_empty)
        {
            return Err(RuleError::EmptyBodyText(mode.name()));
        }
        match (&self.body_text, mode.and_then(Mode::status)) {
            (Some(_), Some(status @ (204 | 304))) => Err(RuleError::BodyTextStatus(status)),
            (Some(text), _) if text.len() > MAX_BODY_TEXT => Err(RuleError::BodyText(text.len())),
            _ => Ok(()),
        }
    }

    fn check_headers(&self) -> Result<(), RuleError> {
        if self.headers.len() > MAX_HEADERS {
            return Err(RuleError::Headers(self.headers.len()));
        }
        for (name, value) in &self.headers {
            check_header(name, value)?;
        }
        let size = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if size > MAX_HEADERS_SIZE { Err(RuleError::HeadersSize(size)) } else { Ok(()) }
    }
}

fn check_header(name: &str, value: &str) -> Result<(), RuleError> {
    let shown = || name.chars().take(80).collect();
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(RuleError::HeaderName(shown()));
    }
    if let Some((_, why)) = RESERVED.iter().find(|(reserved, _)| reserved.eq_ignore_ascii_case(name)) {
        return Err(RuleError::HeaderReserved { name: shown(), why });
    }
    let is_trimmed = value.trim_matches([' ', '\t']) == value;
    if !is_trimmed || !value.bytes().all(|c| c.is_ascii_graphic() || matches!(c, b' ' | b'\t')) {
        return Err(RuleError::HeaderValue(shown()));
    }
    Ok(())
}

/// Whether this is a token character (RFC 9110, 5.6.2).
const fn is_token(c: u8) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(
            c,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(headers: &[(&str, &str)]) -> FaultAnswer {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        FaultAnswer { headers: headers.iter().map(owned).collect(), ..FaultAnswer::default() }
    }

    #[test]
    fn headers_that_frame_the_message_are_rejected_with_a_reason() {
        let mode = Mode::Status(503);
        let error = |name, value| with(&[(name, value)]).check(Some(&mode)).unwrap_err().to_string();
        for (name, value, expected) in [
            (
                "content-length",
                "3",
                "the header \"content-length\" frames the body; see `body_text`, and mode truncate",
            ),
            ("Connection", "close", "the header \"Connection\" belongs to the connection"),
            (
                "transfer-encoding",
                "chunked",
                "the header \"transfer-encoding\" frames the body; see mode malformed",
            ),
            ("location", "/", "the header \"location\" is what mode redirect sends"),
            ("a b", "x", "\"a b\" is not a header name: letters, digits and -_.!#$%&'*+^`|~"),
            ("", "x", "\"\" is not a header name: letters, digits and -_.!#$%&'*+^`|~"),
            (":status", "200", "\":status\" is not a header name: letters, digits and -_.!#$%&'*+^`|~"),
            ("x", "a\r\nb: c", "the value of header \"x\" is not printable ASCII without surrounding space"),
            ("x", " a", "the value of header \"x\" is not printable ASCII without surrounding space"),
        ] {
            assert_eq!(error(name, value), expected);
        }
        assert_eq!(with(&[("retry-after", "5"), ("x-empty", "")]).check(Some(&mode)), Ok(()));
    }

    #[test]
    fn answers_have_size_limits() {
        let mode = Mode::Status(503);
        let many = with(&[("x", "y"); MAX_HEADERS + 1]).check(Some(&mode)).unwrap_err();
        assert_eq!(many.to_string(), "33 headers are more than the 32 allowed");
        let long = "v".repeat(MAX_HEADERS_SIZE);
        let long = with(&[("x", &long)]).check(Some(&mode)).unwrap_err();
        assert_eq!(long.to_string(), "headers of 8193 bytes in all are above the limit of 8192");
        let text = |size| FaultAnswer { body_text: Some("t".repeat(size)), ..FaultAnswer::default() };
        assert_eq!(text(MAX_BODY_TEXT).check(Some(&mode)), Ok(()));
        let error = text(MAX_BODY_TEXT + 1).check(Some(&mode)).unwrap_err();
        assert_eq!(error.to_string(), "a body of 65537 bytes is above the limit of 65536 of `body_text`");
        let error = text(1).check(Some(&Mode::Status(204))).unwrap_err();
        assert_eq!(error.to_string(), "`body_text` does not go with status 204, which has no body");
    }

    #[test]
    fn a_body_fault_needs_a_text_with_a_byte() {
        let empty = FaultAnswer { body_text: Some(String::new()), ..FaultAnswer::default() };
        assert_eq!(empty.check(Some(&Mode::Status(503))), Ok(()));
        let error = empty.check(Some(&Mode::Throttle { status: None, speed: 1 })).unwrap_err();
        assert_eq!(error.to_string(), "mode throttle needs a body: `body_text` is empty");
    }

    #[test]
    fn options_that_the_mode_does_not_send_are_rejected() {
        let forward = FaultAnswer { forward: true, ..FaultAnswer::default() };
        assert_eq!(forward.check(Some(&Mode::Close)), Ok(()));
        assert_eq!(
            forward.check(None).unwrap_err().to_string(),
            "`forward` needs a `mode` that has this field; a rule with only a delay always forwards"
        );
        let headers = with(&[("x", "y")]).check(Some(&Mode::Hang)).unwrap_err();
        assert_eq!(headers.to_string(), "`headers` does not go with mode hang");
    }
}
