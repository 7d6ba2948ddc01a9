//! Files that are read and checked before they take the place of what is in use: what is presented as a whole, and
//! who is trusted as a whole. Neither waits for the other, so a broken key never holds back a revocation.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::logging::chain;
use crate::tls::files::{Snapshot, Wanted};
use crate::tls::identity::{self, Identity, Source};
use crate::tls::status::{self, Fault, Status};
use crate::tls::trust::{self, Trust};

/// Why material cannot be used. The source in the chain names the file, the fault, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What this side would present.
    #[error("the certificate to present cannot be used")]
    Identity(#[source] identity::Error),
    /// There is nothing to present.
    #[error("no certificate is named")]
    NoIdentity,
    /// A new certificate that ran out or is not valid yet, in place of one that is valid.
    #[error("{0}; the one before is still valid and stays in use")]
    OutOfTime(String),
    /// Whom this side would trust.
    #[error("the trusted certificates cannot be used")]
    Trust(#[source] trust::Error),
    /// Revocation lists that are there no more, or older ones in their place, or some that ran out.
    #[error(
        "{0} is gone, or an older one is there, or one that ran out: what was loaded stays in use, and lets nobody of \
         its authority in once it runs out; put a newer one there, or take it out of `client_crl` to do without"
    )]
    Lost(String),
    /// Neither what would be presented nor who would be trusted.
    #[error("{}; and {}", chain(.0), chain(.1))]
    Both(Box<Error>, Box<Error>),
    /// The TLS library takes the parts, but not together.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// What a look at the files brought.
#[derive(Debug)]
pub enum Reloaded {
    /// They hold what is in use.
    Unchanged,
    /// They held something new, and it is in use for new handshakes.
    Swapped {
        /// Connections that are open may have to be checked again: authorities or revocation lists changed.
        trust_changed: bool,
        /// Other certificates are presented than before.
        renewed: bool,
        /// The other half, what is presented or who is trusted, is refused and stays as it was.
        kept: Option<Error>,
    },
    /// They hold something that is refused; what was loaded before stays in use. Told once for each fault.
    Kept(Error),
    /// The fault that was told before is still there; `status().fault` has its text.
    StillKept,
}

/// What one side presents and trusts.
#[derive(Debug)]
pub(super) struct Material {
    pub(super) identities: Vec<Identity>,
    pub(super) trust: Option<Trust>,
    loaded: SystemTime,
}

/// Material that was checked, and why a half of it is still the one before.
pub(super) struct Checked {
    pub(super) material: Material,
    pub(super) kept: Option<Error>,
}

impl Material {
    /// Checks what was read: each half by itself, and as the successor of what is in use. A half that is refused
    /// stays what it is, if there is something in use; where nothing new is left, that is an error.
    pub(super) fn check(
        identities: Result<Vec<Identity>, Error>,
        trust: Result<Option<Trust>, Error>,
        in_use: Option<&Self>,
        now: SystemTime,
    ) -> Result<Checked, Error> {
        let Some(in_use) = in_use else {
            let material = Self { identities: identities?, trust: trust?, loaded: now };
            return Ok(Checked { material, kept: None });
        };
        let identities = identities.and_then(|new| in_use.succeeded_by(new, now));
        let (identities, first) = match identities {
            Ok(new) => (new, None),
            Err(error) => (in_use.identities.clone(), Some(error)),
        };
        let (trust, second) = match trust {
            Ok(mut new) => {
                let lost = keep_lists(&mut new, in_use.trust.as_ref(), now);
                (new, lost)
            }
            Err(error) => (in_use.trust.clone(), Some(error)),
        };
        let kept = match (first, second) {
            (Some(first), Some(second)) => Some(Error::Both(Box::new(first), Box::new(second))),
            (first, second) => first.or(second),
        };
        let material = Self { identities, trust, loaded: now };
        match kept {
            Some(error) if !material.differs_from(in_use) => Err(error),
            kept => Ok(Checked { material, kept }),
        }
    }

    fn succeeded_by(&self, new: Vec<Identity>, now: SystemTime) -> Result<Vec<Identity>, Error> {
        for (new, old) in new.iter().zip(&self.identities) {
            if let (Some(fault), None) = (new.out_of_time(now), old.out_of_time(now)) {
                return Err(Error::OutOfTime(fault));
            }
        }
        Ok(new)
    }

    /// Keeps the lists that a side of before had from the same places and that are there no more.
    pub(super) fn keep_lists(&mut self, before: &Self, now: SystemTime) -> Option<Error> {
        keep_lists(&mut self.trust, before.trust.as_ref(), now)
    }

    fn differs_from(&self, in_use: &Self) -> bool {
        self.trusts_others_than(in_use) || self.presents_others_than(in_use)
    }

    fn presents_others_than(&self, in_use: &Self) -> bool {
        let presented = |material: &Self| -> Vec<String> {
            material.identities.iter().map(|identity| identity.sha256.clone()).collect()
        };
        presented(self) != presented(in_use)
    }

    /// Whether others are trusted than before.
    pub(super) fn trusts_others_than(&self, in_use: &Self) -> bool {
        match (&self.trust, &in_use.trust) {
            (Some(new), Some(old)) => !new.is_same(old),
            (None, None) => false,
            (Some(_), None) | (None, Some(_)) => true,
        }
    }

    fn status(&self, fault: Option<Fault>, now: SystemTime) -> Status {
        let mut status = Status {
            certificates: self.identities.iter().map(Identity::status).collect(),
            authorities: Vec::new(),
            revocation_lists: Vec::new(),
            warnings: Vec::new(),
            fault,
            loaded: self.loaded,
        };
        for identity in &self.identities {
            status.warnings.extend(identity.out_of_time(now));
            status.warnings.extend(identity.warnings.iter().cloned());
        }
        if let Some(trust) = &self.trust {
            trust.describe(&mut status, now);
        }
        status
    }
}

/// Keeps the lists that are there no more, and tells which.
fn keep_lists(trust: &mut Option<Trust>, before: Option<&Trust>, now: SystemTime) -> Option<Error> {
    let lost = trust.as_mut()?.keep_lists(before?, now);
    let name = |list: &status::RevocationList| {
        format!("the revocation list of `{}` that was in `{}`", list.issuer, list.file.display())
    };
    let names: Vec<String> = lost.iter().map(name).collect();
    (!names.is_empty()).then(|| Error::Lost(names.join(", and ")))
}

/// All that the sources name.
pub(super) fn identities(sources: &[Source], files: &Snapshot) -> Result<Vec<Identity>, Error> {
    sources
        .iter()
        .map(|source| identity::build(source, files))
        .collect::<Result<_, _>>()
        .map_err(Error::Identity)
}

/// The state of files of which all is in use. Where a part is not, they are none that could be found again.
fn digest_of(files: &Snapshot, kept: Option<&Error>) -> Vec<u8> {
    kept.map_or_else(|| files.digest().as_ref().to_vec(), |_| Vec::new())
}

fn fault_of(kept: Option<&Error>, now: SystemTime) -> Option<Arc<Fault>> {
    kept.map(|error| Arc::new(Fault { text: chain(error), since: now }))
}

/// What is in use, and the state of the files that it was made of.
#[derive(Debug)]
pub(super) struct Polled<T> {
    in_use: ArcSwap<T>,
    /// Of the files that `in_use` was made of. Held while files are read, which may take long.
    digest: Mutex<Vec<u8>>,
    /// By itself, so that whoever asks for the status never waits for a disk.
    fault: ArcSwapOption<Fault>,
}

impl<T: AsRef<Material>> Polled<T> {
    /// Reads the files for the first time.
    pub(super) fn load(
        wanted: &BTreeSet<Wanted>,
        now: SystemTime,
        build: impl FnOnce(&Snapshot) -> Result<(T, Option<Error>), Error>,
    ) -> Result<Self, Error> {
        let files = Snapshot::take(wanted);
        let (in_use, kept) = build(&files)?;
        let (digest, fault) = (Mutex::new(digest_of(&files, kept.as_ref())), fault_of(kept.as_ref(), now));
        Ok(Self { in_use: ArcSwap::from_pointee(in_use), digest, fault: ArcSwapOption::new(fault) })
    }

    /// Reads the files again, and builds anew if they changed: what is new, and why a half of it is not. Calls at the
    /// same time wait for each other.
    pub(super) fn reload(
        &self,
        wanted: &BTreeSet<Wanted>,
        now: SystemTime,
        build: impl FnOnce(&Snapshot, &T) -> Result<(T, Option<Error>), Error>,
    ) -> Reloaded {
        let mut digest = self.digest.lock().unwrap_or_else(PoisonError::into_inner);
        if Snapshot::read(wanted).digest().as_ref() == *digest {
            self.fault.store(None);
            return Reloaded::Unchanged;
        }
        let files = Snapshot::take(wanted);
        let in_use = self.in_use.load_full();
        match build(&files, &in_use) {
            Ok((new, kept)) => {
                let trust_changed = new.as_ref().trusts_others_than((*in_use).as_ref());
                let renewed = new.as_ref().presents_others_than((*in_use).as_ref());
                self.in_use.store(Arc::new(new));
                *digest = digest_of(&files, kept.as_ref());
                self.fault.store(fault_of(kept.as_ref(), now));
                Reloaded::Swapped { trust_changed, renewed, kept }
            }
            Err(error) => {
                let text = chain(&error);
                if self.fault.load().as_ref().is_some_and(|fault| fault.text == text) {
                    return Reloaded::StillKept;
                }
                self.fault.store(Some(Arc::new(Fault { text, since: now })));
                Reloaded::Kept(error)
            }
        }
    }

    /// What is in use.
    pub(super) fn in_use(&self) -> Arc<T> {
        self.in_use.load_full()
    }

    pub(super) fn status(&self, now: SystemTime) -> Status {
        let fault = self.fault.load().as_deref().cloned();
        (*self.in_use.load_full()).as_ref().status(fault, now)
    }
}
