//! What a listener remembers of sessions, so that clients can resume them: never longer than its trust.
//!
//! To resume is to skip the check of the client's certificate. With client certificates it is therefore off unless
//! asked for, sessions are kept here and not in tickets that clients hold, and each has an end. Without them a
//! ticket proves nothing about anybody, and costs no memory.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ServerConfig, ServerSessionMemoryCache, StoresServerSessions,
};
use rustls::time_provider::TimeProvider;

use super::Clients;
use crate::tls::trust::system_time;

/// How many sessions are kept for clients with certificates; the oldest go first.
const SESSIONS_MAX: usize = 4096;
/// How large one may be: it holds the client's chain, to which a client can add what it likes.
const SESSION_BYTES_MAX: usize = 8 * 1024;
/// How long one is kept.
const SESSION_AGE_MAX: Duration = Duration::from_secs(3600);

/// The memory of one listener under one trust.
#[derive(Clone, Debug)]
pub(super) struct Sessions {
    storage: Arc<dyn StoresServerSessions>,
    /// Tickets, for whoever shows no certificate.
    ticketer: Option<Arc<dyn ProducesTickets>>,
    resumption: bool,
}

impl Sessions {
    /// An empty memory. `next_update` is when the first revocation list runs out.
    pub(super) fn new(
        clients: Option<&Clients>,
        next_update: Option<SystemTime>,
        clock: &Arc<dyn TimeProvider>,
    ) -> Result<Self, rustls::Error> {
        Ok(match clients {
            None => Self {
                storage: ServerSessionMemoryCache::new(SESSIONS_MAX),
                ticketer: Some(Ticketer::new()?),
                resumption: true,
            },
            Some(clients) if clients.resumption => Self {
                storage: Arc::new(Ending {
                    kept: ServerSessionMemoryCache::new(SESSIONS_MAX),
                    end: next_update,
                    clock: Arc::clone(clock),
                }),
                ticketer: None,
                resumption: true,
            },
            Some(_) => {
                Self { storage: Arc::new(NoServerSessionStorage {}), ticketer: None, resumption: false }
            }
        })
    }

    pub(super) fn put_into(&self, config: &mut ServerConfig) {
        config.session_storage = Arc::clone(&self.storage);
        if let Some(ticketer) = &self.ticketer {
            config.ticketer = Arc::clone(ticketer);
        }
        if !self.resumption {
            config.send_tls13_tickets = 0;
        }
    }
}

/// Sessions that end: each an hour after its handshake, all when a revocation list runs out. Its value is the second
/// of its handshake, then what rustls stores.
#[derive(Debug)]
struct Ending {
    kept: Arc<ServerSessionMemoryCache>,
    end: Option<SystemTime>,
    clock: Arc<dyn TimeProvider>,
}

impl Ending {
    fn now(&self) -> Option<SystemTime> {
        self.clock.current_time().map(system_time).filter(|now| self.end.is_none_or(|end| *now < end))
    }

    fn valid(&self, value: &[u8]) -> Option<Vec<u8>> {
        let (second, session) = value.split_first_chunk::<8>()?;
        let since = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from_be_bytes(*second));
        let age = self.now()?.duration_since(since).ok()?;
        (age < SESSION_AGE_MAX).then(|| session.to_vec())
    }
}

impl StoresServerSessions for Ending {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        if value.len() > SESSION_BYTES_MAX {
            return false;
        }
        let Some(now) = self.now().and_then(|now| now.duration_since(SystemTime::UNIX_EPOCH).ok()) else {
            return false;
        };
        self.kept.put(key, [now.as_secs().to_be_bytes().as_slice(), &value].concat())
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.kept.get(key).and_then(|value| self.valid(&value))
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.kept.take(key).and_then(|value| self.valid(&value))
    }

    fn can_cache(&self) -> bool {
        self.now().is_some()
    }
}

#[cfg(test)]
mod tests {
    use rustls::time_provider::DefaultTimeProvider;

    use super::*;

    #[test]
    fn a_session_is_given_back_as_it_was_and_a_large_one_is_not_kept() {
        let kept = ServerSessionMemoryCache::new(4);
        let sessions = Ending { kept, end: None, clock: Arc::new(DefaultTimeProvider) };
        assert!(sessions.put(b"one".to_vec(), vec![7; SESSION_BYTES_MAX]));
        assert_eq!(sessions.get(b"one"), Some(vec![7; SESSION_BYTES_MAX]));
        assert_eq!(sessions.take(b"one"), Some(vec![7; SESSION_BYTES_MAX]));
        assert_eq!(sessions.get(b"one"), None);
        assert!(!sessions.put(b"two".to_vec(), vec![7; SESSION_BYTES_MAX + 1]));
        assert!(sessions.can_cache());
    }
}
