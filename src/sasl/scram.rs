//! SCRAM without channel binding, the client side (RFC 5802, RFC 7677). As Kafka, without SASLprep.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use secrecy::{ExposeSecret as _, SecretString};

use super::{Credential, Error, Step};

/// The longest message of a broker that is read, in bytes.
const MESSAGE_BYTES_MAX: usize = 4_096;

/// The most characters of a broker's own words that are told.
const WORDS_MAX: usize = 200;

/// The least that Kafka configures, and the most that is computed for a broker.
const ITERATIONS: std::ops::RangeInclusive<u64> = 4_096..=1_000_000;

/// A hash function in the three roles it has.
pub(super) struct Hash {
    derive: &'static pbkdf2::Algorithm,
    sign: &'static hmac::Algorithm,
    digest: &'static digest::Algorithm,
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.digest.fmt(f)
    }
}

pub(super) static SHA_256: Hash =
    Hash { derive: &pbkdf2::PBKDF2_HMAC_SHA256, sign: &hmac::HMAC_SHA256, digest: &digest::SHA256 };

pub(super) static SHA_512: Hash =
    Hash { derive: &pbkdf2::PBKDF2_HMAC_SHA512, sign: &hmac::HMAC_SHA512, digest: &digest::SHA512 };

/// A login in progress.
#[derive(Debug)]
pub(super) struct Scram {
    hash: &'static Hash,
    password: SecretString,
    nonce: String,
    first_bare: String,
    expects: Option<Expected>,
}

/// What the broker's last message must carry: the signature of `message` under `key`.
#[derive(Debug)]
struct Expected {
    key: hmac::Key,
    message: String,
}

/// 144 random bits, printable.
pub(super) fn nonce() -> Result<String, Error> {
    let mut bytes = [0; 18];
    rand::fill(&mut bytes).map_err(|_| Error::Random)?;
    Ok(BASE64.encode(bytes))
}

impl Scram {
    pub(super) fn start(hash: &'static Hash, credential: &Credential, nonce: String) -> (Self, Vec<u8>) {
        let username = credential.username.replace('=', "=3D").replace(',', "=2C");
        let first_bare = format!("n={username},r={nonce}");
        let first = format!("n,,{first_bare}").into_bytes();
        let password = credential.password.clone();
        (Self { hash, password, nonce, first_bare, expects: None }, first)
    }

    pub(super) fn step(&mut self, answer: &[u8]) -> Result<Step, Error> {
        if answer.len() > MESSAGE_BYTES_MAX {
            return Err(Error::Malformed("it is longer than 4096 bytes"));
        }
        let answer = str::from_utf8(answer).map_err(|_| Error::Malformed("it is not UTF-8"))?;
        if let Some(error) = answer.strip_prefix("e=") {
            let words: String = error.chars().filter(|c| !c.is_control()).take(WORDS_MAX).collect();
            return Err(Error::Refused(words));
        }
        match self.expects.take() {
            None => self.prove(answer),
            Some(expected) => expected.check(answer),
        }
    }

    /// Answers the broker's first message with the proof of the password.
    fn prove(&mut self, server_first: &str) -> Result<Step, Error> {
        let mut parts = server_first.split(',');
        let mut part = |prefix| parts.next().and_then(|part: &str| part.strip_prefix(prefix));
        let nonce = part("r=").ok_or(Error::Malformed("no nonce"))?;
        let salt = part("s=").and_then(|salt| BASE64.decode(salt).ok()).filter(|salt| !salt.is_empty());
        let salt = salt.ok_or(Error::Malformed("no salt"))?;
        let iterations = part("i=").filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let iterations: u64 = iterations
            .and_then(|text| text.parse().ok())
            .ok_or(Error::Malformed("no number of iterations"))?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(Error::Nonce);
        }
        let rounds = u32::try_from(iterations).ok().and_then(NonZeroU32::new);
        let rounds = rounds.filter(|_| ITERATIONS.contains(&iterations));
        let rounds = rounds.ok_or(Error::Iterations(iterations))?;

        let mut salted = vec![0; self.hash.digest.output_len];
        let password = self.password.expose_secret().as_bytes();
        pbkdf2::derive(*self.hash.derive, rounds, &salt, password, &mut salted);
        let salted = hmac::Key::new(*self.hash.sign, &salted);
        let client_key = hmac::sign(&salted, b"Client Key");
        let stored_key = digest::digest(self.hash.digest, client_key.as_ref());

        let final_bare = format!("c=biws,r={nonce}");
        let message = format!("{},{server_first},{final_bare}", self.first_bare);
        let stored_key = hmac::Key::new(*self.hash.sign, stored_key.as_ref());
        let signature = hmac::sign(&stored_key, message.as_bytes());
        let proof: Vec<u8> =
            client_key.as_ref().iter().zip(signature.as_ref()).map(|(key, bits)| key ^ bits).collect();
        let server_key = hmac::sign(&salted, b"Server Key");
        let key = hmac::Key::new(*self.hash.sign, server_key.as_ref());
        self.expects = Some(Expected { key, message });
        Ok(Step::Send(format!("{final_bare},p={}", BASE64.encode(proof)).into_bytes()))
    }
}

impl Expected {
    fn check(&self, server_final: &str) -> Result<Step, Error> {
        let signature = server_final.split(',').next().and_then(|part| part.strip_prefix("v="));
        let signature = signature.ok_or(Error::Malformed("no signature"))?;
        let signature = BASE64.decode(signature).map_err(|_| Error::Signature)?;
        // In constant time.
        hmac::verify(&self.key, self.message.as_bytes(), &signature).map_err(|_| Error::Signature)?;
        Ok(Step::Done)
    }
}
