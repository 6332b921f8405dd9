//! Compares the catalogue's templates with those of the provider's accounts, creates and changes
//! them there, and learns their status.

mod learn;
mod pull;

pub use learn::{known_category, learn, release};
pub use pull::{PulledCatalogue, TemplatePullReport, pull};

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    domain::{
        category::TemplateCategory,
        template::{
            layout::{TemplateHeader, TemplateLayout},
            name::at_meta,
        },
        template_status::TemplateStatus,
        time::Timestamp,
    },
    engine::{
        Engine,
        runtime::{
            keyring::{self, ProviderCredentialSet},
            template_layout::layout,
        },
    },
    providers::{
        HttpClient, MessagingProvider, OTHER_PARTS, ProviderTemplateFormat,
        RemoteTemplate as Remote, RemoteTemplateDirectory, TemplateDefinition as Definition,
        TemplateDifference, TemplateDirectoryError, TemplateSampleFile,
    },
    store::{StoreError, catalogue},
};

/// The operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateSyncMode {
    /// Compare only; change nothing.
    Plan,
    Sync,
}

/// What happened to one template in one account, or would happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateSyncOutcome {
    /// The account has the template as the catalogue wants it.
    Same,
    WouldCreate,
    /// Created; with the status it waits in.
    Created,
    /// It was created by someone else between our comparison and our call.
    Adopted,
    WouldChange,
    Changed,
    /// It differs and cannot be changed now, with the reason.
    Stuck(String),
    Failed(String),
}

impl TemplateSyncOutcome {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::WouldCreate => "would_create",
            Self::Created => "created",
            Self::Adopted => "adopted",
            Self::WouldChange => "would_change",
            Self::Changed => "changed",
            Self::Stuck(_) => "stuck",
            Self::Failed(_) => "failed",
        }
    }
}

/// One template in one account.
#[derive(Clone, Debug)]
pub struct TemplateSyncReport {
    pub account: String,
    /// Name in the catalogue.
    pub template: String,
    /// Name in the account.
    pub name: String,
    pub language: String,
    pub outcome: TemplateSyncOutcome,
    pub drift: Vec<TemplateDifference>,
    pub status: Option<TemplateStatus>,
    pub reason: Option<String>,
    pub id: Option<String>,
}

/// An account that was compared.
#[derive(Debug)]
pub struct AccountTemplateComparison {
    pub account: String,
    /// The reports, or why the account could not be read.
    pub reports: Result<Vec<TemplateSyncReport>, String>,
    /// Templates that are in no catalogue: name, language, status.
    pub elsewhere: Vec<(String, String, TemplateStatus)>,
}

/// The catalogues' templates as Meta wants them, for creating them by hand.
pub async fn definitions(
    engine: &Engine,
    only: Option<&str>,
) -> Result<Vec<(String, String, Result<Value, String>)>, StoreError> {
    let suffix = engine.settings.template_suffix.as_deref();
    let mut all = Vec::new();
    for (row, layout) in ours(engine, only).await? {
        let document = layout.and_then(|layout| {
            let name = at_meta(&row.name, suffix);
            match engine.providers().template_format() {
                Some(format) => format.document(of(&row, &name, &layout)),
                None => Err("no provider reviews templates".to_owned()),
            }
        });
        all.push((row.name, row.language, document));
    }
    Ok(all)
}

type ParsedTemplateRow = (entity::template::Model, Result<TemplateLayout, String>);

async fn ours(engine: &Engine, only: Option<&str>) -> Result<Vec<ParsedTemplateRow>, StoreError> {
    let names: BTreeSet<String> = catalogue::template_names(&engine.store)
        .await?
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| only.is_none_or(|only| only == name))
        .collect();
    let mut all = Vec::new();
    for name in names {
        for row in catalogue::translations(engine.store.reader(), &name).await? {
            let layout = layout(&row);
            all.push((row, layout));
        }
    }
    Ok(all)
}

fn of<'a>(
    row: &'a entity::template::Model,
    name: &'a str,
    layout: &'a TemplateLayout,
) -> Definition<'a> {
    Definition {
        name,
        language: &row.language,
        category: TemplateCategory::parse(&row.category).unwrap_or_default(),
        named: row.parameter_format == "NAMED",
        ttl_seconds: row.ttl_seconds,
        layout,
        sample: None,
    }
}

/// Sample files for Meta's reviewers, by the name of the template whose header they belong to.
pub type SampleFiles = BTreeMap<String, TemplateSampleFile>;

/// A request to synchronize templates.
#[derive(Clone, Copy, Debug)]
pub struct TemplateSyncRequest<'a> {
    /// Only this template; all if absent.
    pub only: Option<&'a str>,
    pub doing: TemplateSyncMode,
    pub samples: &'a SampleFiles,
}

/// Compares every account, and creates or changes its templates if asked to. A template that fails
/// reports why, and the others continue.
pub async fn sync(
    engine: &Engine,
    http: &HttpClient,
    asked: TemplateSyncRequest<'_>,
    now: Timestamp,
) -> Result<Vec<AccountTemplateComparison>, StoreError> {
    let ring = engine.keyring();
    let ours = ours(engine, asked.only).await?;
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for reviewed in reviewed(engine, &ring) {
        let account = reviewed.account;
        let Some(account_id) = account.account_id.clone() else {
            all.push(AccountTemplateComparison {
                account: account.name.clone(),
                reports: Err(NO_ACCOUNT.to_owned()),
                elsewhere: Vec::new(),
            });
            continue;
        };
        if !seen.insert(account_id.clone()) {
            continue;
        }
        all.push(one(engine, http, reviewed, &account_id, &ours, asked, now).await?);
    }
    Ok(all)
}

async fn one(
    engine: &Engine,
    http: &HttpClient,
    reviewed: TemplateReviewSender<'_>,
    account_id: &str,
    ours: &[ParsedTemplateRow],
    asked: TemplateSyncRequest<'_>,
    now: Timestamp,
) -> Result<AccountTemplateComparison, StoreError> {
    let TemplateReviewSender {
        account,
        provider,
        format,
    } = reviewed;
    let mut looked = AccountTemplateComparison {
        account: account.name.clone(),
        reports: Ok(Vec::new()),
        elsewhere: Vec::new(),
    };
    let Some(directory) = directory(provider, http, account) else {
        looked.reports = Err(account.obstacle().unwrap_or_default());
        return Ok(looked);
    };
    let remote = match directory.all().await {
        Ok(remote) => remote,
        Err(refusal) => {
            looked.reports = Err(refusal.to_string());
            return Ok(looked);
        }
    };
    learn(engine, account_id, &remote, now).await?;
    let suffix = engine.settings.template_suffix.as_deref();
    let mut reports = Vec::with_capacity(ours.len());
    for (row, layout) in ours {
        let name = at_meta(&row.name, suffix);
        let found = remote
            .iter()
            .find(|it| it.name == name && it.language == row.language);
        let mut report = TemplateSyncReport {
            account: account.name.clone(),
            template: row.name.clone(),
            language: row.language.clone(),
            outcome: TemplateSyncOutcome::Same,
            drift: Vec::new(),
            status: found.map(|it| it.status),
            reason: found.and_then(|it| it.rejected_reason.clone()),
            id: found.map(|it| it.id.clone()),
            name,
        };
        match layout {
            Err(error) => report.outcome = TemplateSyncOutcome::Failed(error.clone()),
            Ok(layout) => {
                let name = report.name.clone();
                let wanted = DesiredTemplate {
                    definition: of(row, &name, layout),
                    sample: asked.samples.get(&row.name),
                    doing: asked.doing,
                };
                let remote = RemoteTemplateAccount {
                    format,
                    directory: directory.as_ref(),
                };
                match found {
                    None => remote.create(wanted, &mut report).await,
                    Some(found) => remote.change(wanted, found, &mut report).await,
                }
            }
        }
        if let (TemplateSyncOutcome::Created, Some(status)) = (&report.outcome, &report.status) {
            let made = Remote {
                id: report.id.clone().unwrap_or_default(),
                name: report.name.clone(),
                language: report.language.clone(),
                status: *status,
                ..Remote::default()
            };
            learn(engine, account_id, &[made], now).await?;
        }
        reports.push(report);
    }
    if asked.only.is_none() {
        looked.elsewhere = remote
            .into_iter()
            .filter(|it| {
                let known = |row: &entity::template::Model| {
                    at_meta(&row.name, suffix) == it.name && row.language == it.language
                };
                !ours.iter().any(|(row, _)| known(row))
            })
            .map(|it| (it.name, it.language, it.status))
            .collect();
    }
    looked.reports = Ok(reports);
    Ok(looked)
}

/// A sender whose provider reviews templates.
#[derive(Clone, Copy)]
struct TemplateReviewSender<'a> {
    account: &'a keyring::SenderAccount,
    provider: &'a dyn MessagingProvider,
    format: &'a dyn ProviderTemplateFormat,
}

/// The senders whose providers review templates.
fn reviewed<'a>(
    engine: &'a Engine,
    ring: &'a ProviderCredentialSet,
) -> impl Iterator<Item = TemplateReviewSender<'a>> {
    ring.accounts.iter().filter_map(|account| {
        let provider = engine.providers().find(&account.kind)?.as_ref();
        Some(TemplateReviewSender {
            account,
            provider,
            format: provider.template_format()?,
        })
    })
}

/// The templates of a sender's account, if it has a token.
fn directory(
    provider: &dyn MessagingProvider,
    http: &HttpClient,
    account: &keyring::SenderAccount,
) -> Option<Box<dyn RemoteTemplateDirectory>> {
    provider.templates(http, &account.connection()?)
}

/// Where a template is made and changed.
#[derive(Clone, Copy)]
struct RemoteTemplateAccount<'a> {
    format: &'a dyn ProviderTemplateFormat,
    directory: &'a dyn RemoteTemplateDirectory,
}

/// A template as the catalogue wants it.
#[derive(Clone, Copy)]
struct DesiredTemplate<'a> {
    definition: Definition<'a>,
    sample: Option<&'a TemplateSampleFile>,
    doing: TemplateSyncMode,
}

/// Placeholder for a sample where nothing is sent.
const SOME_SAMPLE: &str = "sample";

impl<'a> DesiredTemplate<'a> {
    /// The template as it is sent to Meta. A media header is uploaded if there is a sample for it.
    async fn sent(
        &self,
        directory: &dyn RemoteTemplateDirectory,
        handle: &'a mut Option<String>,
    ) -> Result<Definition<'a>, TemplateDirectoryError> {
        if self.doing == TemplateSyncMode::Plan {
            let sample = self.sample.map(|_| SOME_SAMPLE);
            return Ok(Definition {
                sample,
                ..self.definition
            });
        }
        let header = &self.definition.layout.extras().header;
        let is_file = !matches!(
            header,
            None | Some(TemplateHeader::Text { .. } | TemplateHeader::Location { .. })
        );
        if let Some(sample) = self.sample.filter(|_| is_file) {
            *handle = Some(directory.upload(sample).await?);
        }
        Ok(Definition {
            sample: handle.as_deref(),
            ..self.definition
        })
    }
}

impl RemoteTemplateAccount<'_> {
    async fn create(self, wanted: DesiredTemplate<'_>, report: &mut TemplateSyncReport) {
        let mut handle = None;
        let definition = match wanted.sent(self.directory, &mut handle).await {
            Ok(definition) => definition,
            Err(error) => {
                report.outcome = TemplateSyncOutcome::Failed(format!("its sample: {error}"));
                return;
            }
        };
        if let Err(impossible) = self.format.check(definition) {
            report.outcome = TemplateSyncOutcome::Failed(impossible);
            return;
        }
        if wanted.doing == TemplateSyncMode::Plan {
            report.outcome = TemplateSyncOutcome::WouldCreate;
            return;
        }
        match self.directory.create(definition).await {
            Ok(created) => {
                report.outcome = TemplateSyncOutcome::Created;
                report.status = Some(created.status);
                report.id = Some(created.id);
            }
            Err(error) if error.is_taken => self.adopt(wanted.definition, report).await,
            Err(error) => report.outcome = TemplateSyncOutcome::Failed(error.to_string()),
        }
    }

    /// The template was created between our comparison and our call: reads how it looks.
    async fn adopt(self, definition: Definition<'_>, report: &mut TemplateSyncReport) {
        report.outcome = TemplateSyncOutcome::Adopted;
        let found = match self.directory.named(&report.name).await {
            Ok(found) => found,
            Err(error) => {
                let why = format!("it is there and cannot be read: {error}");
                report.outcome = TemplateSyncOutcome::Failed(why);
                return;
            }
        };
        let Some(found) = found
            .into_iter()
            .find(|it| it.name == report.name && it.language == report.language)
        else {
            return;
        };
        report.drift = self.format.drift(definition, &found);
        report.status = Some(found.status);
        report.reason = found.rejected_reason;
        report.id = Some(found.id);
    }

    async fn change(
        self,
        wanted: DesiredTemplate<'_>,
        found: &Remote,
        report: &mut TemplateSyncReport,
    ) {
        report.drift = self.format.drift(wanted.definition, found);
        let texts_differ = report.drift.iter().any(|it| it.part != "category");
        if report.drift.is_empty() {
            return;
        }
        report.outcome = if !texts_differ {
            TemplateSyncOutcome::Stuck(
                "Meta has decided on its category: it cannot be changed".to_owned(),
            )
        } else if report.drift.iter().any(|it| it.part == OTHER_PARTS) {
            TemplateSyncOutcome::Stuck(
                "it has parts that a catalogue cannot express: a change would remove them"
                    .to_owned(),
            )
        } else if !self.format.is_editable(found.status) {
            TemplateSyncOutcome::Stuck(format!(
                "it is {}: Meta lets it be changed when it is approved, rejected or paused",
                found.status.phrase()
            ))
        } else {
            self.send_change(wanted, found, report).await
        };
    }

    async fn send_change(
        self,
        wanted: DesiredTemplate<'_>,
        found: &Remote,
        report: &mut TemplateSyncReport,
    ) -> TemplateSyncOutcome {
        let mut handle = None;
        let definition = match wanted.sent(self.directory, &mut handle).await {
            Ok(definition) => definition,
            Err(error) => return TemplateSyncOutcome::Failed(format!("its sample: {error}")),
        };
        if let Err(impossible) = self.format.check(definition) {
            return TemplateSyncOutcome::Stuck(impossible);
        }
        if wanted.doing == TemplateSyncMode::Plan {
            return TemplateSyncOutcome::WouldChange;
        }
        match self.directory.edit(&found.id, definition).await {
            Ok(()) => {
                report.status = Some(TemplateStatus::Pending);
                TemplateSyncOutcome::Changed
            }
            Err(error) => TemplateSyncOutcome::Failed(error.to_string()),
        }
    }
}

/// Result of reading every account.
#[derive(Debug, Default)]
pub struct TemplateRefreshReport {
    /// Number of changes.
    pub changed: usize,
    /// Senders whose accounts could not be read, with the reason.
    pub unread: Vec<(String, String)>,
}

/// Reads every account and stores the statuses; creates nothing. An account that cannot be read is
/// reported and does not stop the others.
pub async fn refresh(
    engine: &Engine,
    http: &HttpClient,
    now: Timestamp,
) -> Result<TemplateRefreshReport, StoreError> {
    let ring = engine.keyring();
    let mut seen = BTreeSet::new();
    let mut done = TemplateRefreshReport::default();
    for TemplateReviewSender {
        account, provider, ..
    } in reviewed(engine, &ring)
    {
        let read = match (&account.account_id, directory(provider, http, account)) {
            (None, _) => Err(NO_ACCOUNT.to_owned()),
            (Some(account_id), _) if !seen.insert(account_id.clone()) => continue,
            (Some(_), None) => Err(account.obstacle().unwrap_or_default()),
            (Some(account_id), Some(directory)) => match directory.all().await {
                Ok(remote) => Ok(learn(engine, account_id, &remote, now).await?),
                Err(error) => Err(error.to_string()),
            },
        };
        match read {
            Ok(changed) => done.changed += changed,
            Err(why) => done.unread.push((account.name.clone(), why)),
        }
    }
    Ok(done)
}

/// Why the account of a sender cannot be read.
const NO_ACCOUNT: &str = "it has no WABA id: set WHATSAPP_WABA_ID, or herald senders set";
