//! Gatehouse: one door in front of a Kafka cluster. The story and the order of the modules stand in
//! `ARCHITECTURE.md`.

pub mod admin;
pub mod advertised;
pub mod app;
pub mod check;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod connect;
pub mod demo;
pub mod drain;
pub mod kafka;
pub mod limits;
pub mod listen;
pub mod logging;
pub mod metrics;
pub mod net;
pub mod patch;
pub mod proxy_header;
pub mod registry;
pub mod relay;
pub mod sasl;
pub mod session;
pub mod tls;
pub mod topology;
pub mod toy;
