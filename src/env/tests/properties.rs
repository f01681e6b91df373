//! Properties of any environment.

use proptest::prelude::*;

use super::*;

fn all_names() -> impl Strategy<Value = String> {
    prop::sample::select(VARIABLES.iter().flat_map(Variable::names).collect::<Vec<_>>())
}

#[cfg(unix)]
proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        pairs in prop::collection::vec((all_names(), prop::collection::vec(any::<u8>(), 0..40)), 0..8),
        others in prop::collection::vec(("\\PC{0,20}", "\\PC{0,20}"), 0..4),
        plan in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        use std::os::unix::ffi::OsStringExt;
        let ours = pairs.into_iter().map(|(name, value)| (OsString::from(name), OsString::from_vec(value)));
        let others = others.into_iter().map(|(name, value)| (name.into(), value.into()));
        let plan = (OsString::from("FAULTS"), OsString::from_vec(plan));
        let _ = load(ours.chain(others).chain([plan]));
    }

    #[test]
    fn likely_values_load_or_are_explained(
        pairs in prop::collection::vec((all_names(), "(0|1|5|20%|50ms|2s|1m|true|status|hang|drop|normal|lognormal|503|204|/a|/a/\\*|x)"), 0..12)
    ) {
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if let Err(errors) = load_pairs(&pairs) {
            prop_assert!(!errors.is_empty());
            for error in &errors {
                let line = error.to_string();
                prop_assert!(!line.contains('\n') && pairs.iter().any(|(name, _)| line.starts_with(name)), "{line}");
            }
        }
    }
}
