//! TLS towards brokers: whose word is taken for who they are, and what the gateway shows them.

mod verifier;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::ClientConfig;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::sign::SingleCertAndKey;

use crate::tls::files::{Snapshot, Wanted};
use crate::tls::material::{self, Checked, Error, Material, Polled, Reloaded};
use crate::tls::status::Status;
use crate::tls::trust::{self, Trust};
use crate::tls::{Version, identity};

use verifier::{AnyName, Anybody};

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

impl Options {
    fn wanted(&self) -> BTreeSet<Wanted> {
        let roots = match (&self.roots, self.verify) {
            (Roots::Files(ca), Verify::Full | Verify::Chain) => {
                trust::Options { ca: ca.clone(), crl: Vec::new() }
            }
            (Roots::System, _) | (_, Verify::InsecureNone) => trust::Options::default(),
        };
        self.identity.iter().flat_map(identity::Source::wanted).chain(roots.wanted()).collect()
    }
}

/// The authorities of brokers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Roots {
    /// Those of the system, or of the file in the variable `SSL_CERT_FILE`. They are read at a start and when another
    /// file of this side changes.
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
    options: Options,
    polled: Polled<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    material: Material,
    config: Arc<ClientConfig>,
}

impl AsRef<Material> for Loaded {
    fn as_ref(&self) -> &Material {
        &self.material
    }
}

impl Connector {
    /// Reads and checks all files. Blocks on the disk for a moment.
    pub fn load(options: Options) -> Result<Self, Error> {
        let build = |files: &Snapshot| Loaded::build(&options, files, None);
        let polled = Polled::load(&options.wanted(), SystemTime::now(), build)?;
        Ok(Self { options, polled })
    }

    /// What a new handshake uses.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.polled.in_use().config)
    }

    /// Looks at the files again and takes what is new: what is presented, and who is trusted, each as a whole.
    /// Blocks on the disk for a moment.
    pub fn reload(&self) -> Reloaded {
        self.polled.reload(&self.options.wanted(), SystemTime::now(), |files, in_use| {
            Loaded::build(&self.options, files, Some(in_use))
        })
    }

    /// What is loaded, and what is wrong with it now.
    pub fn status(&self) -> Status {
        let mut status = self.polled.status(SystemTime::now());
        if self.options.verify == Verify::InsecureNone {
            status
                .warnings
                .push("the certificates of brokers are not checked: anybody can be one".to_owned());
        }
        status
    }
}

impl Loaded {
    fn build(
        options: &Options,
        files: &Snapshot,
        in_use: Option<&Self>,
    ) -> Result<(Self, Option<Error>), Error> {
        let identities = material::identities(options.identity.as_slice(), files);
        let trust = match (options.verify, &options.roots) {
            (Verify::InsecureNone, _) => Ok(None),
            (Verify::Full | Verify::Chain, Roots::System) => Trust::system().map(Some),
            (Verify::Full | Verify::Chain, Roots::Files(ca)) => {
                Trust::build(&trust::Options { ca: ca.clone(), crl: Vec::new() }, files).map(Some)
            }
        };
        let in_use = in_use.map(|in_use| &in_use.material);
        let Checked { material, kept } =
            Material::check(identities, trust.map_err(Error::Trust), in_use, SystemTime::now())?;

        let builder = ClientConfig::builder_with_provider(super::provider())
            .with_protocol_versions(options.min_version.and_newer())
            .map_err(Error::Setup)?
            .dangerous()
            .with_custom_certificate_verifier(verifier(options.verify, material.trust.as_ref())?);
        // A fresh memory of sessions with each config: none outlives the trust it was made under.
        let config = match material.identities.first() {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&identity.certified)))),
        };
        Ok((Self { material, config: Arc::new(config) }, kept))
    }
}

fn verifier(verify: Verify, trust: Option<&Trust>) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let provider = super::provider();
    let Some(trust) = trust else { return Ok(Arc::new(Anybody::new(&provider))) };
    let full = WebPkiServerVerifier::builder_with_provider(Arc::clone(&trust.roots), provider)
        .build()
        .map_err(|error| Error::Setup(rustls::Error::General(error.to_string())))?;
    Ok(match verify {
        Verify::Chain => Arc::new(AnyName::new(full)),
        Verify::Full | Verify::InsecureNone => full,
    })
}

#[cfg(test)]
mod tests;
