//! TLS towards clients and brokers: who is let in, who is refused and told why, and what follows the files.

mod brokers;
mod check;
mod early_writes;
pub(crate) mod files;
mod front;
mod hellos;
pub(crate) mod house;
mod identities;
mod limits;
pub(crate) mod lines;
mod matrix;
mod names;
mod openssl;
pub(crate) mod peer;
pub(crate) mod pki;
mod reload;
mod resumption;
mod revocation;
mod secrets;
mod streams;
