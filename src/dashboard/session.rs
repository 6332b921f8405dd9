//! Stores sessions in the database: any process knows them, and a restart ends none.

use std::collections::HashMap;

use actix_session::storage::{
    LoadError, SaveError, SessionKey, SessionStore, UpdateError, generate_session_key,
};
use actix_web::{cookie::time::Duration, web};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{domain::time::Timestamp, state::AppState, store::session};

/// The field of a session with its dashboard user.
pub const LOGIN: &str = "login";

/// The field of a session with its CSRF token.
pub const TOKEN: &str = "token";

/// The session store of actix-session. Only the digest of a session key is stored: reading the
/// database does not give access.
pub struct DashboardSessionStore {
    state: web::Data<AppState>,
}

impl DashboardSessionStore {
    pub const fn new(state: web::Data<AppState>) -> Self {
        Self { state }
    }

    fn now(&self) -> Timestamp {
        self.state.clock.now()
    }
}

fn digest(key: &SessionKey) -> Vec<u8> {
    Sha256::digest(key.as_ref().as_bytes()).to_vec()
}

/// Values are JSON texts themselves.
fn login_of(state: &HashMap<String, String>) -> Option<Uuid> {
    serde_json::from_str(state.get(LOGIN)?).ok()
}

impl SessionStore for DashboardSessionStore {
    async fn load(&self, key: &SessionKey) -> Result<Option<HashMap<String, String>>, LoadError> {
        let found = session::load(&self.state.engine.store, &digest(key), self.now())
            .await
            .map_err(|error| LoadError::Other(error.into()))?;
        found
            .map(|state| serde_json::from_str(&state))
            .transpose()
            .map_err(|error| LoadError::Deserialization(error.into()))
    }

    async fn save(
        &self,
        state: HashMap<String, String>,
        ttl: &Duration,
    ) -> Result<SessionKey, SaveError> {
        let key = generate_session_key();
        let (digest, now) = (digest(&key), self.now());
        let until = now.plus_seconds(ttl.whole_seconds());
        let login = login_of(&state);
        let text = serde_json::to_string(&state)
            .map_err(|error| SaveError::Serialization(error.into()))?;
        self.state
            .engine
            .store
            .write(async |tx| session::insert(tx, &digest, login, &text, until, now).await)
            .await
            .map_err(|error| SaveError::Other(error.into()))?;
        Ok(key)
    }

    async fn update(
        &self,
        key: SessionKey,
        state: HashMap<String, String>,
        _ttl: &Duration,
    ) -> Result<SessionKey, UpdateError> {
        let login = login_of(&state);
        let kept = digest(&key);
        let text = serde_json::to_string(&state)
            .map_err(|error| UpdateError::Serialization(error.into()))?;
        let there = self
            .state
            .engine
            .store
            .write(async |tx| session::update(tx, &kept, login, &text).await)
            .await
            .map_err(|error| UpdateError::Other(error.into()))?;
        if !there {
            // The session was ended meanwhile, and stays so: the key is invalid.
            tracing::debug!(
                event = "session.ended",
                "a session was ended while it was used"
            );
        }
        Ok(key)
    }

    async fn update_ttl(&self, key: &SessionKey, ttl: &Duration) -> Result<(), anyhow::Error> {
        let digest = digest(key);
        let until = self.now().plus_seconds(ttl.whole_seconds());
        self.state
            .engine
            .store
            .write(async |tx| session::extend(tx, &digest, until).await)
            .await?;
        Ok(())
    }

    async fn delete(&self, key: &SessionKey) -> Result<(), anyhow::Error> {
        let digest = digest(key);
        self.state
            .engine
            .store
            .write(async |tx| session::end(tx, &digest).await)
            .await?;
        Ok(())
    }
}
