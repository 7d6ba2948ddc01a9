//! The throw-away certificates of a demo behind TLS: in a directory of their own, removed at the end.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::tls::client::{self, Connector, Roots};
use crate::tls::{dev, identity, material};

/// How many names are tried for the directory.
const TRIES: u32 = 100;

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory for temporary files takes no other.
    #[error("no directory can be made in `{}`", .0.display())]
    Directory(PathBuf, #[source] io::Error),
    /// They cannot be made or written.
    #[error("no throw-away certificates")]
    Make(#[source] dev::Error),
    /// They cannot be read again.
    #[error("the throw-away certificates cannot be used")]
    Use(#[source] material::Error),
}

/// Files that are there for as long as this is.
pub(super) struct Certificates {
    directory: PathBuf,
    files: dev::Files,
    connector: Arc<Connector>,
}

impl Certificates {
    /// Makes them for `localhost`.
    pub(super) fn make() -> Result<Self, Error> {
        let directory = directory()?;
        let options = dev::Options {
            names: ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into(),
            client: "demo".to_owned(),
            valid: dev::VALID,
        };
        let made = dev::write(&directory, &options, false).map_err(Error::Make);
        let files = made.inspect_err(|_| remove(&directory))?;
        let identity = identity::Source::Pem {
            cert: files.client_cert.clone(),
            key: files.client_key.clone(),
            password: None,
        };
        let options = client::Options {
            roots: Roots::Files(vec![files.ca.clone()]),
            identity: Some(identity),
            ..client::Options::default()
        };
        let loaded = Connector::load(options).map_err(Error::Use);
        let connector = Arc::new(loaded.inspect_err(|_| remove(&directory))?);
        Ok(Self { directory, files, connector })
    }

    /// Where they are.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn files(&self) -> &dev::Files {
        &self.files
    }

    /// How the demo's own clients begin TLS.
    pub(super) fn connector(&self) -> Arc<Connector> {
        Arc::clone(&self.connector)
    }

    /// The lines of the listener.
    pub(super) fn setting(&self) -> String {
        // A JSON string is a quoted YAML string.
        let quoted = |path: &Path| serde_json::Value::from(path.display().to_string());
        let (ca, cert, key) =
            (quoted(&self.files.ca), quoted(&self.files.server_cert), quoted(&self.files.server_key));
        format!(
            "    tls: {{ certificates: [ {{ cert: {cert}, key: {key} }} ], client_auth: optional, client_ca: {ca} }}\n"
        )
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        remove(&self.directory);
    }
}

fn remove(directory: &Path) {
    // It lies among files that are temporary anyway.
    let _ = fs::remove_dir_all(directory);
}

/// A new directory that nobody else can read. One that is there already is somebody else's.
fn directory() -> Result<PathBuf, Error> {
    let temporary = std::env::temp_dir();
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
    for number in 0..TRIES {
        let path = temporary.join(format!("gatehouse-demo-{}-{number}", std::process::id()));
        match builder.create(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
            Err(error) => return Err(Error::Directory(temporary, error)),
        }
    }
    Err(Error::Directory(temporary, last))
}
