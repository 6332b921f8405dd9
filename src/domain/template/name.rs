//! A template's name at Meta: ours, with a version suffix if one is set
//! (`META_SYNC_VERSION_SUFFIX`), so that a new version is created beside the old one.

/// The name at Meta of one of our templates.
pub fn at_meta(name: &str, suffix: Option<&str>) -> String {
    match suffix {
        Some(suffix) => format!("{name}_{suffix}"),
        None => name.to_owned(),
    }
}

/// Our name of a template at Meta. If a suffix is set, a template without it is an old version or
/// not ours: its status does not concern our template.
pub fn ours<'a>(name: &'a str, suffix: Option<&str>) -> Option<&'a str> {
    match suffix {
        None => Some(name),
        Some(suffix) => name
            .strip_suffix(suffix)?
            .strip_suffix('_')
            .filter(|name| !name.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::{at_meta, ours};

    #[test]
    fn a_suffix_is_put_on_and_taken_off() {
        assert_eq!(at_meta("order", Some("v1_02")), "order_v1_02");
        assert_eq!(ours("order_v1_02", Some("v1_02")), Some("order"));
        assert_eq!(ours("order", Some("v1_02")), None);
        assert_eq!(ours("order_v1_02", None), Some("order_v1_02"));
        assert_eq!(ours("_v1", Some("v1")), None);
    }
}
