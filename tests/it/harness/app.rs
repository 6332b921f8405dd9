//! A running server whose workers are stepped by the test.

use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use herald::{
    app::{App, ServerStartOptions},
    config::{Config, SecretStrictness},
    domain::{catalogue::CataloguePlan, notification::AttemptState, time::Timestamp},
    engine::{
        Engine,
        catalogue::{
            self, CatalogueApplyError, CatalogueMistakes, CataloguePlaceholderValues,
            ManualChangePolicy,
        },
        delivery::{self, follow_up, sweeper},
        ingest::{self, inbox::CallbackMemoryQueue},
        intake,
        people::identity,
        runtime::{
            access::{self, ApiKeyRole, ApiKeySpec},
            keyring::REVISION,
        },
    },
    providers::ProviderRegistry,
    shutdown::ShutdownTokens,
    state::{Clock, random_bytes},
    store::{self, Store, notification::NotificationRecord, sender, timeline},
    workers::inbox::CallbackProcessor,
};
use hmac::{Hmac, KeyInit, Mac};
use sea_orm::EntityTrait;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{Database, FakeMeta, databases::migrated_database, pgbouncer::is_pooled};

pub const APP_SECRET: &str = "app-secret-for-tests";
pub const VERIFY_TOKEN: &str = "verify-token-for-tests";
pub const PHONE_NUMBER_ID: &str = "106540352242922";
pub const SECRET_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// 2026-01-01T00:00:00Z
pub const START: i64 = 1_767_225_600;

/// A whole Herald.
pub struct TestApp {
    pub base: String,
    pub key: String,
    /// A key that may change senders.
    pub admin_key: String,
    pub http: reqwest::Client,
    pub engine: Arc<Engine>,
    pub store: Store,
    pub meta: FakeMeta,
    pub sender: Uuid,
    pub handover: Arc<CallbackMemoryQueue>,
    pub database_url: String,
    clock: Arc<AtomicI64>,
    processor: tokio::sync::Mutex<CallbackProcessor>,
    stop: ShutdownTokens,
    server: Option<JoinHandle<()>>,
    folder: Option<tempfile::TempDir>,
}

impl TestApp {
    pub async fn spawn(database: &Database) -> Self {
        Self::spawn_with(database, &[], "").await
    }

    /// A server with more settings, on a database address with more parameters.
    pub async fn spawn_with(
        database: &Database,
        settings: &[(&str, &str)],
        parameters: &str,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database_url = migrated_database(database, folder.path()).await + parameters;
        let mut app = Self::start(&database_url, settings).await;
        app.folder = Some(folder);
        app
    }

    /// A server on a database that exists.
    pub async fn start(database_url: &str, settings: &[(&str, &str)]) -> Self {
        Self::start_with(database_url, settings, ProviderRegistry::standard()).await
    }

    /// A server that knows these providers.
    pub async fn start_with(
        database_url: &str,
        settings: &[(&str, &str)],
        providers: ProviderRegistry,
    ) -> Self {
        let mut values: HashMap<String, String> = [
            ("DATABASE_URL", database_url),
            ("HERALD_DATABASE_CONNECTIONS", "6"),
            ("WHATSAPP_PHONE_NUMBER_ID", PHONE_NUMBER_ID),
            ("WHATSAPP_ACCESS_TOKEN", "token-for-tests"),
            ("WHATSAPP_APP_SECRET", APP_SECRET),
            ("WHATSAPP_WEBHOOK_VERIFY_TOKEN", VERIFY_TOKEN),
            ("WHATSAPP_API_BASE", "http://127.0.0.1:9"),
            ("HERALD_SEND_PER_SECOND", "0"),
            ("HERALD_HTTP_WORKERS", "1"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        if is_pooled(database_url) {
            values.insert("HERALD_DATABASE_POOLED".to_owned(), "true".to_owned());
        }
        for (name, value) in settings {
            values.insert((*name).to_owned(), (*value).to_owned());
        }
        let config = Config::read(&values, SecretStrictness::Production).unwrap();
        let clock = Arc::new(AtomicI64::new(Timestamp::from_unix_seconds(START).micros()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let options = ServerStartOptions {
            clock: Clock::Fixed(Arc::clone(&clock)),
            migrate: true,
            no_workers: true,
            providers,
            ..ServerStartOptions::default()
        };
        let secret_key = values
            .get("HERALD_SECRET_KEY")
            .map_or(SECRET_KEY, String::as_str);
        let app = App::build(&config, &SecretString::from(secret_key), listener, options)
            .await
            .unwrap();
        let engine = Arc::clone(&app.state.engine);
        let store = engine.store.clone();
        let handover = Arc::clone(&app.handover);
        let now = Timestamp::from_micros(clock.load(Ordering::SeqCst));
        let sender = store
            .write(async |tx| {
                store::setting::count_up(tx, REVISION, now).await?;
                Ok(sender::ensure(tx, "meta", PHONE_NUMBER_ID, None, now)
                    .await?
                    .id)
            })
            .await
            .unwrap();
        engine.refresh_keyring().await.unwrap();
        let mut keys = Vec::new();
        for role in [ApiKeyRole::Product, ApiKeyRole::Admin] {
            let random = random_bytes().unwrap();
            let wanted = ApiKeySpec::all("tests", role);
            let made = access::create_key(&store, "tests", &wanted, &random, now)
                .await
                .unwrap();
            keys.push(made.key.text.expose_secret().to_owned());
        }
        let [key, admin_key] = keys.try_into().unwrap();
        let stop = ShutdownTokens::default();
        let stopping = stop.clone();
        let server = tokio::spawn(async move { app.run(stopping).await.unwrap() });
        Self {
            base: format!("http://{address}"),
            key,
            admin_key,
            http: herald::providers::http_client(
                std::time::Duration::from_secs(20),
                std::time::Duration::from_secs(5),
            )
            .unwrap(),
            engine,
            store,
            meta: FakeMeta::default(),
            sender,
            handover,
            database_url: database_url.to_owned(),
            clock,
            processor: tokio::sync::Mutex::new(CallbackProcessor::default()),
            stop,
            server: Some(server),
            folder: None,
        }
    }

    /// Stops the server and keeps its database.
    pub async fn shut_down(mut self) -> (String, Option<tempfile::TempDir>) {
        self.stop.soft.cancel();
        self.server.take().unwrap().await.unwrap();
        (self.database_url.clone(), self.folder.take())
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.load(Ordering::SeqCst))
    }

    /// Lets time pass.
    pub fn pass(&self, seconds: i64) {
        self.clock.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }

    pub async fn apply_catalogue(&self, text: &str) {
        self.try_catalogue(text).await.unwrap();
    }

    /// Applies a catalogue, or says what is wrong with it.
    pub async fn try_catalogue(&self, text: &str) -> Result<CataloguePlan, Vec<String>> {
        let told =
            |wrong: CatalogueMistakes| wrong.0.iter().map(ToString::to_string).collect::<Vec<_>>();
        let parsed = catalogue::parse(text, &Self::catalogue_values()).map_err(told)?;
        match catalogue::apply(&self.store, &[parsed], ManualChangePolicy::Keep, self.now()).await {
            Ok(mut plans) => Ok(plans.remove(0)),
            Err(CatalogueApplyError::Mistakes(mut wrong)) => Err(told(wrong.remove(0))),
            Err(CatalogueApplyError::Conflicts(plans)) => Err(plans[0]
                .conflicts()
                .map(|step| format!("{}: changed by hand", step.id))
                .collect()),
            Err(CatalogueApplyError::Store(error)) => panic!("{error}"),
        }
    }

    /// What catalogues may use, as the settings' defaults say.
    pub fn catalogue_values() -> CataloguePlaceholderValues {
        let values = std::collections::HashMap::new();
        Config::read(&values, SecretStrictness::Development)
            .unwrap()
            .catalogues
            .values
    }

    // ---- what a client does ----

    pub async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self
            .http
            .get(format!("{}{path}", self.base))
            .bearer_auth(&self.key)
            .send()
            .await
            .unwrap();
        (
            answer.status().as_u16(),
            answer.json().await.unwrap_or(Value::Null),
        )
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let answer = self
            .http
            .post(format!("{}{path}", self.base))
            .bearer_auth(&self.key)
            .json(body)
            .send()
            .await
            .unwrap();
        (
            answer.status().as_u16(),
            answer.json().await.unwrap_or(Value::Null),
        )
    }

    pub async fn request(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let answer = self
            .http
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.key)
            .json(body)
            .send()
            .await
            .unwrap();
        let code = answer.status().as_u16();
        (code, answer.json().await.unwrap_or(Value::Null))
    }

    pub async fn post_with_key(&self, path: &str, body: &Value, key: &str) -> (u16, Value) {
        let answer = self
            .http
            .post(format!("{}{path}", self.base))
            .bearer_auth(&self.key)
            .header("Idempotency-Key", key)
            .json(body)
            .send()
            .await
            .unwrap();
        let code = answer.status().as_u16();
        (code, answer.json().await.unwrap_or(Value::Null))
    }

    /// What somebody with an admin key asks for.
    pub async fn admin(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.admin_key);
        if !body.is_null() {
            request = request.json(body);
        }
        let answer = request.send().await.unwrap();
        (
            answer.status().as_u16(),
            answer.json().await.unwrap_or(Value::Null),
        )
    }

    /// Sends what is due with what a sender sends with. Says how many calls were made.
    pub async fn send_of(&self, sender: Uuid) -> usize {
        let mut calls = 0;
        loop {
            let made = delivery::turn_of(&self.engine, sender, 500, self.now())
                .await
                .unwrap();
            calls += made;
            if made == 0 {
                return calls;
            }
        }
    }

    /// Posts an event and gives back its answer.
    pub async fn event(&self, id: &str, kind: &str, data: Value) -> Value {
        let body = json!({ "id": id, "source": "tests", "type": kind, "data": data });
        let (status, answer) = self.post("/api/v1/events", &body).await;
        assert_eq!(status, 202, "{answer}");
        answer
    }

    /// One order, one notification.
    pub async fn order(&self, id: &str, phone: &str) -> String {
        let data = json!({ "phone": phone, "customer": "Asha", "order_number": id });
        let answer = self.event(id, "demo.order.created", data).await;
        answer["notifications"][0]
            .as_str()
            .expect("no notification")
            .to_owned()
    }

    pub async fn notification(&self, id: &str) -> Value {
        let (status, found) = self.get(&format!("/api/v1/notifications/{id}")).await;
        assert_eq!(status, 200, "{found}");
        found
    }

    pub async fn status_of(&self, id: &str) -> String {
        self.notification(id).await["status"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub async fn stats(&self) -> Value {
        let (code, stats) = self.get("/api/v1/stats?hours=9600").await;
        assert_eq!(code, 200, "{stats}");
        stats
    }

    // ---- what Meta does ----

    /// Posts bytes with a signature header.
    pub async fn callback_with(&self, body: Vec<u8>, signature: Option<&str>) -> (u16, String) {
        let mut request = self
            .http
            .post(format!("{}/webhooks/meta", self.base))
            .body(body);
        if let Some(signature) = signature {
            request = request.header("X-Hub-Signature-256", signature);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Posts signed bytes.
    pub async fn callback_bytes(&self, body: Vec<u8>) -> u16 {
        let signature = sign(APP_SECRET, &body);
        self.callback_with(body, Some(&signature)).await.0
    }

    /// Posts one signed change of the `messages` field and processes it.
    pub async fn callback(&self, value: Value) {
        let body = self::value(value).to_string().into_bytes();
        assert_eq!(self.callback_bytes(body).await, 200);
        self.process().await;
    }

    /// A status of a notification's newest attempt.
    pub async fn told(&self, notification: &str, name: &str, code: Option<i64>) {
        let found = self.notification(notification).await;
        let attempt = found["attempts"]
            .as_array()
            .unwrap()
            .last()
            .unwrap()
            .clone();
        let wamid = attempt["provider_message_id"]
            .as_str()
            .unwrap_or("wamid.UNHEARD")
            .to_owned();
        let at = self.now().unix_seconds();
        let our_id = format!("{}.{notification}", attempt["id"].as_str().unwrap());
        let mut status = status(&wamid, Some(&our_id), name, at, code);
        let address =
            entity::notification::Entity::find_by_id(notification.parse::<Uuid>().unwrap())
                .one(self.store.reader())
                .await
                .unwrap()
                .and_then(|row| row.address)
                .unwrap_or_default();
        if let Some(number) = address.strip_prefix('+') {
            status["recipient_id"] = json!(number);
        } else {
            status.as_object_mut().unwrap().remove("recipient_id");
            status["recipient_user_id"] = json!(address);
        }
        self.callback(json!({ "statuses": [status] })).await;
    }

    // ---- what the workers do ----

    /// Processes callbacks until none is left.
    pub async fn process(&self) {
        let mut processor = self.processor.lock().await;
        while processor
            .turn(&self.engine, &self.handover, self.now())
            .await
            .unwrap()
            == herald::workers::WorkerTurnOutcome::Worked
        {}
    }

    /// Processes one batch of callbacks.
    pub async fn process_once(&self) {
        self.try_process_once().await.unwrap();
    }

    /// The same, which may fail.
    pub async fn try_process_once(&self) -> Result<(), store::StoreError> {
        let mut processor = self.processor.lock().await;
        let turn = processor.turn(&self.engine, &self.handover, self.now());
        turn.await.map(drop)
    }

    /// Sends what is due. Says how many calls were made.
    pub async fn send(&self) -> usize {
        let mut calls = 0;
        loop {
            let made = delivery::turn(&self.engine, &self.meta, self.sender, 500, self.now())
                .await
                .unwrap();
            calls += made;
            if made == 0 {
                return calls;
            }
        }
    }

    /// Makes the calls of a claim, and writes down what they brought.
    pub async fn answer(&self, claim: delivery::DeliveryClaimOutcome) {
        let mut answers = Vec::new();
        for job in claim.jobs {
            answers.push(delivery::call(&self.meta, job).await);
        }
        delivery::settle(&self.engine, self.sender, &answers, 500, self.now())
            .await
            .unwrap();
        identity::learn_answered(&self.engine, self.now())
            .await
            .unwrap();
    }

    /// Fires timers and expands events until nothing is due.
    pub async fn follow_up(&self) {
        while follow_up::turn(&self.engine, self.now()).await.unwrap() > 0 {}
        while intake::expand_turn(&self.engine, self.now()).await.unwrap() {}
    }

    /// One turn of what becomes due with time.
    pub async fn watch_once(&self) {
        sweeper::turn(&self.engine, self.now()).await.unwrap();
    }

    pub async fn watch(&self) {
        while sweeper::turn(&self.engine, self.now()).await.unwrap() > 0 {}
    }

    /// Everything until nothing is due.
    pub async fn settle(&self) {
        for _ in 0..5 {
            self.process().await;
            self.follow_up().await;
            self.send().await;
            self.watch().await;
        }
    }

    /// Anything that is not JSON.
    pub async fn text(&self, path: &str) -> (u16, String) {
        let answer = self
            .http
            .get(format!("{}{path}", self.base))
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Replaces connections that were cut.
    pub async fn reconnect(&self) {
        for _ in 0..20 {
            for file in self.store.files() {
                for connection in [file.reader(), file.raw_writer()] {
                    drop(store::dialect::query_one(connection, "SELECT 1", []).await);
                }
            }
        }
    }

    /// Writes bytes and reads the head of the answer.
    pub async fn raw(&self, text: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let address = self.base.trim_start_matches("http://");
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let size = stream.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..size]).into_owned()
    }

    /// The callback that came last.
    pub async fn newest_callback(&self) -> Uuid {
        store::callback::newest(&self.store, 1).await.unwrap()[0].id
    }

    /// How many callbacks are stored.
    pub async fn callbacks_stored(&self) -> i64 {
        self.number("SELECT CAST(coalesce(sum(bodies), 0) AS bigint) FROM inbox_segment")
            .await
    }

    /// How many callbacks are stored and not applied.
    pub async fn callbacks_waiting(&self) -> i64 {
        let (inbox, main) = (self.store.inbox().reader(), self.store.reader());
        let waiting = store::callback::waiting(inbox, main).await.unwrap();
        waiting.callbacks
    }

    /// How many callbacks are marked as applied.
    pub async fn callbacks_applied(&self) -> i64 {
        let all = self.callbacks().await;
        i64::try_from(all.iter().filter(|listed| listed.processed).count()).unwrap()
    }

    /// All callbacks as they are listed, newest first.
    pub async fn callbacks(&self) -> Vec<store::callback::CallbackListRow> {
        store::callback::newest(&self.store, 100_000).await.unwrap()
    }

    /// Items and dead items of the callback that came last.
    pub async fn newest_counts(&self) -> (i64, i64) {
        let newest = store::callback::newest(&self.store, 1).await.unwrap();
        (newest[0].items.unwrap(), newest[0].dead_items.unwrap())
    }

    /// Applies a callback's dead letters again.
    pub async fn replay(&self, callback: Uuid) -> ingest::CallbackBatchSummary {
        let outcome = ingest::replay(&self.engine, callback, self.now());
        match outcome.await.unwrap() {
            ingest::CallbackReplayOutcome::Applied(applied) => applied,
            other => panic!("it was not replayed: {other:?}"),
        }
    }

    /// One number out of the database.
    pub async fn number(&self, sql: &str) -> i64 {
        let row = store::dialect::query_one(self.file_of(sql).reader(), sql, [])
            .await
            .unwrap()
            .unwrap();
        row.try_get_by_index(0).unwrap()
    }

    /// Where the tables that a statement names are.
    fn file_of(&self, sql: &str) -> &store::Store {
        let of_inbox = ["segment", "digest", "repeat", "pending"];
        if of_inbox
            .iter()
            .any(|table| sql.contains(&format!("inbox_{table}")))
        {
            self.store.inbox()
        } else {
            &self.store
        }
    }

    /// Texts out of the database.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        store::dialect::query(self.file_of(sql).reader(), sql, [])
            .await
            .unwrap()
            .iter()
            .map(|row| row.try_get_by_index(0).unwrap())
            .collect()
    }

    /// Runs SQL that only a test needs.
    pub async fn sql(&self, sql: &str) {
        self.file_of(sql)
            .write(async |tx| {
                store::ConnectionTrait::execute_unprepared(tx, sql).await?;
                Ok(())
            })
            .await
            .unwrap();
    }
}

thread_local! {
    static STOPPING: std::cell::RefCell<Vec<JoinHandle<()>>> = const { std::cell::RefCell::new(Vec::new()) };
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.stop.soft.cancel();
        STOPPING.with_borrow_mut(|stopping| stopping.extend(self.server.take()));
    }
}

/// Waits for the servers of this thread's test to stop.
pub async fn stopped() {
    let servers = STOPPING.with_borrow_mut(std::mem::take);
    for server in servers {
        drop(tokio::time::timeout(std::time::Duration::from_secs(10), server).await);
    }
}

/// The header that signs `body`.
pub fn sign(secret: &str, body: &[u8]) -> String {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

impl TestApp {
    /// The attempts of all notifications.
    pub async fn attempts(&self) -> Vec<AttemptState> {
        let rows = entity::notification::Entity::find();
        let rows = rows.all(self.store.reader()).await.unwrap();
        let of = |row| NotificationRecord::of(row).unwrap().attempts;
        rows.iter().flat_map(of).collect()
    }

    /// How many lines all timelines have.
    pub async fn timeline_lines(&self) -> usize {
        let rows = entity::notification::Entity::find();
        let mut lines = 0;
        for row in rows.all(self.store.reader()).await.unwrap() {
            lines += timeline::of_notification(&self.store, &row)
                .await
                .unwrap()
                .len();
        }
        lines
    }
}

/// A callback with one change of the `messages` field.
pub fn value(mut value: Value) -> Value {
    let object = value.as_object_mut().unwrap();
    object.insert("messaging_product".to_owned(), json!("whatsapp"));
    object.insert(
        "metadata".to_owned(),
        json!({ "display_phone_number": "15550783881", "phone_number_id": PHONE_NUMBER_ID }),
    );
    json!({
        "object": "whatsapp_business_account",
        "entry": [{ "id": "102290129340398", "changes": [{ "field": "messages", "value": value }] }],
    })
}

/// A status as Meta writes it.
pub fn status(wamid: &str, our_id: Option<&str>, name: &str, at: i64, code: Option<i64>) -> Value {
    let mut status = json!({ "id": wamid, "status": name, "timestamp": at.to_string(), "recipient_id": "12025550101" });
    let object = status.as_object_mut().unwrap();
    if let Some(our_id) = our_id {
        object.insert("biz_opaque_callback_data".to_owned(), json!(our_id));
    }
    if let Some(code) = code {
        object.insert(
            "errors".to_owned(),
            json!([{ "code": code, "title": "played", "error_data": { "details": "by a test" } }]),
        );
    }
    status
}

/// A document for a snapshot: ids differ from run to run.
pub fn without_ids(mut document: Value) -> Value {
    match &mut document {
        // What travels with a message is two of them.
        Value::String(text) if text.split('.').all(|id| Uuid::parse_str(id).is_ok()) => {
            "[id]".clone_into(text);
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| *item = without_ids(item.take())),
        Value::Object(object) => object
            .values_mut()
            .for_each(|value| *value = without_ids(value.take())),
        _ => {}
    }
    document
}
