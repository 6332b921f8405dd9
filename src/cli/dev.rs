//! `herald dev`: everything on one laptop, without a Meta account.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use tokio_util::task::TaskTracker;

use super::{
    built_in::{CATALOGUES, is_meant},
    dev_file::DevServerConnectionFile,
    sandbox::people as special_numbers,
    say, scenario, users,
};
use crate::{
    app::{App, ServerStartOptions},
    config::{self, Config, ConfigError, SecretStrictness},
    domain::{
        access::{AccessBounds, ApiKeyScopes, ProductAccess},
        login::DashboardRole,
        phone::Phone,
    },
    engine::{
        InputError,
        catalogue::{
            self, CatalogueApplyError, CatalogueMistakes, CataloguePlaceholderValues,
            ManualChangePolicy,
        },
        people::{self, PeopleActor, StaffContactSpec},
        runtime::{
            access,
            logins::{self, DashboardUserError},
        },
    },
    sandbox::{self, SandboxConfig, SandboxMyOperatorConfig},
    shutdown::ShutdownTokens,
    state::{Clock, random_bytes},
    store::{Store, files, people as rows},
    telemetry,
};

/// Meta's documented sample id.
pub(super) const PHONE_NUMBER_ID: &str = "106540352242922";

/// Meta's documented sample id of an account, and the sandbox's.
pub(super) const WABA_ID: &str = "102290129340398";

/// The sandbox's company at MyOperator, and its number.
const MYOPERATOR_COMPANY: &str = "sandbox-company";
const MYOPERATOR_NUMBER: &str = "+12025550199";

/// The address that mails come from.
const MAIL_FROM: &str = "herald@example.com";

/// The limit of one-time passwords to numbers that begin alike.
const SENDS_PER_PREFIX: &str = "HERALD_VERIFICATION_SENDS_PER_PREFIX";

/// Runs everything on this machine: database, sandbox of Meta, demo catalogue, server.
///
/// Needs no settings and no Meta account. Its data stay in HERALD_DATA_DIR.
#[derive(Debug, Args)]
pub(super) struct DevCommand {
    /// Play a scripted story on a fresh directory, print what the database says
    /// at each step, and exit with 0 only if every step was true.
    #[arg(long)]
    scenario: bool,
    /// Which catalogue is loaded, and played by --scenario: demo, exam-results, solar-crm,
    /// delivery, mobile-money, or all (but demo).
    #[arg(long, default_value = "demo", value_parser = ["demo", "exam-results", "solar-crm", "delivery", "mobile-money", "all"])]
    catalogue: String,
    /// By which provider messages leave: meta or myoperator. Default: myoperator for the catalogue delivery, else meta.
    #[arg(long, value_parser = ["meta", "myoperator"])]
    provider: Option<String>,
    /// Where the sandbox listens.
    #[arg(long, default_value = "127.0.0.1:8090")]
    sandbox_listen: SocketAddr,
}

/// Addresses and secrets of a running `dev`.
pub(super) struct DevServerConnection {
    pub(super) base: String,
    pub(super) sandbox: String,
    pub(super) api_key: SecretString,
    pub(super) app_secret: String,
    /// One-time link for the first admin of the dashboard.
    pub(super) entry: SecretString,
    /// The secret of MyOperator's callbacks, if messages leave by it.
    pub(super) myoperator: Option<SecretString>,
}

impl DevCommand {
    /// Loads the requested catalogues, and removes others that an earlier run may have loaded.
    async fn load_catalogues(
        &self,
        store: &Store,
        values: &CataloguePlaceholderValues,
    ) -> anyhow::Result<()> {
        let (wanted, others): (Vec<_>, Vec<_>) = CATALOGUES
            .into_iter()
            .partition(|(name, _)| is_meant(&self.catalogue, name));
        for (name, _) in others {
            load(store, &format!("name = \"{name}\""), values).await?;
        }
        for (name, text) in wanted {
            if name == "demo" && self.scenario {
                load(store, &scenario::shortened(), values).await?;
            } else {
                load(store, text, values).await?;
            }
        }
        staff(store).await
    }

    /// Whether messages leave through MyOperator.
    fn uses_myoperator(&self) -> bool {
        let named = self.provider.as_deref().map(|name| name == "myoperator");
        named.unwrap_or(self.catalogue == "delivery")
    }

    pub(super) async fn run(self) -> anyhow::Result<()> {
        let mut values = config::from_environment()?;
        let scratch = self.scenario.then(scratch_directory).transpose()?;
        if let Some(scratch) = &scratch {
            values.insert("HERALD_DATA_DIR".to_owned(), scratch.display().to_string());
            values.insert("HERALD_LISTEN".to_owned(), "127.0.0.1:0".to_owned());
            values
                .entry("HERALD_LOG".to_owned())
                .or_insert_with(|| "warn".to_owned());
        }
        // All numbers that the sandbox plays are of one block.
        if values.get(SENDS_PER_PREFIX).is_none() {
            values.insert(SENDS_PER_PREFIX.to_owned(), "1000".to_owned());
        }
        let result = self.start(values).await;
        if let Some(scratch) = scratch {
            drop(fs::remove_dir_all(scratch));
        }
        result
    }

    async fn start(self, mut values: config::SettingValues) -> anyhow::Result<()> {
        let sandbox_address = if self.scenario {
            SocketAddr::from(([127, 0, 0, 1], 0))
        } else {
            self.sandbox_listen
        };
        let sandbox_listener = TcpListener::bind(sandbox_address).with_context(|| {
            format!("the sandbox cannot listen on {sandbox_address}: try --sandbox-listen")
        })?;
        let sandbox_url = format!("http://{}", sandbox_listener.local_addr()?);
        let mail_listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .context("the sandbox's mail server cannot listen")?;
        let mail_url = format!("smtp://{}?tls=none", mail_listener.local_addr()?);
        let token = format!("sandbox-{}", random_hex()?);
        let app_secret = random_hex()?;
        let verify_token = random_hex()?;
        let callback_secret = random_hex()?;
        let of_both = [
            ("WHATSAPP_ENABLED", "true"),
            ("WHATSAPP_APP_SECRET", app_secret.as_str()),
            ("WHATSAPP_WEBHOOK_VERIFY_TOKEN", verify_token.as_str()),
            ("WHATSAPP_API_BASE", sandbox_url.as_str()),
            ("SMTP_URL", mail_url.as_str()),
            ("SMTP_FROM", MAIL_FROM),
        ];
        let of_meta = [
            ("WHATSAPP_PHONE_NUMBER_ID", PHONE_NUMBER_ID),
            ("WHATSAPP_WABA_ID", WABA_ID),
            ("WHATSAPP_ACCESS_TOKEN", token.as_str()),
        ];
        let of_myoperator = [
            ("MYOPERATOR_PHONE_NUMBER", MYOPERATOR_NUMBER),
            ("MYOPERATOR_ACCOUNT_ID", MYOPERATOR_COMPANY),
            ("MYOPERATOR_API_KEY", token.as_str()),
            ("MYOPERATOR_API_SECRET", callback_secret.as_str()),
            ("MYOPERATOR_API_BASE", sandbox_url.as_str()),
        ];
        let (used, unused) = if self.uses_myoperator() {
            (&of_myoperator[..], &of_meta[..])
        } else {
            (&of_meta[..], &of_myoperator[..])
        };
        for (name, _) in unused {
            values.remove(*name);
        }
        let kept_settings: Vec<(&str, &str)> = of_both.iter().chain(used).copied().collect();
        for (name, value) in &kept_settings {
            values.insert((*name).to_owned(), (*value).to_owned());
        }
        let mut config = values.config(SecretStrictness::Development)?;
        telemetry::init_logs(&config.log.filter, config.log.json)
            .map_err(|mistake| ConfigError(vec![mistake]))?;
        let secret_key = match &config.secrets.key {
            Some(key) => key.clone(),
            None => SecretString::from(kept(&config.server.data_dir, "secret.key", random_hex)?),
        };
        files::make_folder(&config.server.data_dir)
            .with_context(|| format!("{} cannot be made", config.server.data_dir.display()))?;
        let listener = TcpListener::bind(config.server.listen).with_context(|| {
            format!(
                "HERALD_LISTEN: {} cannot be listened on",
                config.server.listen
            )
        })?;
        let base = format!("http://{}", listener.local_addr()?);
        // Without it, mails would have no link to unsubscribe.
        let public_url = config
            .server
            .public_url
            .get_or_insert_with(|| base.clone())
            .clone();
        let mut for_commands = kept_settings.clone();
        for_commands.push(("HERALD_SECRET_KEY", secret_key.expose_secret()));
        for_commands.push(("HERALD_PUBLIC_URL", &public_url));
        let _dev_file = DevServerConnectionFile::write(&config.server.data_dir, &for_commands)?;
        let app = App::build(
            &config,
            &secret_key,
            listener,
            ServerStartOptions {
                migrate: true,
                ..ServerStartOptions::default()
            },
        )
        .await?;
        let store = app.state.engine.store.clone();
        self.load_catalogues(&store, &config.catalogues.values)
            .await?;
        let api_key = dev_key(&config.server.data_dir, &store).await?;
        let entry = dev_link(&store).await?;
        let quick = self.scenario;
        let delay = |slow: u64, fast: u64| Duration::from_millis(if quick { fast } else { slow });
        let stop = ShutdownTokens::default();
        let tracker = TaskTracker::new();
        let sandbox = SandboxConfig {
            phone_number_id: PHONE_NUMBER_ID.to_owned(),
            access_token: token.clone(),
            app_secret: app_secret.clone(),
            callback_url: (!self.uses_myoperator()).then(|| format!("{base}/webhooks/meta")),
            sent_after: delay(500, 50),
            delivered_after: delay(1000, 50),
            read_after: delay(3000, 100),
            takes: Duration::ZERO,
            ledger: None,
            chaos: None,
            myoperator: Some(SandboxMyOperatorConfig {
                api_key: token,
                company_id: MYOPERATOR_COMPANY.to_owned(),
                number: MYOPERATOR_NUMBER.to_owned(),
                callback_url: Some(format!("{base}/webhooks/myoperator")),
                callback_secret: callback_secret.clone(),
            }),
            mail: Some(Arc::new(mail_listener)),
            workers: 1,
        };
        tracker.spawn(report(sandbox::run(
            sandbox,
            sandbox_listener,
            stop.soft.clone(),
        )));
        let running = DevServerConnection {
            base,
            sandbox: sandbox_url,
            api_key,
            app_secret,
            entry,
            myoperator: self
                .uses_myoperator()
                .then_some(SecretString::from(callback_secret)),
        };
        let served = app.run(stop.clone());
        tokio::pin!(served);
        if self.scenario {
            let played = tokio::select! {
                ended = &mut served => ended.and(Err(anyhow::anyhow!("the server stopped by itself"))),
                played = scenario::play(&running, &self.catalogue) => played,
            };
            stop.soft.cancel();
            served.await?;
            return played;
        }
        let example = example(&store).await?;
        greet(&running, &config, &verify_token, &example);
        let signals = stop.follow_signals();
        tokio::pin!(signals);
        tokio::select! {
            ended = &mut served => ended,
            () = &mut signals => served.await,
        }
    }
}

/// An example event, as JSON.
async fn example(store: &Store) -> anyhow::Result<String> {
    let kinds = crate::store::catalogue::event_types(store, &AccessBounds::All).await?;
    let found = kinds.into_iter().find_map(|kind| {
        let data: serde_json::Value = serde_json::from_str(kind.example.as_deref()?).ok()?;
        (!kind.sensitive).then_some((kind.name, data))
    });
    let (name, data) = found.unwrap_or_else(|| {
        let data = serde_json::json!({ "phone": "+12025550101", "customer": "Asha", "order_number": "A-17" });
        ("demo.order.created".to_owned(), data)
    });
    let event = serde_json::json!({ "id": "1", "source": "try", "type": name, "data": data });
    // Safe within single quotes of a shell.
    Ok(event.to_string().replace('\'', "’"))
}

async fn report(run: impl Future<Output = anyhow::Result<()>>) {
    if let Err(error) = run.await {
        tracing::error!(event = "sandbox.stopped", %error, "the sandbox has stopped, so nothing is sent or delivered: start herald dev again");
    }
}

fn greet(running: &DevServerConnection, config: &Config, verify_token: &str, example: &str) {
    let key = running.api_key.expose_secret();
    let entry = running.entry.expose_secret();
    let DevServerConnection {
        base,
        sandbox,
        app_secret,
        myoperator,
        ..
    } = running;
    let other = myoperator.as_ref().map_or_else(String::new, |secret| {
        format!(
            "webhook          {base}/webhooks/myoperator?key={} (messages leave by MyOperator)\n  ",
            secret.expose_secret()
        )
    });
    let plays = if myoperator.is_some() {
        "No account at Meta or MyOperator is involved: the sandbox plays both, and the phones."
    } else {
        "No Meta account is involved: the sandbox plays Meta and the phones."
    };
    let example_callback = match myoperator {
        Some(secret) => myoperator_callback(base, secret),
        None => meta_callback(base, app_secret),
    };
    say(format!(
        "\nHerald runs. {plays}\n\n  \
         pages            {base}/dashboard/enter/{entry}\n                   \
         (lets you in once as admin, within an hour; then {base}/dashboard)\n  \
         API              {base}/api/v1        (document: {base}/api/v1/openapi.json)\n  \
         {other}webhook          {base}/webhooks/meta (verify token: {verify_token})\n  \
         health, metrics  {base}/readyz  {base}/metrics\n  \
         sandbox          {sandbox}/sandbox/phones (what the phones and mailboxes have got)\n  \
         data             {}\n\n\
         Send an event, and look what became of it:\n\n  \
         curl -s {base}/api/v1/events -H 'Authorization: Bearer {key}' -d \\\n    \
         '{example}'\n\n  \
         curl -s '{base}/api/v1/notifications?limit=5' -H 'Authorization: Bearer {key}'\n\n\
         {example_callback}\n\n\
         `herald check`, `send`, `templates` and the other commands work beside it, from this directory.\n\n\
         Some numbers behave specially (all in the fictional 555-01xx range):\n\n{}\n\
         Ctrl-C stops it.\n",
        config.server.data_dir.display(),
        special_numbers(),
    ));
}

/// How to play MyOperator, for people.
fn myoperator_callback(base: &str, secret: &SecretString) -> String {
    let written = serde_json::json!({ "message_id": "try-1", "event": "message.received", "customer_contact": "12025550101",
        "data": { "type": "text", "context": { "body": "hello" } } });
    format!(
        "Play MyOperator yourself: a callback in which a person writes to you.\n\n  \
         curl -s {base}/webhooks/myoperator -H 'X-API-Key: {}' -H 'Content-Type: application/json' -d \\\n    \
         '{written}'",
        secret.expose_secret()
    )
}

/// How to play Meta, for people.
fn meta_callback(base: &str, app_secret: &str) -> String {
    let written = serde_json::json!({ "object": "whatsapp_business_account", "entry": [{ "id": WABA_ID, "changes": [{
        "field": "messages", "value": { "messaging_product": "whatsapp",
            "metadata": { "display_phone_number": "15550783881", "phone_number_id": PHONE_NUMBER_ID },
            "messages": [{ "from": "12025550101", "id": "wamid.try", "type": "text", "text": { "body": "hello" },
                "timestamp": (Clock::System.now().unix_seconds()).to_string() }] } }] }] });
    format!(
        "Play Meta yourself: a signed callback in which a person writes to you.\n\n  \
         body='{written}'\n  \
         curl -s {base}/webhooks/meta -d \"$body\" -H \"X-Hub-Signature-256: sha256=$(printf %s \"$body\" |\n    \
         openssl dgst -sha256 -hmac {app_secret} | sed 's/.* //')\""
    )
}

fn random_hex() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("the system gives no random bytes")?;
    Ok(hex::encode(bytes))
}

/// A value that is created once and kept in a file that only its owner can read.
fn kept(
    directory: &Path,
    name: &str,
    make: impl FnOnce() -> anyhow::Result<String>,
) -> anyhow::Result<String> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    files::make_folder(directory)
        .with_context(|| format!("{} cannot be made", directory.display()))?;
    let path = directory.join(name);
    if let Ok(text) = fs::read_to_string(&path) {
        return Ok(text.trim().to_owned());
    }
    let value = make()?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("{} cannot be written", path.display()))?;
    writeln!(file, "{value}")?;
    Ok(value)
}

/// The API key in the printed `curl` line: kept, so that the line stays valid.
async fn dev_key(directory: &Path, store: &Store) -> anyhow::Result<SecretString> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).context("the system gives no random bytes")?;
    let text = kept(directory, "dev-api-key", || {
        Ok(access::new_key(&random).text.expose_secret().to_owned())
    })?;
    let digest = access::key_digest(&text);
    if crate::store::access::key_by_digest(store, &digest, Clock::System.now())
        .await?
        .is_none()
    {
        let now = Clock::System.now();
        let product = ProductAccess {
            name: "herald dev".to_owned(),
            ..ProductAccess::default()
        };
        store
            .write(async |tx| {
                let new = crate::store::access::NewApiKey {
                    role: access::ApiKeyRole::Admin,
                    scopes: ApiKeyScopes::of(access::ApiKeyRole::Admin),
                    product: &product,
                    prefix: &access::prefix_of(&text),
                    digest: digest.clone(),
                    expires_at: None,
                };
                crate::store::access::insert_key(tx, new, now).await
            })
            .await?;
    }
    Ok(SecretString::from(text))
}

/// A link for the admin of this laptop: it signs in once, and a restart prints another.
async fn dev_link(store: &Store) -> anyhow::Result<SecretString> {
    const NAME: &str = "dev";
    let now = Clock::System.now();
    match logins::add(store, "herald dev", NAME, DashboardRole::Admin, now).await {
        Ok(_) | Err(DashboardUserError::Taken) => {}
        Err(error) => return Err(users::refused(error)),
    }
    let random = random_bytes().context("the system gives no random bytes")?;
    logins::link(store, "herald dev", NAME, &random, now)
        .await
        .map_err(users::refused)
}

fn scratch_directory() -> anyhow::Result<PathBuf> {
    let path =
        std::env::temp_dir().join(format!("herald-scenario-{}", uuid::Uuid::new_v4().simple()));
    files::make_folder(&path).with_context(|| format!("{} cannot be made", path.display()))?;
    Ok(path)
}

/// Applies a built-in catalogue; changes made by hand stay.
async fn load(
    store: &Store,
    text: &str,
    values: &CataloguePlaceholderValues,
) -> anyhow::Result<()> {
    let refusal = |mistakes: CatalogueMistakes| {
        let all: Vec<String> = mistakes.0.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("the catalogue has mistakes: {}", all.join("; "))
    };
    let parsed = catalogue::parse(text, values).map_err(refusal)?;
    match catalogue::apply(
        store,
        &[parsed],
        ManualChangePolicy::Keep,
        Clock::System.now(),
    )
    .await
    {
        Ok(_) => Ok(()),
        Err(CatalogueApplyError::Conflicts(_)) => {
            say("The catalogue in this database was changed by hand: it is kept as it is.");
            Ok(())
        }
        Err(CatalogueApplyError::Store(error)) => Err(error.into()),
        Err(CatalogueApplyError::Mistakes(wrong)) => Err(refusal(CatalogueMistakes(
            wrong.into_iter().flat_map(|it| it.0).collect(),
        ))),
    }
}

/// Adds a staff member to every empty group, so that notifications of groups can be seen.
async fn staff(store: &Store) -> anyhow::Result<()> {
    let by = PeopleActor {
        actor: "herald dev",
        now: Clock::System.now(),
        bounds: &AccessBounds::All,
    };
    let phone = Phone::parse("+12025550191")?;
    for group in rows::groups(store, &AccessBounds::All).await? {
        if group.members > 0 {
            continue;
        }
        let whom = StaffContactSpec::Phone(phone.clone());
        let done = match people::connect(store, by, "dev-staff", &whom).await {
            Ok(_) => people::add_member(store, by, &group.name, "dev-staff").await,
            refused => refused,
        };
        match done {
            Ok(_) => {}
            Err(InputError::Invalid(wrong)) => bail!("the group {}: {wrong:?}", group.name),
            Err(InputError::Store(error)) => return Err(error.into()),
        }
    }
    Ok(())
}
