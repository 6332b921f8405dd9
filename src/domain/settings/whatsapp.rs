//! The account of the environment.

use secrecy::SecretString;

use super::{SettingDeclaration, SettingsReader, section};

section! {
    /// What the environment says of its number. Its credentials belong to the sender of that number.
    #[derive(Clone, Debug, Default)]
    pub struct WhatsAppNumberSettings {
        /// Meta's id of the sending number. Needed for sending.
        #[setting("WHATSAPP_PHONE_NUMBER_ID" or "WHATSAPP_PHONE_ID", number_id)]
        pub phone_number_id: Option<String>,
        /// Meta's id of the business account. Needed for templates, and by `herald check` to look
        /// at the subscription.
        #[setting("WHATSAPP_WABA_ID" or "WABA_ID", optional_text)]
        pub waba_id: Option<String>,
        /// Access token with whatsapp_business_messaging. Needed for sending.
        // Without one the number's sender has one in the database, or its queue is held.
        #[setting("WHATSAPP_ACCESS_TOKEN" or "WHATSAPP_TOKEN", credential)]
        pub access_token: Option<SecretString>,
        /// Secret of the subscribed Meta app; several, separated by commas, while rotating. Needed
        /// for callbacks.
        #[setting("WHATSAPP_APP_SECRET", credentials)]
        pub app_secrets: Vec<SecretString>,
        /// The token typed into Meta's webhook form. Needed to register the webhook.
        #[setting("WHATSAPP_WEBHOOK_VERIFY_TOKEN", credential)]
        pub verify_token: Option<SecretString>,
        /// Version of the Graph API.
        #[setting("WHATSAPP_API_VERSION" = "v26.0", text)]
        pub api_version: String,
        /// Address of the Graph API; a simulator's for tests.
        #[setting("WHATSAPP_API_BASE" = "https://graph.facebook.com", url)]
        pub api_base: String,
    }
}

impl SettingsReader<'_> {
    /// An id that Meta gives to a number.
    fn number_id(&mut self, setting: SettingDeclaration) -> Option<String> {
        let id = self.optional_text(setting)?;
        if !id.bytes().all(|byte| byte.is_ascii_digit()) {
            self.refuse(
                setting.name,
                "digits only; it is Meta's id, not the phone number",
            );
        }
        Some(id)
    }
}
