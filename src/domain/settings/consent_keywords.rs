//! The words by which people opt out and in, such as STOP and START.

use super::{SettingDeclaration, SettingsReader, section};
use crate::domain::consent_keywords::normal;

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
