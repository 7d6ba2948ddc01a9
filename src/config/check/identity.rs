//! Files of certificates, keys and passwords: which ones, and where the configuration names them.

use std::path::PathBuf;

use super::section::Section;
use super::{Check, Checked};
use crate::config::codes::Code;
use crate::config::diagnostic::{Diagnostic, Place};
use crate::config::yaml::{Node, Value};
use crate::tls::identity::{Password, Source};

/// The settings of a certificate with its key.
pub(super) const IDENTITY: &[&str] = &["cert", "key", "key_password", "pkcs12", "password"];

/// The most files that one list names.
const FILES_MAX: usize = 256;

/// The files that a section names.
#[derive(Default)]
pub(super) struct Files(Vec<Named>);

struct Named {
    path: String,
    place: Place,
    /// It came from the environment, of which nothing is printed.
    hidden: bool,
}

impl Files {
    /// The place of the file that a message speaks of, or of its directory.
    pub(super) fn place(&self, message: &str) -> Option<&Place> {
        let speaks_of = |file: &&Named| {
            let path = file.path.trim_end_matches('/');
            message.contains(&format!("`{path}`")) || message.contains(&format!("`{path}/"))
        };
        self.0.iter().filter(speaks_of).max_by_key(|file| file.path.len()).map(|file| &file.place)
    }

    /// The message without what came from the environment.
    pub(super) fn printable(&self, message: String) -> String {
        let hidden = self.0.iter().filter(|file| file.hidden);
        hidden.fold(message, |message, file| message.replace(&file.path, "…"))
    }
}

/// What a side presents, and where the configuration says so.
pub(super) struct Presented {
    pub(super) source: Source,
    pub(super) shown: Shown,
}

/// Where a certificate with its key is named.
pub(super) struct Shown {
    /// The place of the certificate's file.
    pub(super) place: Place,
    pub(super) files: Files,
}

/// What a Java key store is asked to become.
const OF_CERTIFICATE: &str = "convert it once: `keytool -importkeystore -srckeystore FILE.jks -destkeystore \
                              FILE.p12 -deststoretype PKCS12`, then say `pkcs12: FILE.p12`";
const OF_AUTHORITIES: &str =
    "take the certificates out once: `keytool -list -rfc -keystore FILE.jks > FILE.pem`, then name FILE.pem";

impl Check<'_> {
    /// A certificate with its key, in one of the two forms.
    pub(super) fn presented(&mut self, section: &Section<'_>, what: &str) -> Checked<Presented> {
        if let Some((pkcs12, node)) = section.entry("pkcs12") {
            for name in ["cert", "key", "key_password"] {
                if let Some((other, _)) = section.entry(name) {
                    let title = format!("both `pkcs12` and `{name}`");
                    let fault = Diagnostic::error(Code::WrongKind, title, &other.place)
                        .also(&pkcs12.place, "holds certificate and key");
                    return self.report(fault.help("keep `pkcs12` and `password`, or `cert` and `key`"));
                }
            }
            let mut files = Files::default();
            let file = self.file_of(node, OF_CERTIFICATE, &mut files);
            let password =
                self.required(section, what, "password").and_then(|node| self.password(node, &mut files));
            let source = Source::Pkcs12 { file: file?, password: password? };
            return Ok(Presented { source, shown: Shown { place: node.place.clone(), files } });
        }
        if let Some((name, _)) = section.entry("password") {
            let fault = Diagnostic::error(Code::WrongKind, "`password` is that of `pkcs12`", &name.place);
            self.note(fault.fix(&name.place, "key_password", "did you mean that of the key?"));
        }
        let mut files = Files::default();
        let cert = self.required(section, what, "cert");
        let place = cert.map(|node| node.place.clone());
        let cert = cert.and_then(|node| self.file_of(node, OF_CERTIFICATE, &mut files));
        let key = self.required(section, what, "key");
        let key = key.and_then(|node| self.file_of(node, OF_CERTIFICATE, &mut files));
        let password = section.get("key_password").map(|node| self.password(node, &mut files)).transpose();
        let source = Source::Pem { cert: cert?, key: key?, password: password? };
        Ok(Presented { source, shown: Shown { place: place?, files } })
    }

    /// Files or directories with authorities, or with revocation lists.
    pub(super) fn trusted(&mut self, node: &Node, what: &str, files: &mut Files) -> Checked<Vec<PathBuf>> {
        let items = self.list(node, what)?;
        if items.len() > FILES_MAX {
            let title = format!("more than {FILES_MAX} files");
            return self.report(Diagnostic::error(Code::Number, title, &self.visible(&node.place)));
        }
        super::value::all(items.into_iter().map(|item| self.file_of(item, OF_AUTHORITIES, files)))
    }

    /// The path of a file, which is noted among `files`. `conversion` says what to do with a Java key store.
    fn file_of(&mut self, node: &Node, conversion: &str, files: &mut Files) -> Checked<PathBuf> {
        let text = self.text(node)?;
        if text.is_empty() || text.contains('\0') {
            return self.bad(Code::WrongKind, node, "the path of a file", None);
        }
        let path = PathBuf::from(text);
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("jks")) {
            let fault = Diagnostic::error(Code::KeyStore, "a Java key store (JKS) is not read", &node.place);
            return self.report(fault.help(conversion));
        }
        files.0.push(Named {
            path: text.to_owned(),
            place: node.place.clone(),
            hidden: matches!(node.value, Value::Variable(_)),
        });
        Ok(path)
    }

    /// A password: a file is kept as its path, and read whenever the key is.
    fn password(&mut self, node: &Node, files: &mut Files) -> Checked<Password> {
        if let [(name, file)] = node.entries()
            && name.text == "file"
        {
            return self.file_of(file, OF_CERTIFICATE, files).map(Password::File);
        }
        self.secret(node).map(Password::Text)
    }
}
