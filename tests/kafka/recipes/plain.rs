//! A cluster whose listener is in the clear, and what other recipes share: users with passwords.

use super::{Made, Place, contents};
use crate::{Result, mounted::Contents};

/// The listener of pages that are about the way to the gateway.
pub(super) fn make(_place: &Place) -> Result<Made> {
    Ok(Made { protocol: "PLAINTEXT", broker: (BROKER, 9092), services: &SERVICES, ..Made::default() })
}

/// The same for clients that log in.
pub(super) fn with_login(_place: &Place) -> Result<Made> {
    Ok(Made {
        protocol: "SASL_PLAINTEXT",
        broker: (BROKER, 9092),
        services: &SERVICES,
        settings: SCRAM_LOGIN.to_owned(),
        users: USERS,
        secrets: [("gatehouse-login".to_owned(), login())].into(),
        password: PASSWORD,
        ..Made::default()
    })
}

/// The Secret with the gateway's own password.
pub(super) fn login() -> Contents {
    contents([("password", OWN_PASSWORD)])
}

/// The gateway's own user, and those of clients.
pub(super) const USERS: &[(&str, &str)] =
    &[("gatehouse", OWN_PASSWORD), ("alice", PASSWORD), ("connect", PASSWORD)];
/// The password of clients.
pub(super) const PASSWORD: &str = "clients-pw";
/// A listener's settings for logins with SCRAM.
pub(super) const SCRAM_LOGIN: &str = "sasl.enabled.mechanisms=SCRAM-SHA-512\n\
    scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;";
const OWN_PASSWORD: &str = "gatehouse-pw";
const BROKER: &str = "main-broker-NODE.main-kafka-brokers.kafka.svc.cluster.local";
const SERVICES: [&str; 1] = ["main-kafka-bootstrap.kafka.svc"];
