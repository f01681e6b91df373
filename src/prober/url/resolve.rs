//! Resolves relative paths.

/// Resolves the path `reference` against `base`, without `.` and `..`.
pub(super) fn path(base: &str, reference: &str) -> String {
    let whole = if reference.is_empty() {
        base.to_owned()
    } else if reference.starts_with('/') {
        reference.to_owned()
    } else {
        format!("{}{reference}", &base[..base.rfind('/').map_or(0, |at| at + 1)])
    };
    if whole.is_empty() {
        return whole;
    }
    // These are the steps of Go, since they decide about empty segments.
    let mut resolved = "/".to_owned();
    let mut first = true;
    for segment in whole.split('/') {
        match segment {
            "." => first = false,
            ".." => {
                resolved.truncate(resolved[1..].rfind('/').map_or(1, |at| at + 1));
                first = resolved.len() == 1;
            }
            segment => {
                if !first {
                    resolved.push('/');
                }
                resolved.push_str(segment);
                first = false;
            }
        }
    }
    if matches!(whole.rsplit('/').next(), Some("." | "..")) {
        resolved.push('/');
    }
    match resolved.strip_prefix('/') {
        Some(rest) if rest.starts_with('/') => rest.to_owned(),
        _ => resolved,
    }
}
