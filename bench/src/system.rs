//! Programs of the system.

use std::{path::Path, process::Command};

use anyhow::{Context, ensure};

/// Runs a program to its end; what it complains of is the error.
pub fn run(program: &str, words: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program)
        .args(words)
        .output()
        .with_context(|| format!("{program} cannot be run"))?;
    ensure!(
        output.status.success(),
        "{program} {}: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// Makes a folder, without what was in it before.
pub fn empty_folder(path: &Path) -> anyhow::Result<()> {
    if path.exists() {
        std::fs::remove_dir_all(path)?;
    }
    Ok(std::fs::create_dir_all(path)?)
}
