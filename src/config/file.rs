//! The file of a configuration, so that it can be read again.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::diagnostic::Diagnostics;
use super::{Config, FILE_BYTES_MAX, Surroundings, load};

/// Why a file gives no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory. The configuration is one file: one truth.
    #[error("{} is a directory; the configuration is one file", .0.display())]
    Directory(PathBuf),
    /// It is not there, or not to be read.
    #[error("{} cannot be read", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The configuration came from somewhere else than a file.
    #[error("the configuration came from {0}, which cannot be read again; start the gateway with a file")]
    NoFile(String),
    /// It is wrong.
    #[error("{file} is wrong: {}", first(.diagnostics))]
    Wrong {
        /// The file.
        file: String,
        /// Everything that is wrong with it.
        diagnostics: Box<Diagnostics>,
    },
}

fn first(diagnostics: &Diagnostics) -> String {
    let (errors, _) = diagnostics.count();
    let more = if errors > 1 { format!(", and {} more", errors - 1) } else { String::new() };
    let first = diagnostics.iter().find(|d| d.severity == super::diagnostic::Severity::Error);
    let first = first.map(|d| match d.path.as_str() {
        "" => format!("{} {}", d.code, d.title),
        path => format!("{} {path}: {}", d.code, d.title),
    });
    format!("{}{more}", first.unwrap_or_default())
}

/// The text of a file. A longer one than [`FILE_BYTES_MAX`] comes with one byte more, so that it is refused and
/// not cut.
///
/// # Errors
/// [`Error::Directory`], [`Error::Read`].
pub fn read(path: &Path) -> Result<String, Error> {
    if path.is_dir() {
        return Err(Error::Directory(path.to_owned()));
    }
    let mut text = String::new();
    let read =
        fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text));
    read.map(|_| text).map_err(|source| Error::Read { file: path.to_owned(), source })
}

/// Where a configuration came from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A file, and what its meaning depends on beside it. The path is followed anew each time: a link may lead
    /// elsewhere by then, as that of a mounted ConfigMap does.
    File {
        /// Its path.
        path: PathBuf,
        /// As they were when the process started.
        surroundings: Box<Surroundings>,
    },
    /// Something that is gone once it was read, by its name.
    Gone(String),
}

impl Origin {
    /// Reads it again.
    ///
    /// # Errors
    /// Each of [`Error`].
    pub fn load(&self) -> Result<(Config, Diagnostics), Error> {
        match self {
            Self::Gone(name) => Err(Error::NoFile(name.clone())),
            Self::File { path, surroundings } => {
                let (file, text) = (path.display().to_string(), read(path)?);
                load(&file, &text, surroundings)
                    .map_err(|diagnostics| Error::Wrong { file, diagnostics: Box::new(diagnostics) })
            }
        }
    }

    /// Whether it can be read again.
    pub fn is_file(&self) -> bool {
        matches!(self, Self::File { .. })
    }
}
