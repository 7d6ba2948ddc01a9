//! The files of certificates, read and held against what the configuration says about them.

use std::error::Error;
use std::time::{Duration, SystemTime};

use super::identity::Files;
use super::routing::Routing;
use super::tls::Terminated;
use super::upstream::Upstream;
use super::{Check, Checked};
use crate::cluster::Routes;
use crate::config::codes::Code;
use crate::config::diagnostic::{Diagnostic, Place};
use crate::logging::chain;
use crate::tls::client::Connector;
use crate::tls::identity::{self, Identity, Source};
use crate::tls::server::Terminator;

/// Certificates that run out within this time are warned of.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);
const DAY_SECONDS: u64 = 24 * 3600;

/// Names that a message lists.
const NAMES_SHOWN: usize = 3;

impl Check<'_> {
    fn reads_files(&self) -> bool {
        self.surroundings.certificates && !self.surroundings.elsewhere
    }

    /// What a listener presents and trusts.
    pub(super) fn read_terminated(&mut self, tls: &Terminated, routing: Option<&Routing>) -> Checked<()> {
        if !self.reads_files() {
            return Ok(());
        }
        let sources = tls.options.certificates.iter().zip(&tls.certificates);
        let identities = super::value::all(
            sources.map(|(source, place)| Ok((self.read(source, place, &tls.files)?, place))),
        )?;
        self.same_names(&identities);
        if let Some(routing) = routing {
            self.covered(&identities, routing)?;
        }
        match Terminator::load(tls.options.clone()) {
            Ok(terminator) => {
                self.lists_out_of_date(&terminator, tls);
                Ok(())
            }
            Err(error) => self.unusable(Code::Certificate, &error, (&tls.place, &tls.files)),
        }
    }

    /// What the brokers of a cluster are shown, and whom the gateway trusts to be one.
    pub(super) fn read_upstream(&mut self, upstream: &Upstream) -> Checked<()> {
        if !self.reads_files() {
            return Ok(());
        }
        if let (Some(source), Some(place)) = (&upstream.options.identity, &upstream.identity) {
            self.read(source, place, &upstream.files)?;
        }
        match Connector::load(upstream.options.clone()) {
            Ok(_) => Ok(()),
            Err(error) => self.unusable(Code::Certificate, &error, (&upstream.place, &upstream.files)),
        }
    }

    /// What the clients of a listener are to the brokers.
    pub(super) fn read_identity(&mut self, source: &Source, place: &Place, files: &Files) -> Checked<()> {
        if self.reads_files() { self.read(source, place, files).map(|_| ()) } else { Ok(()) }
    }

    fn read(&mut self, source: &Source, place: &Place, files: &Files) -> Checked<Identity> {
        match identity::load(source) {
            Ok(identity) => {
                self.lifetime(&identity, place);
                for warning in &identity.warnings {
                    let place = files.place(warning).unwrap_or(place);
                    self.note(Diagnostic::warning(Code::LooseKey, files.printable(warning.clone()), place));
                }
                Ok(identity)
            }
            Err(error @ (identity::Error::Jks(_) | identity::Error::NoKeystore(_))) => {
                self.unusable(Code::KeyStore, &error, (place, files))
            }
            Err(error) => self.unusable(Code::Certificate, &error, (place, files)),
        }
    }

    /// Reports what a file has, at the place of its name.
    fn unusable<T>(&mut self, code: Code, error: &dyn Error, (place, files): (&Place, &Files)) -> Checked<T> {
        let text = chain(error);
        let place = files.place(&text).unwrap_or(place);
        self.report(Diagnostic::error(code, files.printable(text), place))
    }

    fn lifetime(&mut self, identity: &Identity, place: &Place) {
        let now = SystemTime::now();
        let days = |time: Duration| match time.as_secs() / DAY_SECONDS {
            0 => "less than a day".to_owned(),
            1 => "1 day".to_owned(),
            days => format!("{days} days"),
        };
        let title = match (identity.not_after.duration_since(now), identity.not_before.duration_since(now)) {
            (Err(ago), _) => format!("the certificate ran out {} ago", days(ago.duration())),
            (Ok(_), Ok(left)) if !left.is_zero() => {
                format!("the certificate is not valid for {} yet", days(left))
            }
            (Ok(left), _) if left < SOON => format!("the certificate runs out in {}", days(left)),
            (Ok(_), _) => return,
        };
        let warning = Diagnostic::warning(Code::Lifetime, title, place).label(identity.subject.as_str());
        self.note(warning.help("renew it; the gateway takes a new file by itself, without a restart"));
    }

    fn lists_out_of_date(&mut self, terminator: &Terminator, tls: &Terminated) {
        for list in terminator.status().revocation_lists {
            if list.next_update.is_some_and(|next| next < SystemTime::now()) {
                let place = tls.files.place(&list.file.to_string_lossy()).unwrap_or(&tls.place);
                let title = format!("a revocation list of `{}` has run out", list.issuer);
                let warning = Diagnostic::warning(Code::Lifetime, title, place)
                    .label("until it is renewed, every client of this authority is refused");
                self.note(warning);
            }
        }
    }

    /// Warns of certificates that are never chosen.
    fn same_names(&mut self, identities: &[(Identity, &Place)]) {
        for (at, (identity, place)) in identities.iter().enumerate() {
            for (other, other_place) in identities.iter().take(at) {
                let Some(name) = identity.names.iter().find(|name| other.names.contains(name)) else {
                    continue;
                };
                let title = format!("two certificates are for `{name}`");
                let warning = Diagnostic::warning(Code::SameNames, title, place)
                    .label("never chosen for it")
                    .also(other_place, "chosen, because it comes first");
                self.note(warning);
            }
        }
    }

    /// Holds the names that clients are told against those that the certificates are for. A listener that is
    /// reached by name must have one for each; clients of another may not look.
    fn covered(&mut self, presented: &[(Identity, &Place)], routing: &Routing) -> Checked<()> {
        let is_covered = |told: &str| presented.iter().any(|(identity, _)| identity.covers(told));
        let not_covered = |fault: Diagnostic| match presented.first() {
            Some((_, place)) => fault.also(place, names(presented)),
            None => fault,
        };
        let (Routes::Names(told), Some(places)) = (&routing.routes, &routing.named) else {
            let (host, _) = routing.routes.bootstrap();
            if !is_covered(host) {
                let title = format!("no certificate of this listener is for `{host}`");
                let warning = Diagnostic::warning(Code::NotCovered, title, &routing.told)
                    .label("clients that are told this refuse a certificate that is for something else");
                self.note(not_covered(warning));
            }
            return Ok(());
        };
        let mut result = Ok(());
        if !is_covered(&told.bootstrap) {
            let title = format!("no certificate of this listener is for `{}`", told.bootstrap);
            let fault = Diagnostic::error(Code::NotCovered, title, &places.bootstrap);
            result =
                self.report(not_covered(fault).help("clients would refuse it; get one that has this name"));
        }
        let brokers = routing.routes.nodes().map(|node| told.brokers.name(node));
        let mut without = brokers.filter(|name| !is_covered(name));
        if let Some(name) = without.next() {
            let more = match without.count() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let title = format!("no certificate of this listener is for `{name}`{more}");
            let fault = Diagnostic::error(Code::NotCovered, title, &places.brokers);
            result = self.report(not_covered(fault).help(match told.brokers.to_string().split_once('.') {
                Some((first, rest)) if first.contains("{node}") => {
                    format!("clients would refuse it; get one for `*.{rest}`, or declare fewer `nodes`")
                }
                _ => "clients would refuse it; get one for each name, because a wildcard stands for the first label alone"
                    .to_owned(),
            }));
        }
        result
    }
}

/// What the certificates are for, in short.
fn names(presented: &[(Identity, &Place)]) -> String {
    let names: Vec<String> =
        presented.iter().flat_map(|(identity, _)| &identity.names).map(ToString::to_string).collect();
    match names.split_at_checked(NAMES_SHOWN) {
        None if names.is_empty() => "for no name".to_owned(),
        None | Some((_, [])) => format!("for {}", names.join(", ")),
        Some((first, more)) => format!("for {} and {} more", first.join(", "), more.len()),
    }
}
