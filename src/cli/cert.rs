//! `cert`: what is in certificates, and throw-away ones for trying things.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::json;

use super::args::{CertCommand, CertDev, Format};
use super::output::Output;
use super::{Exit, output};
use crate::logging::chain;
use crate::logging::printable::signed_name;
use crate::tls::dev;
use crate::tls::inspect::{self, Certificate, FILE_BYTES_MAX, Item, RevocationList};

const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) fn cert(command: &CertCommand, output: Output) -> Exit {
    match command {
        CertCommand::Show { files } => show(files, output),
        CertCommand::Dev(dev) => make(dev, output),
    }
}

/// A file with what is in it, for programs.
#[derive(Serialize)]
struct Shown<'a> {
    file: &'a Path,
    items: Vec<Item>,
}

fn show(files: &[PathBuf], output: Output) -> Exit {
    let mut shown = Vec::with_capacity(files.len());
    let mut exit = Exit::Done;
    for file in files {
        match read(file) {
            Ok(items) => shown.push(Shown { file, items }),
            Err(error) => {
                output::error(&format!("error: {}: {error}", file.display()));
                exit = Exit::Failed;
            }
        }
    }
    let written = match output.format {
        Format::Json => output.json(&shown),
        Format::Text => {
            let text: Vec<String> = shown.iter().map(|shown| as_text(shown, SystemTime::now())).collect();
            output.data(&text.join("\n"))
        }
    };
    if exit == Exit::Done { written } else { exit }
}

fn read(path: &Path) -> Result<Vec<Item>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes));
    file.map_err(|error| error.to_string())?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(format!("it is longer than {FILE_BYTES_MAX} bytes"));
    }
    inspect::read(&bytes).map_err(|error| error.to_string())
}

fn as_text(shown: &Shown<'_>, now: SystemTime) -> String {
    let mut text = format!("{}\n", shown.file.display());
    for item in &shown.items {
        let (kind, rows) = match item {
            Item::Certificate(certificate) => ("certificate", certificate_rows(certificate, now)),
            Item::RevocationList(list) => ("revocation list", list_rows(list, now)),
            Item::PrivateKey => ("private key", Vec::new()),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {kind}");
        for (name, value) in rows {
            let _ = writeln!(text, "    {name:<9} {}", signed_name(&value));
        }
    }
    text
}

fn certificate_rows(certificate: &Certificate, now: SystemTime) -> Vec<(&'static str, String)> {
    let mut rows = vec![("subject", certificate.subject.clone()), ("issuer", certificate.issuer.clone())];
    if certificate.subject == certificate.issuer {
        rows[1].1 = "itself".to_owned();
    }
    if certificate.authority {
        rows.push(("may", "sign others".to_owned()));
    }
    if !certificate.names.is_empty() {
        rows.push(("names", certificate.names.join(", ")));
    }
    rows.push(("valid", format!("from {}", date(certificate.not_before))));
    let until = format!("until {}, {}", date(certificate.not_after), left(certificate.not_after, now));
    rows.push(("", until));
    if certificate.not_before > now {
        rows.push(("", "not valid yet".to_owned()));
    }
    rows.push(("serial", certificate.serial.clone()));
    rows.push(("sha256", certificate.sha256.clone()));
    rows
}

fn list_rows(list: &RevocationList, now: SystemTime) -> Vec<(&'static str, String)> {
    let next = match list.next_update {
        Some(next) => format!("{}, {}", date(next), left(next, now)),
        None => "not told".to_owned(),
    };
    vec![
        ("issuer", list.issuer.clone()),
        ("made", date(list.this_update)),
        ("next", next),
        ("revokes", list.revoked.to_string()),
        ("sha256", list.sha256.clone()),
    ]
}

fn date(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

/// `61 days left`, `ended 3 days ago`.
fn left(until: SystemTime, now: SystemTime) -> String {
    let days = |duration: Duration| match duration.as_secs() / DAY.as_secs() {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    };
    match until.duration_since(now) {
        Ok(ahead) => format!("{} left", days(ahead)),
        Err(past) => format!("ended {} ago", days(past.duration())),
    }
}

fn make(wanted: &CertDev, output: Output) -> Exit {
    let options =
        dev::Options { names: wanted.names.clone(), client: wanted.client.clone(), valid: DAY * wanted.days };
    match dev::write(&wanted.out, &options, wanted.force) {
        Ok(files) => match output.format {
            Format::Json => output.json(&json!({
                "ca": files.ca,
                "cert": files.server_cert,
                "key": files.server_key,
                "client_cert": files.client_cert,
                "client_key": files.client_key,
                "client_pem": files.client_both,
                "client_properties": files.java,
                "client_mtls_properties": files.java_mtls,
            })),
            Format::Text => output.data(&written(wanted, &files)),
        },
        Err(error) => {
            output::error(&format!("error: {}", chain(&error)));
            if matches!(error, dev::Error::Exists(_)) {
                output::error("`--force` writes over it, `--out DIR` writes elsewhere");
            }
            if matches!(error, dev::Error::Name(_)) { Exit::Usage } else { Exit::Failed }
        }
    }
}

/// What was written, the listener's block, and how clients use it.
fn written(wanted: &CertDev, files: &dev::Files) -> String {
    let days = if wanted.days == 1 { "1 day".to_owned() } else { format!("{} days", wanted.days) };
    let host = wanted.names.iter().find(|name| !name.starts_with('*')).map_or("HOST", String::as_str);
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let dev::Files { ca, server_cert, server_key, client_cert, client_key, client_both: _, java, java_mtls } =
        files;
    let [ca, cert, key, client_cert, client_key, java, mtls] =
        [ca, server_cert, server_key, client_cert, client_key, java, java_mtls].map(|path| path.display());
    format!(
        "wrote {directory}, valid for {days}:
  ca.crt             the authority, for clients to trust
  tls.crt, tls.key   the gateway, for {names}
  client.crt, .key   a client, CN={client}; client.pem and client*.properties for Java

gateway, in the listener:
    tls:
      certificates:
        - cert: {cert}
          key: {key}
      # client_auth: required          # clients must show a certificate
      # client_ca: {ca}

kcat and everything on librdkafka:
  kcat -b {host}:9092 -X security.protocol=ssl -X ssl.ca.location={ca} -L
  with client_auth: -X ssl.certificate.location={client_cert} -X ssl.key.location={client_key}

Java, Kafka 2.7 and newer:
  kafka-console-producer.sh --bootstrap-server {host}:9092 --producer.config {java} --topic mine
  with client_auth: {mtls} (Kafka 3.9 and newer; 2.8 wants the key encrypted)
",
        directory = wanted.out.display(),
        names = wanted.names.join(", "),
        client = wanted.client,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_both_ways() {
        let now = SystemTime::now();
        for (until, text) in [
            (now + DAY * 61 + DAY / 2, "61 days left"),
            (now + DAY, "1 day left"),
            (now + DAY / 2, "less than a day left"),
            (now - DAY * 3, "ended 3 days ago"),
        ] {
            assert_eq!(left(until, now), text);
        }
    }
}
