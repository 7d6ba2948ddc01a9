//! Holds the table and the shapes against Kafka's own message definitions, in the client jar of Kafka 4.4.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by them")]

mod addresses;
mod definition;
mod jar;
mod shapes;
mod versions;
