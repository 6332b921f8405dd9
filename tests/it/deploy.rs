//! What is in `deploy/`.

use libtest_mimic::{Failed, Trial};

pub fn trials() -> Vec<Trial> {
    vec![Trial::test(
        "deploy::the_unit_starts_the_server_again_however_often_it_ends",
        the_unit_starts_the_server_again_however_often_it_ends,
    )]
}

/// The lines of one section of the unit file.
fn section(name: &str) -> Vec<&'static str> {
    include_str!("../../deploy/herald.service")
        .lines()
        .skip_while(|line| *line != format!("[{name}]"))
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .collect()
}

/// systemd ignores a key that stands in the wrong section.
fn the_unit_starts_the_server_again_however_often_it_ends() -> Result<(), Failed> {
    for (name, line) in [
        ("Unit", "StartLimitIntervalSec=0"),
        ("Service", "Restart=on-failure"),
        ("Service", "RestartSec=2"),
        ("Service", "RestartPreventExitStatus=6"),
    ] {
        if !section(name).contains(&line) {
            return Err(format!("[{name}] of herald.service lacks {line}").into());
        }
    }
    Ok(())
}
