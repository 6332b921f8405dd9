//! `herald templates pull`: writes templates made elsewhere as a catalogue.

use std::path::Path;

use anyhow::{Context, bail};

use crate::{
    cli::{ExitCodeError, complain, say},
    engine::{
        Engine,
        delivery::templates::{self, PulledCatalogue},
    },
    providers::HttpClient,
    state::Clock,
    store::catalogue,
};

/// Writes the catalogue to a new file, or prints it.
pub(super) async fn pull(
    engine: &Engine,
    http: &HttpClient,
    only: Option<&str>,
    name: String,
    into: Option<&Path>,
) -> anyhow::Result<()> {
    if catalogue::exists(engine.store.reader(), &name).await? {
        bail!(
            "there is a catalogue {name} already, and applying this one would remove what that one defines: choose another name with --catalogue"
        );
    }
    let found = templates::pull(engine, http, only, Clock::System.now()).await?;
    for (sender, why) in &found.unread {
        complain(&format!("sender {sender} cannot be read: {why}"));
    }
    for (name, language, why) in &found.left {
        complain(&format!("{name} ({language}) is skipped: {why}"));
    }
    let is_whole = found.unread.is_empty() && found.left.is_empty();
    if found.templates.is_empty() {
        if let (Some(only), true) = (only, is_whole) {
            bail!("no account has a template {only} that no catalogue has");
        }
        complain("nothing to pull: all templates that can be pulled are in a catalogue already");
    } else {
        let count = found.templates.len();
        let pulled = PulledCatalogue {
            name,
            template: found.templates,
        };
        let text =
            toml::to_string_pretty(&pulled).context("the templates cannot be written as TOML")?;
        match into {
            None => say(text.trim_end()),
            Some(path) => {
                write_new(path, &text)?;
                say(format!(
                    "{count} templates written to {}: name their parameters, then load the file with herald apply",
                    path.display()
                ));
            }
        }
    }
    if is_whole {
        Ok(())
    } else {
        Err(ExitCodeError(1).into())
    }
}

/// An existing file, which may have been edited, is not overwritten.
fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut file = std::fs::File::create_new(path)
        .with_context(|| format!("{} cannot be made", path.display()))?;
    file.write_all(text.as_bytes())
        .with_context(|| format!("{} cannot be written", path.display()))
}
