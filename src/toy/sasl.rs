//! The login of one connection: SaslHandshake with SaslAuthenticate, or with raw tokens as version 0 has it.

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};

use super::User;
use super::call::text;
use super::scram::{Hash, Scram};

/// The mechanisms that are offered, in Kafka's spelling.
const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/// How far a connection has come.
enum Stage {
    /// A handshake is wanted.
    Start,
    /// Tokens are exchanged, raw or in SaslAuthenticate.
    Tokens { raw: bool, exchange: Exchange },
    /// Everything may pass.
    Open,
    /// The answer that said so was the last one.
    Failed,
}

enum Exchange {
    Plain,
    Scram(Box<Scram>),
}

/// The login of one connection.
pub(super) struct Login {
    users: Vec<User>,
    stage: Stage,
}

/// The login failed.
#[derive(Debug)]
pub(super) struct Refused;

impl Login {
    pub(super) fn new(users: &[User]) -> Self {
        let stage = if users.is_empty() { Stage::Open } else { Stage::Start };
        Self { users: users.to_vec(), stage }
    }

    /// Whether the next frame is a token without a header.
    pub(super) fn takes_raw_tokens(&self) -> bool {
        matches!(self.stage, Stage::Tokens { raw: true, .. })
    }

    /// Whether a request may be answered now.
    pub(super) fn lets_pass(&self, key: i16) -> bool {
        match self.stage {
            Stage::Open => true,
            Stage::Start => matches!(key, 17 | 18),
            Stage::Tokens { .. } => key == 36,
            Stage::Failed => false,
        }
    }

    pub(super) fn failed(&self) -> bool {
        matches!(self.stage, Stage::Failed)
    }

    pub(super) fn handshake(
        &mut self,
        request: &SaslHandshakeRequest,
        version: i16,
    ) -> SaslHandshakeResponse {
        let answer = SaslHandshakeResponse::default();
        if self.users.is_empty() {
            return answer.with_error_code(ResponseError::IllegalSaslState.code());
        }
        let raw = version == 0;
        let mechanisms = MECHANISMS.iter().map(|name| text(*name)).collect();
        let exchange = match request.mechanism.as_str() {
            "PLAIN" => Exchange::Plain,
            "SCRAM-SHA-256" => Exchange::Scram(Box::new(Scram::new(Hash::Sha256))),
            "SCRAM-SHA-512" => Exchange::Scram(Box::new(Scram::new(Hash::Sha512))),
            _ => {
                self.stage = Stage::Failed;
                let error = ResponseError::UnsupportedSaslMechanism.code();
                return answer.with_error_code(error).with_mechanisms(mechanisms);
            }
        };
        self.stage = Stage::Tokens { raw, exchange };
        answer.with_mechanisms(mechanisms)
    }

    pub(super) fn authenticate(&mut self, request: &SaslAuthenticateRequest) -> SaslAuthenticateResponse {
        let answer = SaslAuthenticateResponse::default();
        match self.token(&request.auth_bytes) {
            Ok(token) => answer.with_auth_bytes(token),
            Err(Refused) => answer
                .with_error_code(ResponseError::SaslAuthenticationFailed.code())
                .with_error_message(Some(text("Authentication failed"))),
        }
    }

    /// Takes a token of the client and returns the answer, which may be empty.
    pub(super) fn token(&mut self, token: &[u8]) -> Result<Bytes, Refused> {
        let Stage::Tokens { exchange, .. } = &mut self.stage else { return Err(Refused) };
        let answer = match exchange {
            Exchange::Plain => plain(token, &self.users).map(|()| (Bytes::new(), true)),
            Exchange::Scram(scram) => scram.token(token, &self.users),
        };
        match answer {
            Some((answer, done)) => {
                if done {
                    self.stage = Stage::Open;
                }
                Ok(answer)
            }
            None => {
                self.stage = Stage::Failed;
                Err(Refused)
            }
        }
    }
}

/// RFC 4616: an authorization identity, a name and a password, with NUL between them.
fn plain(token: &[u8], users: &[User]) -> Option<()> {
    let mut parts = token.split(|byte| *byte == 0);
    let (_, name, password) = (parts.next()?, parts.next()?, parts.next()?);
    let known = users.iter().any(|u| u.name.as_bytes() == name && u.password.as_bytes() == password);
    (known && parts.next().is_none()).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Vec<User> {
        vec![User { name: "alice".into(), password: "secret".into() }]
    }

    #[test]
    fn plain_wants_the_right_password() {
        assert_eq!(plain(b"\0alice\0secret", &users()), Some(()));
        for bad in [&b"\0alice\0wrong"[..], b"alice\0secret", b"\0alice\0secret\0", b""] {
            assert_eq!(plain(bad, &users()), None);
        }
    }

    #[test]
    fn nothing_passes_before_the_login() {
        let mut login = Login::new(&users());
        assert!(login.lets_pass(18) && login.lets_pass(17) && !login.lets_pass(3));
        let answer = login.handshake(&SaslHandshakeRequest::default().with_mechanism(text("PLAIN")), 0);
        assert_eq!(answer.error_code, 0);
        assert!(login.takes_raw_tokens());
        assert!(login.token(b"\0alice\0secret").is_ok_and(|answer| answer.is_empty()));
        assert!(login.lets_pass(3) && !login.takes_raw_tokens());
    }

    #[test]
    fn an_unknown_mechanism_ends_the_connection() {
        let mut login = Login::new(&users());
        let answer = login.handshake(&SaslHandshakeRequest::default().with_mechanism(text("GSSAPI")), 1);
        assert_eq!((answer.error_code, answer.mechanisms.len()), (33, 3));
        assert!(login.failed());
        assert!(Login::new(&[]).lets_pass(3));
    }
}
