//! Query parameters.

use hyper::StatusCode;

use super::answer::ProblemDetails;

/// Names and values of a query. A name without `=` has an empty value.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Returns an error if a call to this path does not take a parameter of the query, or one is there twice: ignoring it
/// would mislead its sender.
pub(super) fn check(path: &[&str], query: &str) -> Result<(), ProblemDetails> {
    let known: &[&str] = if path == ["events"] { &["after", "limit"] } else { &[] };
    let names: Vec<&str> = pairs(query).map(|(name, _)| name).collect();
    let wrong = |name: &str, why: &str| {
        let shown: String = name.chars().take(40).collect();
        let detail = match known {
            [] => format!("the query parameter {shown:?} {why}; this call takes no query parameters"),
            known => format!("the query parameter {shown:?} {why}; this call takes {}", known.join(" and ")),
        };
        Err(ProblemDetails::new(StatusCode::BAD_REQUEST, detail))
    };
    for (position, name) in names.iter().enumerate() {
        if !known.contains(name) {
            return wrong(name, "is unknown");
        }
        if names[..position].contains(name) {
            return wrong(name, "is there twice");
        }
    }
    Ok(())
}
