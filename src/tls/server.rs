//! TLS towards clients: the certificate that fits the name they ask for, and who they are.

mod choice;
mod sessions;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};

use crate::tls::files::{Snapshot, Wanted};
use crate::tls::material::{self, Checked, Error, Material, Polled, Reloaded};
use crate::tls::rules::Rules;
use crate::tls::status::Status;
use crate::tls::trust::{ClientVerifier, Trust};
use crate::tls::{Version, identity, principal, trust};

use choice::ByName;
use sessions::Sessions;

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

impl Options {
    fn wanted(&self) -> BTreeSet<Wanted> {
        let trust = self.clients.iter().flat_map(|clients| clients.trust.wanted());
        self.certificates.iter().flat_map(identity::Source::wanted).chain(trust).collect()
    }
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
    /// Whether sessions are resumed, which skips the check of the certificate: for an hour at most, until a
    /// revocation list runs out, and until authorities or lists change.
    pub resumption: bool,
}

/// The TLS side of one listener. Nothing of it is shared with another listener: what one remembers of a session is
/// worth nothing at the other.
#[derive(Debug)]
pub struct Terminator {
    options: Options,
    clock: Arc<dyn TimeProvider>,
    polled: Polled<Loaded>,
    retired: AtomicBool,
}

#[derive(Debug)]
struct Loaded {
    material: Material,
    config: Arc<ServerConfig>,
    choice: Arc<ByName>,
    verifier: Option<Arc<ClientVerifier>>,
    sessions: Sessions,
}

/// What was in use before.
#[derive(Clone, Copy)]
enum Before<'b> {
    Nothing,
    /// By other settings: its revocation lists count.
    Lists(&'b Loaded),
    /// By the same settings.
    All(&'b Loaded),
}

impl<'b> Before<'b> {
    fn all(self) -> Option<&'b Loaded> {
        match self {
            Self::All(loaded) => Some(loaded),
            Self::Nothing | Self::Lists(_) => None,
        }
    }
}

impl AsRef<Material> for Loaded {
    fn as_ref(&self) -> &Material {
        &self.material
    }
}

impl Terminator {
    /// Reads and checks all files. Blocks on the disk for a moment. A certificate that ran out is served, with a
    /// warning in the status: a gateway that does not start helps nobody.
    pub fn load(options: Options) -> Result<Self, Error> {
        Self::load_by(options, None, Arc::new(DefaultTimeProvider))
    }

    /// The same in the place of another one, whose revocation lists are kept where they are lost by now: unless other
    /// places are named for them, a change of settings lets nobody in who was revoked.
    pub fn load_after(options: Options, before: &Self) -> Result<Self, Error> {
        Self::load_by(options, Some(before), Arc::clone(&before.clock))
    }

    fn load_by(options: Options, before: Option<&Self>, clock: Arc<dyn TimeProvider>) -> Result<Self, Error> {
        let lists = |options: &Options| options.clients.as_ref().map(|clients| clients.trust.crl.clone());
        let before = before.filter(|before| lists(&before.options) == lists(&options));
        let before = before.map(|before| before.polled.in_use());
        let build = |files: &Snapshot| {
            let before = before.as_deref().map_or(Before::Nothing, Before::Lists);
            Loaded::build(&options, files, before, &clock)
        };
        let polled = Polled::load(&options.wanted(), system_now(&clock), build)?;
        Ok(Self { options, clock, polled, retired: AtomicBool::new(false) })
    }

    /// What a new handshake uses.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.polled.in_use().config)
    }

    /// Whether a client may show a certificate.
    pub fn asks_for_certificate(&self) -> bool {
        self.options.clients.is_some()
    }

    /// Notes that another one has taken its place. Handshakes that are under way with this one end in vain: what it
    /// asks of clients may be what they are not to get in by any more.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
    }

    /// Whether another one has taken its place.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }

    /// Whether there is a certificate for a client that asks for this name, or for none.
    pub fn is_for(&self, server_name: Option<&str>) -> bool {
        self.polled.in_use().choice.is_there_one_for(server_name)
    }

    /// Looks at the files again and takes what is new: what is presented, and who is trusted, each as a whole.
    /// Blocks on the disk for a moment.
    pub fn reload(&self) -> Reloaded {
        self.polled.reload(&self.options.wanted(), system_now(&self.clock), |files, in_use| {
            Loaded::build(&self.options, files, Before::All(in_use), &self.clock)
        })
    }

    /// What is loaded, and what is wrong with it now.
    pub fn status(&self) -> Status {
        let mut status = self.polled.status(system_now(&self.clock));
        for certificate in status.certificates.iter().filter(|certificate| certificate.names.is_empty()) {
            let file = certificate.file.display();
            status.warnings.push(format!("the certificate in `{file}` is for no name (`subjectAltName`)"));
        }
        let verifier = &self.polled.in_use().verifier;
        let is_silent = verifier.as_ref().is_some_and(|verifier| !verifier.tells_authorities());
        if let Some(first) = status.authorities.first().filter(|_| is_silent) {
            status.warnings.push(format!(
                "the authority in `{}` and {} more have too many names to tell clients: one with several \
                 certificates may show the wrong one",
                first.file.display(),
                status.authorities.len() - 1
            ));
        }
        status
    }

    /// Who a client is by the chain it showed, without the `User:` of Kafka: none for an empty chain, and where
    /// clients are not asked.
    pub fn principal(&self, chain: &[CertificateDer<'_>]) -> Result<Option<String>, principal::Error> {
        match (&self.options.clients, chain.first()) {
            (Some(clients), Some(leaf)) => principal::of(leaf, &clients.rules).map(Some),
            (None, _) | (_, None) => Ok(None),
        }
    }

    /// Checks a chain that was taken before against what is trusted now: an error for one that a new handshake
    /// would refuse. For connections that are open, and for resumed ones.
    pub fn recheck(&self, chain: &[CertificateDer<'_>]) -> Result<(), trust::Error> {
        match (&self.polled.in_use().verifier, chain.split_first()) {
            (None, _) => Ok(()),
            (Some(verifier), None) if verifier.is_required() => Err(trust::Error::Missing),
            (Some(_), None) => Ok(()),
            (Some(verifier), Some((leaf, rest))) => {
                verifier.verify(leaf, rest, now(&self.clock)).map_err(trust::Error::Refused)
            }
        }
    }
}

impl Loaded {
    fn build(
        options: &Options,
        files: &Snapshot,
        before: Before<'_>,
        clock: &Arc<dyn TimeProvider>,
    ) -> Result<(Self, Option<Error>), Error> {
        if options.certificates.is_empty() {
            return Err(Error::NoIdentity);
        }
        let identities = material::identities(&options.certificates, files);
        let trust = options.clients.as_ref().map(|clients| Trust::build(&clients.trust, files)).transpose();
        let now = system_now(clock);
        let in_use = before.all();
        let in_use_material = in_use.map(|in_use| &in_use.material);
        let Checked { mut material, mut kept } =
            Material::check(identities, trust.map_err(Error::Trust), in_use_material, now)?;
        if let Before::Lists(before) = before {
            kept = material.keep_lists(&before.material, now);
        }

        // What was remembered under another trust must not be resumed under this one.
        let sessions = match in_use {
            Some(in_use) if !material.trusts_others_than(&in_use.material) => in_use.sessions.clone(),
            Some(_) | None => {
                let next_update = material.trust.as_ref().and_then(Trust::next_update);
                Sessions::new(options.clients.as_ref(), next_update, clock).map_err(Error::Setup)?
            }
        };
        let required = options.clients.as_ref().is_some_and(|clients| clients.required);
        let verifier = material.trust.clone().map(|trust| ClientVerifier::new(trust, required));

        let builder = ServerConfig::builder_with_details(super::provider(), Arc::clone(clock))
            .with_protocol_versions(options.min_version.and_newer())
            .map_err(Error::Setup)?;
        let builder = match &verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
            None => builder.with_client_cert_verifier(WebPkiClientVerifier::no_client_auth()),
        };
        let choice = Arc::new(ByName::new(&material.identities, options.by_name_only));
        let mut config = builder.with_cert_resolver(choice.clone());
        sessions.put_into(&mut config);
        Ok((Self { material, config: Arc::new(config), choice, verifier, sessions }, kept))
    }
}

fn now(clock: &Arc<dyn TimeProvider>) -> UnixTime {
    clock.current_time().unwrap_or_else(UnixTime::now)
}

fn system_now(clock: &Arc<dyn TimeProvider>) -> SystemTime {
    trust::system_time(now(clock))
}

#[cfg(test)]
mod tests;
