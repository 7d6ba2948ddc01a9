//! Data to stdout, everything else to stderr.

use std::io::{self, Write as _};

use serde::Serialize;

use super::Exit;
use super::args::Format;

/// Where data goes, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    pub(super) format: Format,
    pub(super) quiet: bool,
}

impl Output {
    /// Writes data. Whoever reads may stop early: that is no failure.
    pub(super) fn data(self, text: &str) -> Exit {
        let mut stdout = anstream::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                self::error(&format!("error: standard output: {error}"));
                Exit::Failed
            }
            Ok(()) | Err(_) => Exit::Done,
        }
    }

    /// Writes one JSON document.
    pub(super) fn json(self, value: &impl Serialize) -> Exit {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.data(&(text + "\n")),
            Err(error) => {
                self::error(&format!("error: {error}"));
                Exit::Failed
            }
        }
    }

    /// Writes the one line that says that all is well.
    pub(super) fn success(self, line: &str) -> Exit {
        if self.quiet { Exit::Done } else { self.data(&format!("{line}\n")) }
    }
}

/// Writes to stderr; where nobody reads it, there is nobody to tell.
pub(super) fn error(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}
