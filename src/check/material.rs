//! The files of one side of TLS: whether they can be used, and for how long.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::task::spawn_blocking;
use tokio::time::timeout_at;

use super::Time;
use super::broker::left;
use super::fault::Fault;
use super::report::Line;
use crate::config::codes::Code;
use crate::logging::chain;
use crate::tls::client::{self, Connector};
use crate::tls::lifetime::ends_soon;
use crate::tls::material::Error;
use crate::tls::server::{self, Terminator};
use crate::tls::status::{Authority, Certificate, Status};

/// Reads the files towards clients.
pub(super) async fn terminator(options: server::Options, time: Time) -> Result<Terminator, Fault> {
    read(Code::ListenerFiles, time, move || Terminator::load(options)).await
}

/// Reads the files towards brokers.
pub(super) async fn connector(options: client::Options, time: Time) -> Result<Arc<Connector>, Fault> {
    read(Code::ClusterFiles, time, move || Connector::load(options)).await.map(Arc::new)
}

/// Files may stand on a disk that does not answer.
async fn read<T: Send + 'static>(
    code: Code,
    time: Time,
    load: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Fault> {
    match timeout_at(time.end, spawn_blocking(load)).await {
        Ok(Ok(Ok(loaded))) => Ok(loaded),
        Ok(Ok(Err(error))) => {
            let hint = "the gateway does not start with it; one that runs keeps what it loaded before";
            Err(Fault::new(code, chain(&error), hint))
        }
        Ok(Err(_)) | Err(_) => Err(Fault { code, ..Fault::late(time.given) }),
    }
}

/// What there is to say of files that can be used, but for the certificates that are fine.
pub(super) fn lines(status: &Status) -> Vec<Line> {
    let now = SystemTime::now();
    let mut lines: Vec<Line> = status.certificates.iter().filter_map(|found| ends(found, now)).collect();
    let soon = |authority: &&Authority| ends_soon(authority.not_before, authority.not_after, now);
    for authority in status.authorities.iter().filter(soon) {
        let told = format!("authority {} {}", authority.subject, left(authority.not_after));
        let hint = format!("add its successor beside it: {}", authority.file.display());
        lines.push(Line::warn(Code::AuthorityEnds, told).hint(hint));
    }
    for list in &status.revocation_lists {
        let file = name(&list.file);
        lines.push(match list.next_update {
            Some(next) if next <= now => {
                let told = format!("revocation list {file} {}", left(next));
                let hint =
                    format!("until there is a new one, every certificate of {} is refused", list.issuer);
                Line::fail(Code::RevocationListEnds, told).hint(hint)
            }
            next => {
                let until = next.map_or_else(|| "no date".to_owned(), left);
                Line::ok(format!("revocation list {file}: {} revoked, {until}", list.revoked))
            }
        });
    }
    // Dates are told above, with what they mean here; that nothing is verified is a matter of the file.
    let told = [" ran out at ", " is not valid before ", " are not checked"];
    let others = status.warnings.iter().filter(|warning| !told.iter().any(|words| warning.contains(words)));
    lines.extend(others.map(|warning| Line::warn(Code::WeakFile, warning.as_str())));
    lines
}

fn ends(found: &Certificate, now: SystemTime) -> Option<Line> {
    let (file, left) = (name(&found.file), left(found.not_after));
    if found.not_after <= now {
        let line = Line::fail(Code::CertificateExpired, format!("certificate {file} {left}"));
        Some(line.hint("renew it; the gateway loads the new files by itself"))
    } else if found.not_before > now {
        let start = humantime::format_rfc3339_seconds(found.not_before);
        let told = format!("certificate {file} is not valid before {start}");
        let line = Line::fail(Code::CertificateExpired, told);
        Some(line.hint(format!("is the clock right? Here it is {}", humantime::format_rfc3339_seconds(now))))
    } else if ends_soon(found.not_before, found.not_after, now) {
        let line = Line::warn(Code::CertificateEnds, format!("certificate {file}: {left}"));
        Some(line.hint("renew it; the gateway loads the new files by itself"))
    } else {
        None
    }
}

/// The file without its folders, as a person calls it.
pub(super) fn name(file: &Path) -> String {
    file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned()
}
