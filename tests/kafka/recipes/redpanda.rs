//! Redpanda's internal listener as its chart makes it (26.2: `secrets.go`, `certs.go`), before Apache Kafka.

use std::fs;

use super::{Made, Place, Recipe, contents, plain, value};
use crate::{Result, certificates::Authority};

/// TLS, SCRAM, and names with a dot at the end.
pub(super) const REDPANDA: Recipe = Recipe { name: "redpanda", kafka: "4.3.1", clients: &["java-4.4"], make };

fn make(place: &Place) -> Result<Made> {
    let root = Authority::new("redpanda-default-root-certificate")?;
    let pair = root.server(&[
        "redpanda-cluster.redpanda.redpanda.svc.cluster.local",
        "*.redpanda-cluster.redpanda.redpanda.svc.cluster.local",
        "redpanda.redpanda.svc.cluster.local",
        "*.redpanda.redpanda.svc.cluster.local",
    ])?;
    fs::write(place.path("broker.pem"), format!("{}{}", pair.key, pair.certificate))?;
    Ok(Made {
        protocol: "SASL_SSL",
        broker: ("redpanda-NODE.redpanda.redpanda.svc.cluster.local.", 9093),
        services: &["redpanda.redpanda.svc.cluster.local"],
        settings: format!(
            "ssl.keystore.type=PEM\nssl.keystore.location={}\n{}",
            value(&place.path("broker.pem")),
            plain::SCRAM_LOGIN
        ),
        users: plain::USERS,
        secrets: [
            ("redpanda-default-cert".to_owned(), contents([("ca.crt", root.pem())])),
            ("gatehouse-login".to_owned(), plain::login()),
        ]
        .into(),
        password: plain::PASSWORD,
        ..Made::default()
    })
}
