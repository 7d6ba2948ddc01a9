//! The gateway and the toy cluster in one process: what each side is told, and what neither may do to the
//! other. Nothing here needs a network beyond loopback.

#![allow(clippy::expect_used, clippy::panic, reason = "a test says what failed by panicking")]

mod addresses;
#[cfg(feature = "kubernetes")]
mod advertised;
mod client;
mod demo;
mod gateway;
mod hostile_brokers;
mod hostile_clients;
mod limits;
mod poll;
mod proxy_protocol;
mod records;
mod reload;
mod streams;
mod tls;
mod topology;
mod toy;
