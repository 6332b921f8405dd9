//! People, and what they write.

use super::{DAY_SECONDS, MINUTE_SECONDS, SettingDeclaration, SettingsReader, section};
use crate::domain::preference::normal;

section! {
    /// What is done about what people write, and about who they are.
    #[derive(Clone, Debug)]
    pub struct PeopleSettings {
        /// The words for STOP and START.
        pub words: ConsentKeywords,
        /// `herald.window.closing` is raised this long before a 24-hour window is closed.
        #[setting("HERALD_WINDOW_CLOSING_MINUTES" = "60", times(MINUTE_SECONDS, 1, 23 * 60))]
        pub window_closing_seconds: i64,
        /// How long an unexplained new user id at a known number is undecided. Then it counts as
        /// another person's, and opt-outs of either apply to both.
        #[setting("HERALD_NEW_ID_DECIDED_DAYS" = "30", times(DAY_SECONDS, 1, 365))]
        pub identity_patience_seconds: i64,
        /// `true` marks inbound messages as read (blue ticks).
        #[setting("WHATSAPP_MARK_READ" = "false", flag)]
        pub mark_read: bool,
    }
}

section! {
    /// The words by which people stop and start, in capitals and without punctuation.
    #[derive(Clone, Debug)]
    pub struct ConsentKeywords {
        /// Words, separated by commas, by which a person opts out of all messages except one-time
        /// passwords.
        #[setting("HERALD_STOP_WORDS" = "STOP, UNSUBSCRIBE, STOPALL, ARRET, ARRÊT, BAJA, PARAR, SAIR, CANCELAR, रोकें, बंद करें, இனி வேண்டாம், IMA, MISA", words)]
        pub stop: Vec<String>,
        /// Words by which a person opts in again.
        #[setting("HERALD_START_WORDS" = "START, SUBSCRIBE, UNSTOP, ALTA, VOLTAR, शुरू करें", words)]
        pub start: Vec<String>,
    }
}

impl SettingsReader<'_> {
    /// Words, separated by commas.
    fn words(&mut self, setting: SettingDeclaration) -> Vec<String> {
        let text = self.text(setting);
        let words = text.split(',').map(normal);
        words.filter(|word| !word.is_empty()).collect()
    }
}
