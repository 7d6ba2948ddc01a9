//! Moves bytes between one client and one broker.

pub mod core;
pub mod in_flight;
pub mod violation;
