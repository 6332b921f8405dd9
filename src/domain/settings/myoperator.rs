//! The number of the environment at MyOperator.

use secrecy::SecretString;

use super::{SettingDeclaration, SettingsReader, section};
use crate::domain::phone::Phone;

section! {
    /// A number at MyOperator. Its credentials belong to the sender of that number.
    #[derive(Clone, Debug, Default)]
    pub struct MyOperatorSettings {
        /// The number that sends through MyOperator, in E.164.
        #[setting("MYOPERATOR_PHONE_NUMBER", phone_number)]
        pub phone_number: Option<String>,
        /// The key of MyOperator's API, without `Bearer`.
        #[setting("MYOPERATOR_API_KEY", credential)]
        pub api_key: Option<SecretString>,
        /// What MyOperator's callbacks prove themselves by, in a header or the URL; several,
        /// separated by commas, while it is replaced.
        #[setting("MYOPERATOR_API_SECRET", credentials)]
        pub callback_secrets: Vec<SecretString>,
        /// MyOperator's id of the company.
        #[setting("MYOPERATOR_ACCOUNT_ID", optional_text)]
        pub company_id: Option<String>,
        /// Meta's id of the business account, as MyOperator lists it. Needed for templates.
        #[setting("MYOPERATOR_WABA_ID", optional_text)]
        pub waba_id: Option<String>,
        /// Address of MyOperator's API; a simulator's for tests.
        #[setting("MYOPERATOR_API_BASE" = "https://publicapi.myoperator.co", url)]
        pub api_base: String,
    }
}

impl SettingsReader<'_> {
    /// A number in E.164.
    fn phone_number(&mut self, setting: SettingDeclaration) -> Option<String> {
        let text = self.optional_text(setting)?;
        match Phone::parse(&text) {
            Ok(phone) => Some(phone.e164().to_owned()),
            Err(rule) => {
                self.refuse(setting.name, rule);
                None
            }
        }
    }
}
