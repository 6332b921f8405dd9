//! A mail server. What it has to say later comes as mails that `herald bounce` reads.

use serde_json::{Value, json};

use super::{
    ProviderUnderTest,
    stand_in::{ProviderStandIn, StandInFate},
};
use crate::{
    harness::{MailFate, MailServer, TestApp},
    mail_returns::{bounce, bounced},
};

#[derive(Clone, Copy)]
pub struct Smtp;

impl ProviderUnderTest for Smtp {
    type StandIn = MailServer;

    fn kind(&self) -> &'static str {
        "smtp"
    }

    async fn stand_in(&self) -> MailServer {
        MailServer::start().await
    }

    fn sender(&self, port: u16) -> Value {
        json!({ "kind": "smtp", "endpoint_id": "shop@example.com",
            "settings": { "host": "127.0.0.1", "port": port.to_string(), "tls": "none", "bounces": "bounces@example.com" } })
    }

    fn recipient(&self) -> &'static str {
        "asha@example.com"
    }

    /// The attempt stands in the address that the mail comes from.
    fn our_id(&self, message: &str) -> Option<String> {
        let (_, from) = message.split_once("MAIL FROM:<bounces+")?;
        from.split_once('@').map(|(attempt, _)| attempt.to_owned())
    }

    /// Nothing but that a mail came back.
    fn facts(&self) -> &'static [&'static str] {
        &["failed"]
    }

    /// A report that comes before the answer is stored is tried again by the mail server.
    fn reports_before_its_answer(&self) -> bool {
        false
    }

    async fn report(&self, app: &TestApp, _id: &str, our_id: Option<&str>, _fact: &str) {
        let to = format!("bounces+{}@example.com", our_id.unwrap());
        let said = bounce(&app.database_url, &returned(&to), &[]);
        assert_eq!(said.status.code(), Some(0), "{said:?}");
    }

    /// One about another mail, one about none, and one over HTTP.
    async fn report_without_proof(&self, app: &TestApp, _id: &str, our_id: &str, _fact: &str) {
        let other = our_id.chars().rev().collect::<String>();
        for to in [
            format!("bounces+{other}@example.com"),
            "bounces@example.com".to_owned(),
        ] {
            let said = bounce(&app.database_url, &returned(&to), &[]);
            assert_eq!(said.status.code(), Some(0), "{said:?}");
        }
        let url = format!("{}/webhooks/smtp", app.base);
        let post = app.http.post(url).body(returned("bounces@example.com"));
        assert_eq!(post.send().await.unwrap().status(), 404);
    }
}

fn returned(to: &str) -> String {
    bounced(to, "failed", "5.1.1", "550 5.1.1 no such user")
}

impl ProviderStandIn for MailServer {
    fn port(&self) -> u16 {
        self.port
    }

    fn plays(&self, fates: &[StandInFate]) {
        let fates: Vec<MailFate> = fates
            .iter()
            .map(|fate| match fate {
                StandInFate::Taken(_) => MailFate::Taken,
                StandInFate::TakenSlowly(_) => MailFate::TakenSlowly,
                StandInFate::Refused => MailFate::RecipientRefused("550 5.1.1 no such user"),
                StandInFate::Denied => MailFate::SenderRefused("530 5.7.0 Authentication required"),
                StandInFate::Lost => MailFate::TakenAndCut,
            })
            .collect();
        self.plays(&fates);
    }

    /// Those of which it had at least the address.
    fn messages(&self) -> Vec<String> {
        let mails = self.attempted().into_iter();
        mails
            .map(|mail| format!("MAIL FROM:<{}>\n{}", mail.from, mail.text))
            .collect()
    }

    async fn until_slow(&self) {
        self.until_slow().await;
    }

    fn release(&self) {
        self.release();
    }

    async fn stop(&self) {
        self.stop().await;
    }

    async fn restart(&self) {
        self.restart().await;
    }
}
