//! Strimzi: certificates, listeners and Secrets as its operators make them (1.2: `OpenSslCertIssuer`, `KafkaCluster`,
//! `KafkaBrokerConfigurationBuilder`, `KafkaUserModel`).

use std::fs;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA512, RsaKeySize,
    date_time_ymd,
};

use super::{Made, Place, Recipe, contents, value};
use crate::{
    Result,
    certificates::{Authority, Pair, distinguished},
    cluster::NODES,
};

/// The internal listener with TLS and SCRAM, which passes through.
pub(super) const SCRAM: Recipe =
    Recipe { name: "strimzi", kafka: "4.3.1", clients: &["java-4.4", "confluent-python"], make: scram };

fn scram(place: &Place) -> Result<Made> {
    let cluster_ca = authority("cluster-ca", 0)?;
    brokers(place, &cluster_ca)?;
    Ok(Made {
        protocol: "SASL_SSL",
        broker: (BROKER, 9094),
        services: &SERVICES,
        settings: format!(
            "{}\nsasl.enabled.mechanisms=SCRAM-SHA-512\nscram-sha-512.sasl.jaas.config=\
             org.apache.kafka.common.security.scram.ScramLoginModule required;",
            key_store(place)
        ),
        users: &[("gatehouse", "gatehouse-pw"), ("my-user", "my-user-pw")],
        secrets: [
            ("my-cluster-cluster-ca-cert".to_owned(), contents([("ca.crt", cluster_ca.pem())])),
            ("gatehouse".to_owned(), user_with_password("gatehouse", "gatehouse-pw")),
        ]
        .into(),
        password: "my-user-pw",
        ..Made::default()
    })
}

/// The Secret of a KafkaUser with SCRAM.
fn user_with_password(name: &str, password: &str) -> crate::mounted::Contents {
    let login = format!(
        "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"{name}\" password=\"{password}\";"
    );
    contents([("password", password), ("sasl.jaas.config", &login)])
}

/// The authority of that name and generation of its key.
fn authority(name: &str, generation: u32) -> Result<Authority> {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished(&[
        (DnType::OrganizationName, "io.strimzi"),
        (DnType::CommonName, &format!("{name} v{generation}")),
    ]);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Authority::of(params, KeyPair::generate_rsa_for(&PKCS_RSA_SHA512, RsaKeySize::_4096)?)
}

/// Signs as Strimzi does: no extension but the names.
fn sign(authority: &Authority, subject: &[(DnType, &str)], names: Vec<String>) -> Result<Pair> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = distinguished(subject);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    authority.sign(params, &KeyPair::generate_rsa_for(&PKCS_RSA_SHA512, RsaKeySize::_2048)?)
}

/// Writes a key store for each broker, with the names that Strimzi puts into its certificate.
fn brokers(place: &Place, cluster_ca: &Authority) -> Result<()> {
    for node in NODES {
        let pod = format!("my-cluster-kafka-{node}.my-cluster-kafka-brokers.kafka.svc");
        let mut names = vec![format!("{pod}.cluster.local"), pod];
        for service in ["my-cluster-kafka-bootstrap", "my-cluster-kafka-brokers"] {
            names.push(service.to_owned());
            names.extend(
                [".kafka", ".kafka.svc", ".kafka.svc.cluster.local"].map(|end| format!("{service}{end}")),
            );
        }
        let subject = [(DnType::OrganizationName, "io.strimzi"), (DnType::CommonName, "my-cluster-kafka")];
        let pair = sign(cluster_ca, &subject, names)?;
        fs::write(place.path(&format!("broker-{node}.pem")), format!("{}{}", pair.key, pair.certificate))?;
    }
    Ok(())
}

/// The brokers' settings for the stores of [`brokers`].
fn key_store(place: &Place) -> String {
    format!("ssl.keystore.type=PEM\nssl.keystore.location={}", value(&place.path("broker-NODE.pem")))
}

const BROKER: &str = "my-cluster-kafka-NODE.my-cluster-kafka-brokers.kafka.svc";
const SERVICES: [&str; 1] = ["my-cluster-kafka-bootstrap.kafka.svc"];
