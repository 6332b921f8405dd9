//! `herald groups list|ensure|add|remove|delete`: manages groups of staff members.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use super::{
    complain,
    people::{everybody, refused, undone},
    say, settings,
};
use crate::{
    app, config,
    domain::access::AccessBounds,
    engine::{
        catalogue,
        people::{self, PeopleActor},
    },
    state::Clock,
    store::people as rows,
};

/// Groups of staff members that get messages together.
#[derive(Debug, Args)]
pub(super) struct StaffGroupsCommand {
    #[command(subcommand)]
    action: StaffGroupsSubcommand,
}

#[derive(Debug, Subcommand)]
enum StaffGroupsSubcommand {
    /// Lists groups with their members.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Creates missing groups, by name or from catalogue files; prints Created or Exists, with the
    /// number of members. Example: `herald groups ensure --from deploy/catalogues/solar-crm.toml`
    Ensure {
        names: Vec<String>,
        /// The description of the groups.
        #[arg(long)]
        description: Option<String>,
        /// The groups of a catalogue file.
        #[arg(long)]
        from: Vec<PathBuf>,
    },
    /// Adds staff members to a group. Example: `herald groups add "Sales Team" asha ravi`
    Add { group: String, users: Vec<String> },
    /// Removes staff members from a group.
    Remove { group: String, users: Vec<String> },
    /// Deletes groups; their members stay. Refused while a route or a rule names one.
    Delete {
        #[arg(required = true)]
        names: Vec<String>,
    },
}

impl StaffGroupsCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = settings()?;
        let store = app::command_store(&config).await?;
        let actor = format!("cli:{}", config::operator()?);
        let by = PeopleActor {
            actor: &actor,
            now: Clock::System.now(),
            bounds: &AccessBounds::All,
        };
        match self.action {
            StaffGroupsSubcommand::List { json } => {
                let mut all = Vec::new();
                for group in rows::groups(&store, &AccessBounds::All).await? {
                    let members = everybody(&store, Some(&group.name)).await?;
                    let members: Vec<String> = members.into_iter().map(|it| it.name).collect();
                    all.push((group, members));
                }
                if json {
                    let all: Vec<_> = all
                        .iter()
                        .map(|(group, members)| serde_json::json!({ "name": group.name, "description": group.description, "members": members, "catalogue": group.catalogue }))
                        .collect();
                    say(serde_json::json!(all).to_string());
                    return Ok(());
                }
                for (group, members) in &all {
                    let description = group.description.as_deref().unwrap_or("");
                    say(format!(
                        "{:<24} {:>3}  {description}",
                        group.name, group.members
                    ));
                    for name in members {
                        say(format!("    {name}"));
                    }
                }
            }
            StaffGroupsSubcommand::Ensure {
                names,
                description,
                from,
            } => {
                let mut wanted: Vec<(String, Option<String>)> = names
                    .into_iter()
                    .map(|name| (name, description.clone()))
                    .collect();
                for file in from {
                    let text = std::fs::read_to_string(&file)
                        .with_context(|| format!("{} cannot be read", file.display()))?;
                    match catalogue::parse(&text, &config.catalogues.values) {
                        Ok(parsed) => wanted.extend(
                            parsed
                                .catalogue
                                .group
                                .into_iter()
                                .map(|group| (group.name, group.description)),
                        ),
                        Err(mistakes) => {
                            for mistake in mistakes.0 {
                                complain(&mistake.with_file(&file.display().to_string()));
                            }
                            bail!("no group was created");
                        }
                    }
                }
                if wanted.is_empty() {
                    bail!("no group is named: give names, or --from FILE");
                }
                for (name, description) in wanted {
                    let done = people::ensure_group(&store, by, &name, description.as_deref())
                        .await
                        .map_err(refused)?;
                    let what = if done.created { "Created" } else { "Exists" };
                    let members = match done.members {
                        1 => "1 member".to_owned(),
                        many => format!("{many} members"),
                    };
                    say(format!("{what:<8} {name} ({members})"));
                }
            }
            StaffGroupsSubcommand::Add { group, users } => {
                for user in users {
                    let new = people::add_member(&store, by, &group, &user)
                        .await
                        .map_err(refused)?;
                    let what = if new { "is in" } else { "was already in" };
                    say(format!("{user} {what} {group}"));
                }
            }
            StaffGroupsSubcommand::Delete { names } => {
                for name in names {
                    people::delete_group(&store, by, &name)
                        .await
                        .map_err(|error| undone(error, format!("{name} is not deleted")))?;
                    say(format!("{name} is deleted; its members stay."));
                }
            }
            StaffGroupsSubcommand::Remove { group, users } => {
                for user in users {
                    let was = people::remove_member(&store, by, &group, &user)
                        .await
                        .map_err(refused)?;
                    let what = if was { "is no longer in" } else { "was not in" };
                    say(format!("{user} {what} {group}"));
                }
            }
        }
        Ok(())
    }
}
