//! Meter event sessions: random tokens that are good for 15 minutes, kept in memory.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use uuid::Uuid;

pub const MINUTES: i64 = 15;
const LIFE: Duration = Duration::from_secs(MINUTES as u64 * 60);
const SESSIONS_MAX: usize = 10_000;

/// Read by every request and written only when a session is opened, hence a lock for many readers.
#[derive(Default)]
pub struct Sessions(RwLock<HashMap<String, Instant>>);

impl Sessions {
    /// Returns a new token; None when there are too many already.
    pub fn open(&self, now: Instant) -> Option<String> {
        let mut tokens = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= SESSIONS_MAX {
            tokens.retain(|_, end| *end > now);
        }
        if tokens.len() >= SESSIONS_MAX {
            return None;
        }
        let token = Uuid::new_v4().simple().to_string();
        tokens.insert(token.clone(), now + LIFE);
        Some(token)
    }

    pub fn is_open(&self, token: &str, now: Instant) -> bool {
        let tokens = self.0.read().unwrap_or_else(PoisonError::into_inner);
        tokens.get(token).is_some_and(|end| *end > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_until_its_session_ends() {
        let sessions = Sessions::default();
        let now = Instant::now();
        let token = sessions.open(now).unwrap();
        assert!(sessions.is_open(&token, now));
        assert!(!sessions.is_open(&token, now + LIFE));
        assert!(!sessions.is_open("another", now));
    }

    #[test]
    fn sessions_are_bounded_and_make_room_when_they_end() {
        let sessions = Sessions::default();
        let now = Instant::now();
        for _ in 0..SESSIONS_MAX {
            assert!(sessions.open(now).is_some());
        }
        assert_eq!(sessions.open(now), None);
        assert!(sessions.open(now + LIFE).is_some());
    }
}
