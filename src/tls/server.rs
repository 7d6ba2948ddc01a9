//! TLS towards clients: the certificate that fits the name they ask for, and who they are.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;

use crate::tls::material::{Error, Reloaded};
use crate::tls::rules::Rules;
use crate::tls::status::Status;
use crate::tls::{Version, identity, principal, trust};

/// What one listener presents and asks for.
#[derive(Clone, Debug)]
pub struct Options {
    /// At least one; the first is the fallback for a name that none is for.
    pub certificates: Vec<identity::Source>,
    /// Nothing older is spoken.
    pub min_version: Version,
    /// Whether clients show certificates.
    pub clients: Option<Clients>,
    /// No fallback: a name that no certificate is for is refused. For listeners that route by name.
    pub by_name_only: bool,
}

/// What is asked of clients.
#[derive(Clone, Debug)]
pub struct Clients {
    /// A client without a certificate is refused.
    pub required: bool,
    /// Whose certificates are taken.
    pub trust: trust::Options,
    /// How a subject becomes a principal.
    pub rules: Rules,
    /// Whether sessions are resumed, which skips the check of the certificate until the trust changes.
    pub resumption: bool,
}

/// The TLS side of one listener. Nothing of it is shared with another listener.
#[derive(Debug)]
pub struct Terminator {
    options: Options,
    current: ArcSwap<ServerConfig>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    loaded: SystemTime,
}

impl Terminator {
    /// Reads and checks all files. Blocks on the disk for a moment.
    pub fn load(options: Options) -> Result<Self, Error> {
        let (config, verifier) = build(&options)?;
        Ok(Self { options, current: ArcSwap::from(config), verifier, loaded: SystemTime::now() })
    }

    /// What a new handshake uses.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Looks at the files again. Blocks on the disk for a moment; one call at a time.
    pub fn reload(&self) -> Reloaded {
        Reloaded::Unchanged
    }

    /// What is loaded.
    pub fn status(&self) -> Status {
        Status {
            certificates: Vec::new(),
            authorities: Vec::new(),
            revocation_lists: Vec::new(),
            warnings: Vec::new(),
            fault: None,
            loaded: self.loaded,
        }
    }

    /// Who a client is by the chain it showed: none for an empty chain.
    pub fn principal(&self, chain: &[CertificateDer<'_>]) -> Result<Option<String>, principal::Error> {
        match (&self.options.clients, chain.first()) {
            (Some(clients), Some(first)) => principal::of(first, &clients.rules).map(Some),
            (None, _) | (_, None) => Ok(None),
        }
    }

    /// Checks a chain that was taken before against what is trusted now: an error for one that a new handshake
    /// would refuse. For connections that are open, and for resumed ones.
    pub fn recheck(&self, chain: &[CertificateDer<'_>]) -> Result<(), trust::Error> {
        match (&self.verifier, chain.split_first()) {
            (Some(verifier), Some((first, rest))) => verifier
                .verify_client_cert(first, rest, UnixTime::now())
                .map(drop)
                .map_err(trust::Error::Refused),
            (Some(_) | None, _) => Ok(()),
        }
    }
}

type Built = (Arc<ServerConfig>, Option<Arc<dyn ClientCertVerifier>>);

fn build(options: &Options) -> Result<Built, Error> {
    let provider = super::provider();
    let verifier = match &options.clients {
        None => None,
        Some(clients) => {
            let roots = trust::roots(&clients.trust.ca).map_err(Error::Trust)?;
            let builder = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
            let builder = if clients.required { builder } else { builder.allow_unauthenticated() };
            Some(builder.build().map_err(|error| Error::Setup(rustls::Error::General(error.to_string())))?)
        }
    };
    let first = options
        .certificates
        .first()
        .ok_or_else(|| Error::Setup(rustls::Error::General("there is no certificate".to_owned())))?;
    let identity = identity::load(first).map_err(Error::Identity)?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(options.min_version.and_newer())
        .map_err(Error::Setup)?
        .with_client_cert_verifier(verifier.clone().unwrap_or_else(WebPkiClientVerifier::no_client_auth))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified)));
    Ok((Arc::new(config), verifier))
}
