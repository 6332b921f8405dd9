//! Hashes passwords in one thread, with memory that is allocated once.
//!
//! Each hash takes 19 MiB (OWASP's parameters for Argon2id, which are the crate's defaults). With a
//! thread and an allocation for each, strangers would decide how much memory this process takes.

use std::sync::{Arc, OnceLock, mpsc};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash, Salt},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Sign-ins that wait for the thread or are being checked; further ones are refused and may retry.
pub const MAX_WAITING: usize = 16;

/// Largest memory parameter of a stored hash, in blocks of 1 KiB.
const MAX_BLOCKS: usize = 64 * 1024;

type PasswordHashingJob = Box<dyn FnOnce(&mut PasswordHashingMemory) + Send>;

/// The hashing thread. It starts with the first password and ends when this is dropped.
#[derive(Debug)]
pub struct PasswordHasher {
    places: Arc<Semaphore>,
    work: OnceLock<Option<mpsc::Sender<PasswordHashingJob>>>,
}

/// A place in the queue; nothing is hashed without one.
#[derive(Debug)]
pub struct PasswordHashingSlot {
    _permit: OwnedSemaphorePermit,
}

impl Default for PasswordHasher {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(MAX_WAITING)),
            work: OnceLock::new(),
        }
    }
}

impl PasswordHasher {
    /// Takes a place in the queue; `None` if all are taken.
    pub fn place(&self) -> Option<PasswordHashingSlot> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(PasswordHashingSlot { _permit: permit })
    }

    /// A new hash of a password in the PHC string format; `None` if it could not be made.
    pub async fn hash(&self, place: PasswordHashingSlot, password: SecretString) -> Option<String> {
        self.run(place, move |memory| memory.hash(&password).ok())
            .await
            .flatten()
    }

    /// Whether a password matches the stored hash. Without a hash it takes as long and is false.
    pub async fn matches(
        &self,
        place: PasswordHashingSlot,
        password: SecretString,
        kept: Option<String>,
    ) -> bool {
        self.run(place, move |memory| {
            memory.matches(&password, kept.as_deref())
        })
        .await
        .unwrap_or(false)
    }

    /// Processes requests one after the other, and skips those that have been cancelled.
    async fn run<T: Send + 'static>(
        &self,
        place: PasswordHashingSlot,
        work: impl FnOnce(&mut PasswordHashingMemory) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let thread = self.work.get_or_init(start).as_ref()?;
        let work = move |memory: &mut PasswordHashingMemory| {
            if !answer.is_closed() {
                // The receiver may be gone: the request has ended.
                drop(answer.send(work(memory)));
            }
            drop(place);
        };
        thread.send(Box::new(work)).ok()?;
        answered.await.ok()
    }
}

fn start() -> Option<mpsc::Sender<PasswordHashingJob>> {
    let (sender, receiver) = mpsc::channel::<PasswordHashingJob>();
    let thread = std::thread::Builder::new()
        .name("passwords".to_owned())
        .spawn(move || {
            let mut memory = PasswordHashingMemory::default();
            while let Ok(work) = receiver.recv() {
                work(&mut memory);
            }
        });
    if let Err(error) = &thread {
        tracing::error!(event = "passwords.no_thread", %error, "the thread that hashes passwords could not be started: nobody can sign in with a password until Herald is restarted");
    }
    thread.ok().map(|_detached| sender)
}

/// The memory of the thread.
#[derive(Default)]
struct PasswordHashingMemory {
    blocks: Vec<Block>,
    /// Hash that the password for an unknown name is checked against, so that it takes as long.
    unknown: Option<String>,
}

impl PasswordHashingMemory {
    /// As many blocks as `params` needs; kept for the next hash.
    fn blocks(&mut self, params: &Params) -> argon2::Result<&mut [Block]> {
        let count = params.block_count();
        if count > MAX_BLOCKS {
            return Err(argon2::Error::MemoryTooMuch);
        }
        if self.blocks.len() < count {
            self.blocks.resize(count, Block::new());
        }
        Ok(&mut self.blocks)
    }

    fn hash(&mut self, password: &SecretString) -> argon2::password_hash::Result<String> {
        let argon = Argon2::default();
        let mut salt = [0; Salt::RECOMMENDED_LENGTH];
        getrandom::fill(&mut salt).map_err(|_no_random| argon2::password_hash::Error::Internal)?;
        let mut hash = [0; Params::DEFAULT_OUTPUT_LEN];
        let password = password.expose_secret().as_bytes();
        let blocks = self.blocks(argon.params())?;
        argon.hash_password_into_with_memory(password, &salt, &mut hash, blocks)?;
        let kept = PasswordHash {
            algorithm: Algorithm::default().ident(),
            version: Some(Version::default().into()),
            params: ParamsString::try_from(argon.params())?,
            salt: Some(Salt::new(&salt)?),
            hash: Some(Output::new(&hash)?),
        };
        Ok(kept.to_string())
    }

    fn matches(&mut self, password: &SecretString, kept: Option<&str>) -> bool {
        if let Some(kept) = kept {
            return self.verify(password, kept).unwrap_or(false);
        }
        if self.unknown.is_none() {
            let nobody = SecretString::from("nobody has this password");
            self.unknown = self.hash(&nobody).ok();
        }
        if let Some(unknown) = self.unknown.clone() {
            let _never = self.verify(password, &unknown);
        }
        false
    }

    fn verify(
        &mut self,
        password: &SecretString,
        kept: &str,
    ) -> argon2::password_hash::Result<bool> {
        let kept = PasswordHash::new(kept)?;
        let (Some(salt), Some(expected)) = (&kept.salt, &kept.hash) else {
            return Ok(false);
        };
        let algorithm = Algorithm::try_from(kept.algorithm.as_str())?;
        let version = kept.version.map(Version::try_from).transpose()?;
        let params = Params::try_from(&kept)?;
        let mut hash = vec![0; expected.len()];
        let password = password.expose_secret().as_bytes();
        let blocks = self.blocks(&params)?;
        Argon2::new(algorithm, version.unwrap_or_default(), params)
            .hash_password_into_with_memory(password, salt, &mut hash, blocks)?;
        // Compared in constant time by the type's own `PartialEq`.
        Ok(Output::new(&hash)? == *expected)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use secrecy::SecretString;

    use super::{MAX_WAITING, PasswordHasher, PasswordHashingMemory};

    fn password(text: &str) -> SecretString {
        SecretString::from(text)
    }

    #[tokio::test]
    async fn a_password_is_known_again_and_no_other() {
        let passwords = PasswordHasher::default();
        let place = || passwords.place().unwrap();
        let kept = passwords
            .hash(place(), password("one of these"))
            .await
            .unwrap();
        assert!(
            kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{kept}"
        );
        let matches = async |text: &str, kept: Option<&str>| {
            passwords
                .matches(place(), password(text), kept.map(str::to_owned))
                .await
        };
        assert!(matches("one of these", Some(&kept)).await);
        assert!(!matches("one of those", Some(&kept)).await);
        assert!(!matches("nobody has this password", None).await);
        assert!(!matches("x", Some("not a hash")).await);
        assert!(
            !matches(
                "x",
                Some("$argon2id$v=19$m=2097152,t=1,p=1$c29tZXNhbHQ$aGFzaGhhc2hoYXNoaGFzaA")
            )
            .await
        );
        // Compatible with the crate's own hashes: stored ones stay valid.
        let theirs = {
            use argon2::{Argon2, PasswordHasher, PasswordVerifier};
            Argon2::default()
                .verify_password(b"one of these", kept.as_str())
                .unwrap();
            Argon2::default()
                .hash_password(b"another")
                .unwrap()
                .to_string()
        };
        assert!(matches("another", Some(&theirs)).await);
    }

    #[tokio::test]
    async fn all_are_hashed_by_one_thread_in_one_allocation() {
        let passwords = PasswordHasher::default();
        let mut seen = HashSet::new();
        for _ in 0..4 {
            let place = passwords.place().unwrap();
            let work = |memory: &mut PasswordHashingMemory| {
                memory.matches(&password("x"), None);
                (
                    std::thread::current().id(),
                    memory.blocks.as_ptr().addr(),
                    memory.blocks.len(),
                )
            };
            seen.insert(passwords.run(place, work).await.unwrap());
        }
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(seen.into_iter().next().unwrap().2, 19_456);
    }

    #[tokio::test]
    async fn who_finds_no_place_is_told_and_places_come_back() {
        let passwords = PasswordHasher::default();
        let mut places: Vec<_> = std::iter::from_fn(|| passwords.place()).collect();
        assert_eq!(places.len(), MAX_WAITING);
        passwords
            .matches(places.pop().unwrap(), password("x"), None)
            .await;
        // A cancelled request is not hashed, and its place is returned, too.
        let gone = passwords.matches(places.pop().unwrap(), password("x"), None);
        drop(gone);
        assert!(passwords.place().is_some());
    }
}
