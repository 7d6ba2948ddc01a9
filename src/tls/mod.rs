//! TLS on both sides of the gateway: what it presents, whom it trusts, and the encrypted streams.

pub mod client;
pub mod dev;
pub mod files;
pub mod hello;
pub mod identity;
pub mod inspect;
pub mod lifetime;
pub mod material;
pub mod principal;
pub mod reason;
pub mod rules;
pub mod server;
pub mod status;
pub mod stream;
#[cfg(test)]
mod testing;
pub mod trust;
mod x509;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The oldest version of TLS that a side takes. Nothing below 1.2 is there to be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// TLS 1.2 (RFC 5246) and newer.
    #[default]
    Tls12,
    /// TLS 1.3 (RFC 8446) alone.
    Tls13,
}

impl Version {
    /// The versions from this one on, as rustls names them.
    pub fn and_newer(self) -> &'static [&'static rustls::SupportedProtocolVersion] {
        match self {
            Self::Tls12 => rustls::ALL_VERSIONS,
            Self::Tls13 => TLS13_ALONE,
        }
    }
}

static TLS13_ALONE: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// The one cryptographic library: aws-lc-rs, with the hybrid X25519MLKEM768 first among the key exchanges.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
