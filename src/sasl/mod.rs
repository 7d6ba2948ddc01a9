//! The client side of SASL: PLAIN and SCRAM as step machines. No IO.

mod scram;

use std::fmt;
use std::str::FromStr;

use secrecy::{ExposeSecret as _, SecretString};

/// How to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616: the password itself, so only where the connection is trusted or encrypted.
    Plain,
    /// RFC 7677.
    ScramSha256,
    /// RFC 5802 with SHA-512, as Kafka has it.
    ScramSha512,
}

impl Mechanism {
    /// Every mechanism.
    pub const ALL: [Self; 3] = [Self::Plain, Self::ScramSha256, Self::ScramSha512];

    /// The registered name, as SaslHandshake carries it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no mechanism that the gateway can log in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512")]
pub struct UnknownMechanism;

impl FromStr for Mechanism {
    type Err = UnknownMechanism;

    fn from_str(text: &str) -> Result<Self, UnknownMechanism> {
        Self::ALL.into_iter().find(|mechanism| mechanism.as_str() == text).ok_or(UnknownMechanism)
    }
}

/// A name and a password, and how they are proven.
#[derive(Clone, Debug)]
pub struct Credential {
    /// How to log in.
    pub mechanism: Mechanism,
    /// The user.
    pub username: String,
    /// The password; never printed.
    pub password: SecretString,
}

/// Why a login failed. No case carries a secret; what a broker wrote is cut and escaped.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// PLAIN ends both with a NUL byte.
    #[error("the user name or the password contains a NUL byte, which PLAIN cannot carry")]
    Nul,
    /// The system has no randomness to give.
    #[error("no random bytes for a nonce")]
    Random,
    /// The broker went on after the login was over.
    #[error("the broker asks for more after the login was over")]
    Unexpected,
    /// The broker's message is none of SCRAM's.
    #[error("the broker's SCRAM message is malformed: {0}")]
    Malformed(&'static str),
    /// The nonce does not continue ours: the answer belongs to another login.
    #[error("the broker's nonce does not continue the gateway's")]
    Nonce,
    /// Too few iterations help who listens, too many keep the gateway busy.
    #[error("the broker asks for {0} iterations, not 4096 to 1000000")]
    Iterations(u64),
    /// The broker does not know the password either: it is not the one that the user trusts.
    #[error("the broker could not prove that it knows the password")]
    Signature,
    /// The broker says no.
    #[error("the broker refused the login: {0}")]
    Refused(String),
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this, and hand over what comes back.
    Send(Vec<u8>),
    /// The login succeeded, and with SCRAM the broker has proven itself.
    Done,
}

/// A login in progress.
#[derive(Debug)]
pub struct Login(State);

#[derive(Debug)]
enum State {
    PlainSent,
    Scram(Box<scram::Scram>),
    Over,
}

impl Login {
    /// Begins a login; returns it with the first message.
    ///
    /// # Errors
    /// [`Error::Nul`] or [`Error::Random`].
    pub fn start(credential: &Credential) -> Result<(Self, Vec<u8>), Error> {
        match credential.mechanism {
            Mechanism::Plain => Ok((Self(State::PlainSent), plain(credential)?)),
            Mechanism::ScramSha256 => Ok(Self::scram(&scram::SHA_256, credential, scram::nonce()?)),
            Mechanism::ScramSha512 => Ok(Self::scram(&scram::SHA_512, credential, scram::nonce()?)),
        }
    }

    fn scram(hash: &'static scram::Hash, credential: &Credential, nonce: String) -> (Self, Vec<u8>) {
        let (scram, first) = scram::Scram::start(hash, credential, nonce);
        (Self(State::Scram(Box::new(scram))), first)
    }

    /// Takes the broker's answer to the last message. With SCRAM it may compute for some 0.1 s at the
    /// iterations that Kafka uses, and for seconds at the most that are allowed.
    ///
    /// # Errors
    /// Any [`Error`]; the login is over then.
    pub fn step(&mut self, answer: &[u8]) -> Result<Step, Error> {
        match std::mem::replace(&mut self.0, State::Over) {
            State::PlainSent if answer.is_empty() => Ok(Step::Done),
            State::PlainSent | State::Over => Err(Error::Unexpected),
            State::Scram(mut scram) => {
                let step = scram.step(answer)?;
                if step != Step::Done {
                    self.0 = State::Scram(scram);
                }
                Ok(step)
            }
        }
    }
}

/// `[authzid] NUL authcid NUL passwd`, RFC 4616.
fn plain(credential: &Credential) -> Result<Vec<u8>, Error> {
    let (username, password) = (&credential.username, credential.password.expose_secret());
    if username.contains('\0') || password.contains('\0') {
        return Err(Error::Nul);
    }
    Ok([b"\0", username.as_bytes(), b"\0", password.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(mechanism: Mechanism, username: &str, password: &str) -> Credential {
        Credential { mechanism, username: username.into(), password: password.into() }
    }

    #[test]
    fn plain_is_one_message_and_an_empty_answer() {
        let (mut login, first) = Login::start(&credential(Mechanism::Plain, "gatehouse", "s3cret")).unwrap();
        assert_eq!(first, b"\0gatehouse\0s3cret");
        assert_eq!(login.step(b""), Ok(Step::Done));
        assert_eq!(login.step(b""), Err(Error::Unexpected));
        let (mut login, _) = Login::start(&credential(Mechanism::Plain, "a", "b")).unwrap();
        assert_eq!(login.step(b"more"), Err(Error::Unexpected));
    }

    #[test]
    fn a_nul_byte_cannot_end_a_name_early() {
        for (username, password) in [("admin\0", "x"), ("a", "b\0c")] {
            let login = Login::start(&credential(Mechanism::Plain, username, password));
            assert_eq!(login.map(|_| ()), Err(Error::Nul));
        }
    }

    #[test]
    fn names_are_read_as_kafka_writes_them() {
        for mechanism in Mechanism::ALL {
            assert_eq!(mechanism.to_string().parse(), Ok(mechanism));
        }
        assert_eq!("scram-sha-256".parse::<Mechanism>(), Err(UnknownMechanism));
    }

    #[test]
    fn a_credential_is_printed_without_its_password() {
        let text = format!("{:?}", credential(Mechanism::Plain, "gatehouse", "s3cret"));
        assert!(text.contains("gatehouse") && !text.contains("s3cret"), "{text}");
    }

    /// The example of RFC 7677, section 3.
    const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const SERVER_FIRST: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn login(hash: &'static scram::Hash, username: &str, password: &str) -> (Login, Vec<u8>) {
        let credential = credential(Mechanism::ScramSha256, username, password);
        Login::scram(hash, &credential, "rOprNGfwEbeRWgbNEkqO".into())
    }

    fn send(text: &str) -> Result<Step, Error> {
        Ok(Step::Send(text.into()))
    }

    #[test]
    fn scram_sha_256_gives_the_messages_of_its_rfc() {
        let (mut login, first) = login(&scram::SHA_256, "user", "pencil");
        assert_eq!(String::from_utf8(first).unwrap(), FIRST);
        assert_eq!(login.step(SERVER_FIRST.as_bytes()), send(FINAL));
        assert_eq!(login.step(SERVER_FINAL.as_bytes()), Ok(Step::Done));
        assert_eq!(login.step(SERVER_FINAL.as_bytes()), Err(Error::Unexpected));
    }

    /// Computed with Python's hashlib and hmac.
    #[test]
    fn scram_sha_512_and_a_name_that_needs_escapes() {
        let (mut login, first) = login(&scram::SHA_512, "user=1,2", "p\u{e4}ss");
        assert_eq!(String::from_utf8(first).unwrap(), "n,,n=user=3D1=2C2,r=rOprNGfwEbeRWgbNEkqO");
        assert_eq!(
            login.step(SERVER_FIRST.replace("4096", "8192").as_bytes()),
            send(
                "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                 p=kaLRrJ7M7hylej0m2RGRPM7J6sIXGwpzGI/LqTzj4DLcfZAXklqa7QF9d/8vXjGaep5Yp9fJq4MPAF+rIDya4g=="
            )
        );
        assert_eq!(
            login.step(
                b"v=CXApfyhH/2J3xVXb/QvYNuYYCNWnRlM8Q33aw5qMItB4AOcHJeD0EvEGqWztR8MbwI2tmQ++Cuio6NhZxEdBsg=="
            ),
            Ok(Step::Done)
        );
    }

    #[test]
    fn a_broker_that_does_not_know_the_password_is_found_out() {
        let (mut login, _) = login(&scram::SHA_256, "user", "pencil");
        login.step(SERVER_FIRST.as_bytes()).unwrap();
        let forged = SERVER_FINAL.replace("6rri", "7rri");
        assert_eq!(login.step(forged.as_bytes()), Err(Error::Signature));
        assert_eq!(login.step(SERVER_FINAL.as_bytes()), Err(Error::Unexpected), "a failed login is over");
    }

    #[test]
    fn the_first_answer_must_belong_to_this_login_and_be_bounded() {
        let first = |answer: &str| login(&scram::SHA_256, "user", "pencil").0.step(answer.as_bytes());
        let own = "rOprNGfwEbeRWgbNEkqO";
        assert_eq!(first(&format!("r={own},s=AAAA,i=4096")), Err(Error::Nonce), "nothing added");
        assert_eq!(first("r=other,s=AAAA,i=4096"), Err(Error::Nonce));
        for iterations in [0, 1, 4_095, 1_000_001, u64::MAX] {
            let answer = format!("r={own}x,s=AAAA,i={iterations}");
            assert_eq!(first(&answer), Err(Error::Iterations(iterations)));
        }
        for malformed in [
            "",
            "r=",
            "s=AAAA,i=4096",
            "m=ext,r=x,s=AAAA,i=4096",
            &format!("r={own}x,i=4096,s=AAAA"),
            &format!("r={own}x,s=,i=4096"),
            &format!("r={own}x,s=A!,i=4096"),
            &format!("r={own}x,s=AAAA,i=+5000"),
            &format!("r={own}x,s=AAAA,i=99999999999999999999999"),
            &format!("r={own}x,s=AAAA"),
            &format!("r={own}{},s=AAAA,i=4096", "x".repeat(5_000)),
        ] {
            assert!(matches!(first(malformed), Err(Error::Malformed(_))), "{malformed}");
        }
        assert!(first(&format!("r={own}x,s=AAAA,i=4096,x=extension")).is_ok());
    }

    #[test]
    fn a_refusal_is_told_without_control_characters() {
        let (mut login, _) = login(&scram::SHA_256, "user", "pencil");
        login.step(SERVER_FIRST.as_bytes()).unwrap();
        let answer = format!("e=invalid-proof\x1b[31m\n{}", "x".repeat(500));
        let Err(Error::Refused(text)) = login.step(answer.as_bytes()) else { panic!("not refused") };
        assert!(text.starts_with("invalid-proof") && text.len() < 300, "{text}");
        assert!(!text.contains(char::is_control), "{text}");
    }

    #[test]
    fn two_logins_have_two_nonces() {
        let first = || Login::start(&credential(Mechanism::ScramSha512, "u", "p")).unwrap().1;
        assert_ne!(first(), first());
    }
}
