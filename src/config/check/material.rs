//! The files of certificates, read and held against what the configuration says about them.

use std::error::Error;
use std::time::{Duration, SystemTime};

use super::identity::{Files, Shown};
use super::routing::Routing;
use super::tls::Terminated;
use super::upstream::Upstream;
use super::value::all;
use super::{Check, Checked};
use crate::cluster::Routes;
use crate::config::codes::Code;
use crate::config::diagnostic::{Diagnostic, Place};
use crate::logging::chain;
use crate::logging::printable::signed_name;
use crate::tls::client::{self, Connector};
use crate::tls::identity::{self, Identity, Source};
use crate::tls::inspect::is_covered;
use crate::tls::lifetime::ends_soon;
use crate::tls::server::Terminator;

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
        let identities = all(sources.map(|(source, shown)| Ok((self.read(source, shown)?, &shown.place))))?;
        self.same_names(&identities);
        if let Some(routing) = routing {
            self.covered(&identities, routing)?;
        }
        match Terminator::load(tls.options.clone()) {
            Ok(terminator) => {
                self.trust(terminator.status().warnings, &tls.files);
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
        let identity = match (&upstream.options.identity, &upstream.shown) {
            (Some(source), Some(shown)) => self.read(source, shown).map(|_| ()),
            _ => Ok(()),
        };
        match Connector::load(client::Options { identity: None, ..upstream.options.clone() }) {
            Ok(connector) => {
                self.trust(connector.status().warnings, &upstream.files);
                identity
            }
            Err(error) => self.unusable(Code::Certificate, &error, (&upstream.place, &upstream.files)),
        }
    }

    /// What the clients of a listener are to the brokers.
    pub(super) fn read_identity(&mut self, source: &Source, shown: &Shown) -> Checked<()> {
        if self.reads_files() { self.read(source, shown).map(|_| ()) } else { Ok(()) }
    }

    fn read(&mut self, source: &Source, Shown { place, files }: &Shown) -> Checked<Identity> {
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
            (Ok(left), _) if ends_soon(identity.not_before, identity.not_after, now) => {
                format!("the certificate runs out in {}", days(left))
            }
            (Ok(_), _) => return,
        };
        let warning = Diagnostic::warning(Code::Lifetime, title, place).label(signed_name(&identity.subject));
        self.note(warning.help("renew it; the gateway takes a new file by itself, without a restart"));
    }

    /// Warns of authorities and revocation lists that work, and will surprise.
    fn trust(&mut self, warnings: Vec<String>, files: &Files) {
        for warning in warnings {
            if let Some(place) = files.place(&warning) {
                self.note(Diagnostic::warning(Code::Trust, files.printable(warning.clone()), place));
            }
        }
    }

    /// Warns of certificates that are never chosen: the first for the name has a key of the same kind, so that
    /// no client takes the second and not the first.
    fn same_names(&mut self, identities: &[(Identity, &Place)]) {
        for (at, (identity, place)) in identities.iter().enumerate() {
            let mut before = identities.iter().take(at);
            let algorithm = |identity: &Identity| identity.certified.key.algorithm();
            let same = before.find_map(|(other, other_place)| {
                if algorithm(other) != algorithm(identity) {
                    return None;
                }
                let name = identity.names.iter().find(|name| other.names.contains(name))?;
                Some((name, other_place))
            });
            if let Some((name, chosen)) = same {
                let title = format!("two certificates are for `{name}`");
                let warning = Diagnostic::warning(Code::SameNames, title, place)
                    .label("never chosen for it")
                    .also(chosen, "chosen, because it comes first");
                self.note(warning);
            }
        }
    }

    /// Holds the names that clients are told against those that the certificates are for. A listener that is
    /// reached by name must have one for each; clients of another may not look.
    fn covered(&mut self, presented: &[(Identity, &Place)], routing: &Routing) -> Checked<()> {
        let names = names(presented);
        let each: Vec<Vec<String>> = presented
            .iter()
            .map(|(identity, _)| identity.names.iter().map(ToString::to_string).collect())
            .collect();
        let is_covered = |told: &str| is_covered(&each, told);
        let not_covered = |fault: Diagnostic| match presented.first() {
            Some((_, place)) => fault.also(place, in_short(&names)),
            None => fault,
        };
        let (Routes::Names(told), Some(places)) = (&routing.routes, &routing.named) else {
            // Whether a certificate is for the address of a Service shows when that is known.
            if let Some((host, _)) = routing.routes.bootstrap().filter(|(host, _)| !is_covered(host)) {
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

/// Everything that the certificates are for, each name once.
fn names(presented: &[(Identity, &Place)]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in presented.iter().flat_map(|(identity, _)| &identity.names).map(ToString::to_string) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The same in short.
fn in_short(names: &[String]) -> String {
    match names.split_at_checked(NAMES_SHOWN) {
        None if names.is_empty() => "for no name".to_owned(),
        None | Some((_, [])) => format!("for {}", names.join(", ")),
        Some((first, more)) => format!("for {} and {} more", first.join(", "), more.len()),
    }
}
