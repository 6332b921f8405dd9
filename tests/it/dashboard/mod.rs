//! The pages, as a browser without scripts sees them.

mod entry;
mod mailboxes;
mod pages;
mod people;

use herald::{domain::login::DashboardRole, engine::runtime::logins};
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};

use crate::harness::{DEMO, Database, Test, TestApp};

pub fn tests() -> Vec<Test> {
    [
        entry::tests(),
        mailboxes::tests(),
        pages::tests(),
        people::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

const PASSWORD: &str = "correct horse battery";

async fn ready(database: &Database) -> TestApp {
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(DEMO).await;
    app
}

/// What came back.
pub struct Page {
    pub status: u16,
    location: String,
    cookie: Option<String>,
    pub text: String,
    headers: reqwest::header::HeaderMap,
}

impl Page {
    /// The page has this, once its white space is one blank.
    pub fn says(&self, words: &str) -> bool {
        let text: Vec<&str> = self.text.split_whitespace().collect();
        text.join(" ").contains(words)
    }
}

/// A browser: it keeps a cookie and knows its forms' token.
pub struct Browser<'a> {
    app: &'a TestApp,
    cookie: Option<String>,
    token: String,
}

impl<'a> Browser<'a> {
    pub const fn new(app: &'a TestApp) -> Self {
        Self {
            app,
            cookie: None,
            token: String::new(),
        }
    }

    async fn ask(&mut self, method: Method, path: &str, form: &[(&str, &str)], site: &str) -> Page {
        let mut request = self
            .app
            .http
            .request(method, format!("{}{path}", self.app.base))
            .header("Sec-Fetch-Site", site);
        if let Some(cookie) = &self.cookie {
            request = request.header("Cookie", cookie);
        }
        if !form.is_empty() {
            let body: Vec<String> = form
                .iter()
                .map(|(name, value)| format!("{name}={}", encoded(value)))
                .collect();
            request = request
                .header("Content-Type", "application/x-www-form-urlencoded")
                .body(body.join("&"));
        }
        let answer = request.send().await.unwrap();
        let headers = answer.headers().clone();
        let header = |name: &str| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        let cookie = headers
            .get("set-cookie")
            .map(|cookie| cookie.to_str().unwrap().to_owned());
        if let Some(cookie) = &cookie {
            self.cookie = cookie.split(';').next().map(str::to_owned);
        }
        let page = Page {
            status: answer.status().as_u16(),
            location: header("location"),
            cookie,
            headers: headers.clone(),
            text: answer.text().await.unwrap(),
        };
        if let Some(token) = page.text.split("name=\"token\" value=\"").nth(1) {
            token.split('"').next().unwrap().clone_into(&mut self.token);
        }
        page
    }

    pub async fn get(&mut self, path: &str) -> Page {
        self.ask(Method::GET, path, &[], "none").await
    }

    /// Sends a form of this session.
    pub async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Page {
        let token = self.token.clone();
        let mut form = form.to_vec();
        form.push(("token", &token));
        self.ask(Method::POST, path, &form, "same-origin").await
    }

    /// Sends a form, and goes where it leads.
    async fn submit(&mut self, path: &str, form: &[(&str, &str)]) -> Page {
        let answer = self.post(path, form).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        self.get(&answer.location).await
    }

    /// What a name and a password bring.
    pub async fn log_in(&mut self, name: &str, password: &str) -> Page {
        let form = [
            ("name", name),
            ("password", password),
            ("next", "/dashboard/audit"),
        ];
        self.ask(Method::POST, "/dashboard/login", &form, "same-origin")
            .await
    }
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |text, byte| {
        text + "%" + &hex::encode_upper([byte])
    })
}

/// Somebody with a password, who is in.
pub async fn somebody<'a>(app: &'a TestApp, name: &str, role: DashboardRole) -> Browser<'a> {
    let (store, now) = (&app.store, app.now());
    logins::add(store, "tests", name, role, now).await.unwrap();
    let password = SecretString::from(PASSWORD);
    logins::set_password(store, "tests", name, password, now)
        .await
        .unwrap();
    let mut browser = Browser::new(app);
    let page = browser.log_in(name, PASSWORD).await;
    assert_eq!(page.status, 303, "{}", page.text);
    let page = browser.get("/dashboard").await;
    assert_eq!(page.status, 200, "{}", page.text);
    browser
}

/// A link for somebody new.
async fn link(app: &TestApp, name: &str) -> String {
    let (store, now) = (&app.store, app.now());
    logins::add(store, "tests", name, DashboardRole::Admin, now)
        .await
        .unwrap();
    let link = logins::link(store, "tests", name, &[7; 32], now)
        .await
        .unwrap();
    format!("/dashboard/enter/{}", link.expose_secret())
}
