//! Confluent for Kubernetes, koperator, the chart of Bitnami, and a StatefulSet of one's own.

use std::fs;

use rcgen::DnType;

use super::{Made, Place, Recipe, contents, value};
use crate::{
    Result,
    certificates::{Authority, Life},
    mounted::Contents,
};

/// Confluent for Kubernetes: the internal listener with TLS and SASL/PLAIN.
pub(super) const CONFLUENT: Recipe =
    Recipe { name: "confluent", kafka: "4.3.1", clients: &["java-4.4", "kcat"], make: confluent };

/// koperator: an internal listener of type `ssl`, in the place of its Envoy.
pub(super) const KOPERATOR: Recipe =
    Recipe { name: "koperator", kafka: "4.3.1", clients: &["java-4.4", "kcat"], make: koperator };

/// The chart of Bitnami: the client listener with TLS and SCRAM.
pub(super) const BITNAMI: Recipe =
    Recipe { name: "bitnami", kafka: "4.3.1", clients: &["java-4.4", "confluent-python"], make: bitnami };

/// Kafka of 2020 on ZooKeeper, with clients of the same age.
pub(super) const STATEFULSET: Recipe =
    Recipe { name: "statefulset", kafka: "2.4.1", clients: &["java-2.4", "kcat"], make: statefulset };

fn confluent(place: &Place) -> Result<Made> {
    let authority = Authority::new("TestCA")?;
    // assets/certs/component-certs/kafka-server-domain.json of confluent-kubernetes-examples.
    let names = ["kafka", "kafka.confluent.svc.cluster.local", "*.kafka.confluent.svc.cluster.local"];
    let pair = authority.server(&names)?;
    Ok(Made {
        protocol: "SASL_SSL",
        broker: ("kafka-NODE.kafka.confluent.svc.cluster.local", 9071),
        services: &["kafka.confluent.svc.cluster.local"],
        settings: format!(
            "{}\nsasl.enabled.mechanisms=PLAIN\nplain.sasl.jaas.config={LOGIN}.plain.PlainLoginModule required \
             user_gatehouse=\"gatehouse-pw\" user_my-user=\"my-user-pw\";",
            key_store(place, &format!("{}{}", pair.key, pair.certificate))?
        ),
        secrets: [
            (
                "tls-kafka".to_owned(),
                contents([
                    ("cacerts.pem", authority.pem()),
                    ("fullchain.pem", &pair.certificate),
                    ("privkey.pem", &pair.key),
                ]),
            ),
            ("gatehouse-login".to_owned(), contents([("password", "gatehouse-pw")])),
        ]
        .into(),
        password: "my-user-pw",
        ..Made::default()
    })
}

fn koperator(place: &Place) -> Result<Made> {
    let authority = Authority::new("kafka.kafka.cluster.local")?;
    // GetInternalDNSNames in pkg/util/pki/common.go of koperator, with headlessServiceEnabled.
    let pair = authority.server(&[
        "*.kafka-headless.kafka.svc.cluster.local",
        "kafka-headless.kafka.svc.cluster.local",
        "*.kafka-headless.kafka.svc",
        "kafka-headless.kafka.svc",
        "*.kafka-headless.kafka",
        "kafka-headless.kafka",
        "kafka-headless",
    ])?;
    let trust = place.path("ca.pem");
    fs::write(&trust, authority.pem())?;
    let client = user(&authority, "my-user")?;
    Ok(Made {
        protocol: "SSL",
        broker: ("kafka-NODE.kafka-headless.kafka.svc.cluster.local", 29092),
        services: &["kafka-headless.kafka.svc.cluster.local"],
        settings: format!(
            "{}\nssl.client.auth=required\nssl.truststore.type=PEM\nssl.truststore.location={}",
            key_store(place, &format!("{}{}", pair.key, pair.certificate))?,
            value(&trust)
        ),
        secrets: [
            ("gatehouse".to_owned(), user(&authority, "gatehouse")?),
            ("partners".to_owned(), user(&authority, "partners")?),
        ]
        .into(),
        client: [("user.pem".to_owned(), [client["tls.key"].as_slice(), &client["tls.crt"]].concat())].into(),
        ..Made::default()
    })
}

/// The Secret of a KafkaUser of koperator, which cert-manager makes.
fn user(authority: &Authority, name: &str) -> Result<Contents> {
    let pair = authority.client(&[(DnType::CommonName, name)], Life::Now)?;
    Ok(contents([("ca.crt", authority.pem()), ("tls.crt", &pair.certificate), ("tls.key", &pair.key)]))
}

fn bitnami(place: &Place) -> Result<Made> {
    let authority = Authority::new("kafka-ca")?;
    // templates/tls-secret.yaml of the chart, for the release `kafka` in the namespace `kafka`.
    let pair = authority.server(&[
        "kafka.kafka.svc.cluster.local",
        "kafka.kafka",
        "kafka",
        "127.0.0.1",
        "localhost",
        "*.kafka-controller-headless.kafka.svc.cluster.local",
        "*.kafka-controller-headless.kafka",
        "*.kafka-controller-headless",
    ])?;
    Ok(Made {
        protocol: "SASL_SSL",
        broker: ("kafka-controller-NODE.kafka-controller-headless.kafka.svc.cluster.local", 9092),
        services: &["kafka.kafka.svc.cluster.local"],
        settings: format!(
            "{}\nsasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
             plain.sasl.jaas.config={LOGIN}.plain.PlainLoginModule required \
             user_gatehouse=\"gatehouse-pw\" user_my-user=\"my-user-pw\";\n\
             scram-sha-256.sasl.jaas.config={LOGIN}.scram.ScramLoginModule required;\n\
             scram-sha-512.sasl.jaas.config={LOGIN}.scram.ScramLoginModule required;",
            key_store(place, &format!("{}{}", pair.key, pair.certificate))?
        ),
        users: &[("gatehouse", "gatehouse-pw"), ("my-user", "my-user-pw")],
        secrets: [
            (
                "kafka-tls".to_owned(),
                contents([
                    ("ca.crt", authority.pem()),
                    ("tls.crt", &pair.certificate),
                    ("tls.key", &pair.key),
                ]),
            ),
            // templates/secrets.yaml: the password of the first user has a key of its own.
            (
                "kafka-user-passwords".to_owned(),
                contents([
                    ("client-passwords", "gatehouse-pw,my-user-pw"),
                    ("system-user-password", "gatehouse-pw"),
                    ("inter-broker-password", "inter-broker-pw"),
                    ("controller-password", "controller-pw"),
                ]),
            ),
        ]
        .into(),
        password: "my-user-pw",
        ..Made::default()
    })
}

fn statefulset(_place: &Place) -> Result<Made> {
    Ok(Made {
        protocol: "PLAINTEXT",
        broker: ("kafka-NODE.kafka-headless.kafka.svc.cluster.local", 29092),
        services: &["kafka-headless.kafka.svc.cluster.local"],
        ..Made::default()
    })
}

/// Writes the brokers' key store, one for all of them, and gives the settings for it.
fn key_store(place: &Place, pem: &str) -> Result<String> {
    let file = place.path("broker.pem");
    fs::write(&file, pem)?;
    Ok(format!("ssl.keystore.type=PEM\nssl.keystore.location={}", value(&file)))
}

const LOGIN: &str = "org.apache.kafka.common.security";
