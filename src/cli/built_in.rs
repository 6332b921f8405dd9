//! The catalogues that are part of the program.

/// The small catalogue of `herald dev`.
pub(super) const DEMO: &str = include_str!("../../deploy/catalogues/demo.toml");

/// By name.
pub(super) const CATALOGUES: [(&str, &str); 5] = [
    ("demo", DEMO),
    (
        "exam-results",
        include_str!("../../deploy/catalogues/exam-results.toml"),
    ),
    (
        "solar-crm",
        include_str!("../../deploy/catalogues/solar-crm.toml"),
    ),
    (
        "delivery",
        include_str!("../../deploy/catalogues/delivery.toml"),
    ),
    (
        "mobile-money",
        include_str!("../../deploy/catalogues/mobile-money.toml"),
    ),
];

/// Value of `--catalogue` for all but `demo`, whose templates have the same names as others.
pub(super) const ALL: &str = "all";

/// Whether `asked` selects the catalogue of this name.
pub(super) fn is_meant(asked: &str, name: &str) -> bool {
    asked == name || (asked == ALL && name != "demo")
}
