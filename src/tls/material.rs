//! Files that are read as a whole, checked as a whole, and only then put in place of what is in use.

use crate::tls::{identity, trust};

/// Why material cannot be used. The source in the chain names the file, the fault, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What this side would present.
    #[error("the certificate to present cannot be used")]
    Identity(#[source] identity::Error),
    /// Whom this side would trust.
    #[error("the trusted certificates cannot be used")]
    Trust(#[source] trust::Error),
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
    },
    /// They hold something that is refused; what was loaded before stays in use. Told once for each fault.
    Kept(Error),
    /// The fault that was told before is still there; `status().fault` has its text.
    StillKept,
}
