//! Where this server is.

use std::{net::SocketAddr, path::PathBuf};

use crate::domain::settings::{SettingDeclaration, SettingsReader, section};

section! {
    /// Where this server is, and where it keeps its files.
    #[derive(Clone, Debug)]
    pub struct ServerSettings {
        /// Address and port to listen on.
        #[setting("HERALD_LISTEN" = "127.0.0.1:8080", address)]
        pub listen: SocketAddr,
        /// The address at which people and Meta reach this server, such as
        /// `https://herald.example.org`: for links, and for `herald check`. With https, the cookies
        /// of the dashboard are sent over TLS only.
        #[setting("HERALD_PUBLIC_URL", address_of_pages)]
        pub public_url: Option<String>,
        /// Where the embedded database and the key of `herald dev` live.
        #[setting("HERALD_DATA_DIR" = "./data", path)]
        pub data_dir: PathBuf,
    }
}

impl SettingsReader<'_> {
    fn address(&mut self, setting: SettingDeclaration) -> SocketAddr {
        let address = self.text(setting).parse();
        address.unwrap_or_else(|_| {
            let rule = "an address and a port, such as 127.0.0.1:8080";
            self.refuse(setting.name, rule);
            SocketAddr::from(([127, 0, 0, 1], 8080))
        })
    }

    /// Paths are appended to it, so that it has no slash at the end.
    fn address_of_pages(&mut self, setting: SettingDeclaration) -> Option<String> {
        let url = self.optional_url(setting)?;
        Some(url.trim_end_matches('/').to_owned())
    }
}
