//! Certificates of the servers and configurations of the clients, for the rows with TLS.

use std::path::Path;
use std::sync::Arc;

use gatehouse::tls::{dev, provider};
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::crypto::aws_lc_rs::kx_group::{X25519, X25519MLKEM768};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// How clients shake hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secure {
    /// X25519, nothing remembered.
    Full,
    /// X25519 the first time, a ticket from then on.
    Resumed,
    /// X25519MLKEM768, nothing remembered.
    Hybrid,
}

/// The name in the servers' certificate.
pub(crate) const NAME: &str = "localhost";

/// Makes an authority and a pair for the servers, ECDSA on P-256. HAProxy wants both in one file.
pub(crate) fn make(directory: &Path) -> dev::Files {
    let options =
        dev::Options { names: vec![NAME.to_owned()], client: "bench".to_owned(), valid: dev::VALID };
    let files = dev::write(directory, &options, true).expect("certificates can be made");
    let read = |path| std::fs::read_to_string(path).expect("a file that was written");
    let both = read(&files.server_cert) + &read(&files.server_key);
    std::fs::write(directory.join("both.pem"), both).expect("a file can be written");
    files
}

/// A client of TLS 1.3 with AES-128-GCM that trusts the authority.
pub(crate) fn client(ca: &Path, secure: Secure) -> Arc<ClientConfig> {
    let mut provider = (*provider()).clone();
    provider.cipher_suites = vec![TLS13_AES_128_GCM_SHA256];
    provider.kx_groups = match secure {
        Secure::Full | Secure::Resumed => vec![X25519],
        Secure::Hybrid => vec![X25519MLKEM768],
    };
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(ca).expect("a certificate that was written");
    roots.add(ca).expect("an authority");
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3 is there")
        .with_root_certificates(roots)
        .with_no_client_auth();
    if secure != Secure::Resumed {
        config.resumption = rustls::client::Resumption::disabled();
    }
    Arc::new(config)
}
