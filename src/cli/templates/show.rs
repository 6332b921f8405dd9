//! `herald templates show`: shows a template as its recipients read it.

use anyhow::bail;
use entity::template::Model;
use serde_json::{Value, json};

use super::TemplatesOutputFormat;
use crate::{
    cli::say,
    domain::template::layout::{PreviewHeader, TemplateLayout},
    engine::{Engine, runtime::template_layout},
    store::{catalogue as rows, template_sync},
};

/// A template with its examples.
pub(super) async fn show(
    engine: &Engine,
    name: &str,
    language: Option<&str>,
    format: TemplatesOutputFormat,
) -> anyhow::Result<()> {
    let found: Vec<_> = rows::translations(engine.store.reader(), name)
        .await?
        .into_iter()
        .filter(|row| language.is_none_or(|language| row.language == language))
        .collect();
    if found.is_empty() {
        bail!("no catalogue has a template {name} in this language");
    }
    let said = template_sync::all(&engine.store).await?;
    let heard = |row: &Model| -> Vec<String> {
        said.iter()
            .filter(|it| it.name == row.name && it.language == row.language)
            .map(|it| it.status.as_deref().unwrap_or("unknown").replace('_', " "))
            .collect()
    };
    if format == TemplatesOutputFormat::Json {
        let all: Vec<Value> = found.iter().map(|row| document(row, &heard(row))).collect();
        say(serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    for row in found {
        let mut standing = heard(&row).join(", ");
        if standing.is_empty() {
            "never reported".clone_into(&mut standing);
        }
        say(format!(
            "{} ({}), {}, version {}: {standing}",
            row.name, row.language, row.category, row.version
        ));
        match template_layout::layout(&row) {
            Err(error) => say(format!("  cannot be read: {error}")),
            Ok(layout) => bubble(&layout),
        }
    }
    Ok(())
}

fn document(row: &Model, heard: &[String]) -> Value {
    let mut document = json!({
        "name": row.name, "language": row.language, "category": row.category,
        "version": row.version, "heard": heard,
    });
    let shown = match template_layout::layout(row) {
        Err(error) => json!({ "problem": error }),
        Ok(layout) => {
            let preview = layout.preview(&layout.example_context());
            json!({
                "header": preview.header.map(|above| match above {
                    PreviewHeader::Text(text) => json!({ "text": text }),
                    PreviewHeader::Shown(what) => json!({ "shows": what }),
                }),
                "body": preview.body,
                "footer": preview.footer,
                "buttons": preview.buttons,
                "problem": preview.problem,
            })
        }
    };
    if let (Some(document), Value::Object(shown)) = (document.as_object_mut(), shown) {
        document.extend(shown);
    }
    document
}

/// Width of a bubble, in characters.
const WIDTH: usize = 56;

fn bubble(layout: &TemplateLayout) {
    let preview = layout.preview(&layout.example_context());
    let mut lines = Vec::new();
    match &preview.header {
        None => {}
        Some(PreviewHeader::Text(text)) => lines.extend(wrapped(&format!("*{text}*"))),
        Some(PreviewHeader::Shown(what)) => lines.push(format!("[{what}]")),
    }
    lines.extend(preview.body.lines().flat_map(wrapped));
    if let Some(footer) = &preview.footer {
        lines.extend(wrapped(footer));
    }
    let edge = "─".repeat(WIDTH + 2);
    say(format!("  ╭{edge}╮"));
    for line in lines {
        let pad = " ".repeat(WIDTH.saturating_sub(line.chars().count()));
        say(format!("  │ {line}{pad} │"));
    }
    say(format!("  ╰{edge}╯"));
    for label in &preview.buttons {
        say(format!("  [ {label} ]"));
    }
    if let Some(problem) = &preview.problem {
        say(format!(
            "  (it cannot be filled with its examples: {problem})"
        ));
    }
}

/// Wraps a line at spaces.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}
