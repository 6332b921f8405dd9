//! `herald plan FILE…` and `herald apply FILE…`: shows and makes the changes of catalogues.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};

use super::{complain, say, settings};
use crate::{
    app,
    domain::catalogue::{CataloguePlan, CataloguePlanStep, CatalogueRowChange},
    engine::catalogue::{
        self, CatalogueApplyError, CatalogueMistakes, ManualChangePolicy, ParsedCatalogue,
    },
    state::Clock,
};

/// Shows what `herald apply` would change, field by field. Changes nothing.
///
/// Exit codes: 0 nothing would change · 1 mistakes, nothing can be applied · 2 wrong use
/// or wrong settings · 3 there are changes
///
/// Example: `herald plan deploy/catalogues/*.toml`
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct CataloguePlanCommand {
    /// Catalogue files (TOML).
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Print the plan as JSON.
    #[arg(long)]
    json: bool,
}

/// Loads catalogues: templates, people, events, routes and rules.
///
/// Applying is idempotent. All files are applied or none is, and only rows of their own catalogues
/// change. A change made by hand since the last apply is not undone unless --overwrite is given:
/// `herald plan` shows it first.
///
/// Example: `herald apply deploy/catalogues/demo.toml`
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct CatalogueApplyCommand {
    /// Catalogue files (TOML).
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Undo changes made by hand.
    #[arg(long)]
    overwrite: bool,
}

/// Exit code of `plan` if there are changes.
const CHANGES: u8 = 3;

impl CataloguePlanCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = settings()?;
        let store = app::command_store(&config).await?;
        let parsed = read(&self.files, &config.catalogues.values)?;
        let plans = or_mistakes(
            &self.files,
            catalogue::plan(&store, &parsed, Clock::System.now()).await,
        )?;
        if self.json {
            let files = self.files.iter().zip(&plans);
            let all: Vec<Value> = files
                .map(|(file, plan)| json!({ "file": file.display().to_string(), "steps": as_json(plan), "unchanged": plan.unchanged }))
                .collect();
            say(json!(all).to_string());
        } else {
            for (file, plan) in self.files.iter().zip(&plans) {
                show(&file.display().to_string(), plan);
            }
        }
        if plans.iter().any(|plan| !plan.steps.is_empty()) {
            return Err(super::ExitCodeError(CHANGES).into());
        }
        Ok(())
    }
}

impl CatalogueApplyCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = settings()?;
        let store = app::command_store(&config).await?;
        let parsed = read(&self.files, &config.catalogues.values)?;
        let by_hand = if self.overwrite {
            ManualChangePolicy::Overwrite
        } else {
            ManualChangePolicy::Keep
        };
        let plans = or_mistakes(
            &self.files,
            catalogue::apply(&store, &parsed, by_hand, Clock::System.now()).await,
        )?;
        for (file, plan) in self.files.iter().zip(&plans) {
            let file = file.display();
            if plan.steps.is_empty() {
                say(format!("{file}: unchanged"));
                continue;
            }
            say(format!("{file}: {}", summary(plan)));
            for step in plan
                .steps
                .iter()
                .filter(|it| it.action == CatalogueRowChange::Remove)
            {
                say(format!("  removed {}", step.id));
            }
        }
        Ok(())
    }
}

/// Reads all files; the mistakes of all of them are reported.
fn read(
    files: &[PathBuf],
    values: &catalogue::CataloguePlaceholderValues,
) -> anyhow::Result<Vec<ParsedCatalogue>> {
    let mut all = Vec::with_capacity(files.len());
    let mut wrong = Vec::with_capacity(files.len());
    for file in files {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("{} cannot be read", file.display()))?;
        match catalogue::parse(&text, values) {
            Ok(parsed) => {
                all.push(parsed);
                wrong.push(CatalogueMistakes(Vec::new()));
            }
            Err(mistakes) => wrong.push(mistakes),
        }
    }
    if all.len() == files.len() {
        Ok(all)
    } else {
        refuse(files, &wrong)
    }
}

fn refuse<T>(files: &[PathBuf], wrong: &[CatalogueMistakes]) -> anyhow::Result<T> {
    for (file, mistakes) in files.iter().zip(wrong) {
        for mistake in &mistakes.0 {
            complain(&mistake.with_file(&file.display().to_string()));
        }
    }
    bail!("nothing was applied");
}

fn or_mistakes(
    files: &[PathBuf],
    result: Result<Vec<CataloguePlan>, CatalogueApplyError>,
) -> anyhow::Result<Vec<CataloguePlan>> {
    match result {
        Ok(plans) => Ok(plans),
        Err(CatalogueApplyError::Store(error)) => Err(error.into()),
        Err(CatalogueApplyError::Mistakes(wrong)) => refuse(files, &wrong),
        Err(CatalogueApplyError::Conflicts(plans)) => {
            for (file, plan) in files.iter().zip(&plans) {
                for step in plan.conflicts() {
                    complain(&format!("{}: {}", file.display(), by_hand(step)));
                }
            }
            bail!("nothing was applied: --overwrite undoes changes made by hand");
        }
    }
}

fn by_hand(step: &CataloguePlanStep) -> String {
    let what = match &step.action {
        CatalogueRowChange::Add => "was removed by hand".to_owned(),
        CatalogueRowChange::Remove => "was changed by hand, and would be removed".to_owned(),
        CatalogueRowChange::Adopt => "was created by hand".to_owned(),
        CatalogueRowChange::Change(differences) => {
            let fields: Vec<&str> = differences.iter().map(|it| it.field.as_str()).collect();
            format!("was changed by hand: {}", fields.join(", "))
        }
    };
    format!("{}: {what}", step.id)
}

fn summary(plan: &CataloguePlan) -> String {
    let count = |wanted: fn(&CatalogueRowChange) -> bool| {
        plan.steps
            .iter()
            .filter(|step| wanted(&step.action))
            .count()
    };
    format!(
        "{} added, {} changed, {} removed, {} unchanged",
        count(|action| matches!(action, CatalogueRowChange::Add)),
        count(|action| matches!(
            action,
            CatalogueRowChange::Change(_) | CatalogueRowChange::Adopt
        )),
        count(|action| matches!(action, CatalogueRowChange::Remove)),
        plan.unchanged
    )
}

fn show(file: &str, plan: &CataloguePlan) {
    say(format!("{file}: {}", summary(plan)));
    for step in &plan.steps {
        let hand = if step.by_hand {
            "  (changed by hand: applied only with --overwrite)"
        } else {
            ""
        };
        let sign = match step.action {
            CatalogueRowChange::Add => '+',
            CatalogueRowChange::Change(_) | CatalogueRowChange::Adopt => '~',
            CatalogueRowChange::Remove => '-',
        };
        say(format!("  {sign} {}{hand}", step.id));
        if let CatalogueRowChange::Change(differences) = &step.action {
            for it in differences {
                say(format!("      {}: {}", it.field, value(&it.before)));
                say(format!(
                    "      {} → {}",
                    " ".repeat(it.field.len()),
                    value(&it.after)
                ));
            }
        }
    }
}

fn value(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn as_json(plan: &CataloguePlan) -> Vec<Value> {
    plan.steps
        .iter()
        .map(|step| {
            let (action, differences) = match &step.action {
                CatalogueRowChange::Add => ("add", None),
                CatalogueRowChange::Adopt => ("adopt", None),
                CatalogueRowChange::Remove => ("remove", None),
                CatalogueRowChange::Change(differences) => ("change", Some(differences)),
            };
            let fields = differences.into_iter().flatten();
            json!({
                "kind": step.id.kind.name(),
                "name": step.id.name,
                "action": action,
                "by_hand": step.by_hand,
                "fields": fields
                    .map(|it| json!({ "field": it.field, "before": it.before, "after": it.after }))
                    .collect::<Vec<_>>(),
            })
        })
        .collect()
}
