//! Which certificate a client gets: by the name it asks for.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::tls::identity::{Identity, Name};

/// Certificates by the names that they are for. Several may be for one name: the first whose key the client can
/// check is taken, so that an ECDSA and an RSA certificate serve old and new clients.
#[derive(Debug)]
pub(super) struct ByName {
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By what follows `*.`.
    wildcard: HashMap<String, Vec<Arc<CertifiedKey>>>,
    fallback: Vec<Arc<CertifiedKey>>,
}

impl ByName {
    pub(super) fn new(identities: &[Identity], by_name_only: bool) -> Self {
        let mut choice = Self { exact: HashMap::new(), wildcard: HashMap::new(), fallback: Vec::new() };
        for identity in identities {
            for name in &identity.names {
                let Name::Dns(name) = name else { continue };
                let (names, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut choice.wildcard, parent),
                    None => (&mut choice.exact, name.as_str()),
                };
                names.entry(name.to_owned()).or_default().push(Arc::clone(&identity.certified));
            }
            if !by_name_only {
                choice.fallback.push(Arc::clone(&identity.certified));
            }
        }
        choice
    }

    /// Whether there is a certificate for a name, or for none.
    pub(super) fn is_there_one_for(&self, name: Option<&str>) -> bool {
        !self.candidates(name).is_empty()
    }

    /// The certificates for a name: exact, then wildcard, then whatever there is, the first of the configuration
    /// first.
    fn candidates(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let name = name.map(|name| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase());
        let exact = name.as_ref().and_then(|name| self.exact.get(name));
        let wildcard = || self.wildcard.get(name.as_ref()?.split_once('.')?.1);
        exact.or_else(wildcard).unwrap_or(&self.fallback)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = self.candidates(hello.server_name());
        let suits =
            |certified: &&Arc<CertifiedKey>| certified.key.choose_scheme(hello.signature_schemes()).is_some();
        candidates.iter().find(suits).or(candidates.first()).cloned()
    }
}
