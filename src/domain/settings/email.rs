//! The mail server of the environment.

use secrecy::{ExposeSecret, SecretString};

use super::{SettingDeclaration, SettingsReader, section};
use crate::domain::{email::EmailAddress, smtp_url::SmtpUrl};

section! {
    /// The mail server of the environment. It belongs to the sender of its address.
    #[derive(Clone, Debug, Default)]
    pub struct EmailSettings {
        /// The mail server: smtp://USER:PASSWORD@HOST:PORT (TLS after STARTTLS, required), smtps://…
        /// (TLS at once), or smtp://…?tls=none for one on this machine.
        #[setting("SMTP_URL", smtp_url)]
        pub smtp_url: Option<SecretString>,
        /// The address that mails come from.
        #[setting("SMTP_FROM", mailbox)]
        pub from: Option<String>,
        /// The name beside that address.
        #[setting("SMTP_FROM_NAME", optional_text)]
        pub from_name: Option<String>,
        /// A file, in PEM, of the authority that has signed the mail server's certificate, if no
        /// public one has.
        #[setting("SMTP_CA_FILE", absolute_path)]
        pub ca_file: Option<String>,
        /// Where bounces go, such as bounces@example.com: each mail has an address of its own
        /// there, bounces+ID@example.com, which `herald bounce` reads.
        #[setting("SMTP_BOUNCES", mailbox)]
        pub bounces: Option<String>,
    }
}

impl SettingsReader<'_> {
    /// The address of a mail server, which may hold a password.
    fn smtp_url(&mut self, setting: SettingDeclaration) -> Option<SecretString> {
        let url = self.secret(setting)?;
        if let Err(rule) = SmtpUrl::parse(url.expose_secret()) {
            self.refuse(setting.name, rule);
        }
        Some(url)
    }

    /// A file, wherever Herald was started.
    fn absolute_path(&mut self, setting: SettingDeclaration) -> Option<String> {
        let text = self.optional_text(setting)?;
        if !text.starts_with('/') {
            self.refuse(
                setting.name,
                "an absolute path, such as /etc/herald/mail-ca.pem",
            );
        }
        Some(text)
    }

    /// An e-mail address.
    fn mailbox(&mut self, setting: SettingDeclaration) -> Option<String> {
        let text = self.optional_text(setting)?;
        if let Err(rule) = EmailAddress::parse(&text) {
            self.refuse(setting.name, rule);
        }
        Some(text)
    }
}
