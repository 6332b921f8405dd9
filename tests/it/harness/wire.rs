//! A wire to PostgreSQL that can be cut, or go silent as when a host vanishes: nothing arrives
//! any more, and neither side learns of it.

use std::sync::Arc;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What a wire does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Carries,
    Silent,
    /// What connects is turned away.
    Cut,
}

/// A port on this machine that leads to a server.
pub struct Wire {
    pub port: u16,
    state: Arc<watch::Sender<State>>,
}

impl Wire {
    /// To a server such as `postgres://herald@127.0.0.1:5432`.
    pub async fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = server.rsplit('@').next().unwrap().to_owned();
        let state = Arc::new(watch::Sender::new(State::Carries));
        let watched = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((mut here, _)) = listener.accept().await {
                if *watched.borrow() == State::Cut {
                    continue;
                }
                let (target, mut state) = (target.clone(), watched.subscribe());
                tokio::spawn(async move {
                    let carry = async {
                        let mut there = TcpStream::connect(&target).await.unwrap();
                        drop(copy_bidirectional(&mut here, &mut there).await);
                    };
                    tokio::select! {
                        () = carry => return,
                        _ = state.wait_for(|state| *state == State::Silent) => {}
                    }
                    // Both ends stay open, and nothing is said.
                    std::future::pending::<()>().await;
                });
            }
        });
        Self { port, state }
    }

    /// From now on nothing arrives, on connections that exist and on new ones.
    pub fn go_silent(&self) {
        self.state.send_replace(State::Silent);
    }

    /// Turns away what connects from now on.
    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Carries again what connects from now on.
    pub fn mend(&self) {
        self.state.send_replace(State::Carries);
    }
}
