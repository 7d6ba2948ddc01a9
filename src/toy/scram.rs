//! The server's side of SCRAM (RFC 5802) with the hashes that Kafka has.

use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use super::User;

/// How often a password is hashed; Kafka's least.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4_096).unwrap();

#[derive(Clone, Copy, Debug)]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

impl Hash {
    fn hmac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), message).as_ref().to_vec()
    }

    fn digest(self, message: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, message).as_ref().to_vec()
    }

    fn salted(self, password: &[u8], salt: &[u8]) -> Vec<u8> {
        let (algorithm, bytes) = match self {
            Self::Sha256 => (pbkdf2::PBKDF2_HMAC_SHA256, 32),
            Self::Sha512 => (pbkdf2::PBKDF2_HMAC_SHA512, 64),
        };
        let mut out = vec![0; bytes];
        pbkdf2::derive(algorithm, ITERATIONS, salt, password, &mut out);
        out
    }
}

/// What was said before the client's proof.
struct Begun {
    client_first_bare: String,
    server_first: String,
    nonce: String,
    salted: Vec<u8>,
}

/// One exchange.
pub(super) struct Scram {
    hash: Hash,
    begun: Option<Begun>,
}

impl Scram {
    pub(super) fn new(hash: Hash) -> Self {
        Self { hash, begun: None }
    }

    /// Takes a message of the client; returns the answer and whether the client is who it says. `None`
    /// refuses it.
    pub(super) fn token(&mut self, message: &[u8], users: &[User]) -> Option<(Bytes, bool)> {
        let message = str::from_utf8(message).ok()?;
        match self.begun.take() {
            None => self.begin(message, users).map(|answer| (answer.into(), false)),
            Some(begun) => self.finish(&begun, message).map(|answer| (answer.into(), true)),
        }
    }

    fn begin(&mut self, message: &str, users: &[User]) -> Option<String> {
        // No channel binding, and no other identity than the user's own.
        let bare = message.strip_prefix("n,")?.split_once(',')?.1;
        let name = attribute(bare, "n=")?.replace("=2C", ",").replace("=3D", "=");
        let user = users.iter().find(|user| user.name == name)?;
        let mut random = [0; 36];
        rand::fill(&mut random).ok()?;
        let (salt, own) = random.split_at(18);
        let nonce = format!("{}{}", attribute(bare, "r=")?, BASE64.encode(own));
        let server_first = format!("r={nonce},s={},i={ITERATIONS}", BASE64.encode(salt));
        self.begun = Some(Begun {
            client_first_bare: bare.to_owned(),
            server_first: server_first.clone(),
            nonce,
            salted: self.hash.salted(user.password.as_bytes(), salt),
        });
        Some(server_first)
    }

    fn finish(&self, begun: &Begun, message: &str) -> Option<String> {
        let (without_proof, proof) = message.rsplit_once(",p=")?;
        if attribute(without_proof, "r=")? != begun.nonce || attribute(without_proof, "c=")? != "biws" {
            return None;
        }
        let signed = format!("{},{},{without_proof}", begun.client_first_bare, begun.server_first);
        let client_key = self.hash.hmac(&begun.salted, b"Client Key");
        let signature = self.hash.hmac(&self.hash.digest(&client_key), signed.as_bytes());
        let expected: Vec<u8> = client_key.iter().zip(signature).map(|(key, byte)| key ^ byte).collect();
        constant_time::verify_slices_are_equal(&BASE64.decode(proof).ok()?, &expected).ok()?;
        let server_key = self.hash.hmac(&begun.salted, b"Server Key");
        Some(format!("v={}", BASE64.encode(self.hash.hmac(&server_key, signed.as_bytes()))))
    }
}

/// The value of an attribute of a message.
fn attribute<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.split(',').find_map(|part| part.strip_prefix(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logs in as a client does and returns the server's last word.
    fn login(hash: Hash, password: &str) -> Option<(Bytes, bool)> {
        let users = [User { name: "a,b".into(), password: "pencil".into() }];
        let mut scram = Scram::new(hash);
        let first_bare = "n=a=2Cb,r=client";
        let (server_first, done) = scram.token(format!("n,,{first_bare}").as_bytes(), &users)?;
        assert!(!done);
        let server_first = str::from_utf8(&server_first).unwrap();
        let nonce = attribute(server_first, "r=").unwrap();
        let salt = BASE64.decode(attribute(server_first, "s=").unwrap()).unwrap();
        let without_proof = format!("c=biws,r={nonce}");
        let key = hash.hmac(&hash.salted(password.as_bytes(), &salt), b"Client Key");
        let signed = format!("{first_bare},{server_first},{without_proof}");
        let signature = hash.hmac(&hash.digest(&key), signed.as_bytes());
        let proof: Vec<u8> = key.iter().zip(signature).map(|(key, byte)| key ^ byte).collect();
        scram.token(format!("{without_proof},p={}", BASE64.encode(proof)).as_bytes(), &users)
    }

    #[test]
    fn the_right_password_is_proved_and_a_wrong_one_is_not() {
        for hash in [Hash::Sha256, Hash::Sha512] {
            let (last, done) = login(hash, "pencil").unwrap();
            assert!(done && last.starts_with(b"v="));
            assert!(login(hash, "pen").is_none());
        }
    }

    #[test]
    fn what_is_no_scram_is_refused() {
        for bad in [&b""[..], b"n,,", b"y,,n=a,r=b", b"n,,n=nobody,r=x", b"\xff"] {
            assert!(Scram::new(Hash::Sha256).token(bad, &[]).is_none());
        }
    }
}
