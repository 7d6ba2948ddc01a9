//! Strimzi: certificates, listeners and Secrets as its operators make and rotate them (1.2: `OpenSslCertIssuer`, `InternalCa`,
//! `KafkaCluster`, `KafkaBrokerConfigurationBuilder`, `KafkaUserModel`).

use std::fs;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA512, RsaKeySize,
    date_time_ymd,
};

use super::{Made, Place, Recipe, Stage, contents, value, visit};
use crate::{
    Result, audit,
    certificates::{Authority, Pair, distinguished},
    clients,
    cluster::NODES,
    lab::Side,
    load::Load,
    mounted::Contents,
};

/// The internal listener with TLS and SCRAM, which passes through.
pub(super) const SCRAM: Recipe =
    Recipe { name: "strimzi", kafka: "4.3.1", clients: &["java-4.4", "confluent-python"], make: scram };

/// The internal listener with TLS and certificates; then everything is rotated under load.
pub(super) const MTLS: Recipe =
    Recipe { name: "strimzi-mtls", kafka: "4.3.1", clients: &["java-4.4", "kcat"], make: mtls };

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
            (CLUSTER_CA.to_owned(), contents([("ca.crt", cluster_ca.pem())])),
            ("gatehouse".to_owned(), user_with_password("gatehouse", "gatehouse-pw")),
        ]
        .into(),
        password: "my-user-pw",
        ..Made::default()
    })
}

fn mtls(place: &Place) -> Result<Made> {
    let (cluster_ca, clients_ca) = (authority("cluster-ca", 0)?, authority("clients-ca", 0)?);
    let renewed = (authority("cluster-ca", 1)?, authority("clients-ca", 1)?);
    brokers(place, &cluster_ca)?;
    // The first step of Strimzi is to roll the brokers so that they trust both; the gateway sees nothing of it.
    trust(place, &[&clients_ca, &renewed.1])?;
    let store = value(&place.path("clients-ca.pem")).to_string();
    Ok(Made {
        protocol: "SSL",
        broker: (BROKER, 9094),
        services: &SERVICES,
        settings: format!(
            "{}\nssl.client.auth=required\nssl.truststore.type=PEM\nssl.truststore.location={store}",
            key_store(place)
        ),
        secrets: [
            (CLUSTER_CA.to_owned(), contents([("ca.crt", cluster_ca.pem())])),
            (CLIENTS_CA.to_owned(), contents([("ca.crt", clients_ca.pem())])),
            ("gatehouse".to_owned(), user(&clients_ca, "gatehouse")?),
            ("partners".to_owned(), user(&clients_ca, "partners")?),
        ]
        .into(),
        client: client(&user(&clients_ca, "my-user")?),
        after: Some(Box::new(move |stage| {
            rotate(stage, (&cluster_ca, &clients_ca), (&renewed.0, &renewed.1))
        })),
        ..Made::default()
    })
}

/// Those of the cluster and of clients.
type Authorities<'a> = (&'a Authority, &'a Authority);

/// New keys for both authorities, as Strimzi brings them about, under load: the old ones stay beside the new ones until
/// users and brokers have new certificates.
fn rotate(stage: &mut Stage<'_, '_>, old: Authorities<'_>, new: Authorities<'_>) -> Result<String> {
    let (lab, place, page) = (stage.lab, stage.place, stage.page);
    let with_old = page.arguments(JAVA, &place.path("client"), "")?;
    // The first argument is the bootstrap address, which a load has by itself.
    let mut load = Load::start_with(lab, JAVA, "rotated-strimzi", page.bootstrap()?, &with_old[1..])?;
    let both = |old: &Authority, new: &Authority| contents([(OLD, old.pem()), ("ca.crt", new.pem())]);
    stage.pod.change(&[(CLUSTER_CA, both(old.0, new.0)), (CLIENTS_CA, both(old.1, new.1))])?;
    stage.pod.change(&[("gatehouse", user(new.1, "gatehouse")?), ("partners", user(new.1, "partners")?)])?;
    load.progress()?;
    brokers(place, new.0)?;
    trust(place, &[new.1])?;
    for node in NODES {
        stage.cluster.stop(node)?;
        stage.cluster.start_broker(node)?;
        stage.cluster.wait_until_whole()?;
        load.progress()?;
    }
    // A broker that starts has forgotten what it was told to log.
    audit::log(lab, "DEBUG")?;
    stage.pod.change(&[(CLUSTER_CA, contents([("ca.crt", new.0.pem())]))])?;
    load.progress()?;
    let records = load.finish()?;
    stage.pod.change(&[(CLIENTS_CA, contents([("ca.crt", new.1.pem())]))])?;
    refused(stage, with_old)?;
    super::pod::lay_out(&place.path("renewed"), &client(&user(new.1, "my-user")?))?;
    fs::copy(place.path("client/ca.crt"), place.path("renewed/ca.crt"))?;
    let renewed = page.arguments(JAVA, &place.path("renewed"), "")?;
    visit(lab, JAVA, "recipe-strimzi-renewed", stage.expected, renewed)?;
    Ok(format!(
        "both authorities and every certificate replaced, brokers rolled, {records} records, none failed"
    ))
}

/// A certificate of the old authority is not taken any more.
fn refused(stage: &Stage<'_, '_>, mut arguments: Vec<String>) -> Result<()> {
    arguments.extend(["functions=describe".to_owned(), "prefix=refused".to_owned()]);
    let outcomes = clients::run(stage.lab, Side::Clients, JAVA, "recipe-strimzi-refused", &arguments)?;
    match outcomes.first() {
        Some(outcome) if !outcome.ok && outcome.detail.contains("SslAuthenticationException") => Ok(()),
        other => Err(format!("a certificate of the old authority: {other:?}").into()),
    }
}

/// The Secret of a KafkaUser with SCRAM.
fn user_with_password(name: &str, password: &str) -> Contents {
    let login = format!(
        "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"{name}\" password=\"{password}\";"
    );
    contents([("password", password), ("sasl.jaas.config", &login)])
}

/// The Secret of a KafkaUser with a certificate; PKCS#12 stores can be turned off in Strimzi and nobody needs them here.
fn user(clients_ca: &Authority, name: &str) -> Result<Contents> {
    let pair = sign(clients_ca, &[(DnType::CommonName, name)], Vec::new())?;
    Ok(contents([("ca.crt", clients_ca.pem()), ("user.crt", &pair.certificate), ("user.key", &pair.key)]))
}

/// What a client keeps of the Secret of its KafkaUser.
fn client(user: &Contents) -> Contents {
    [("user.pem".to_owned(), [user["user.key"].as_slice(), &user["user.crt"]].concat())].into()
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
        let pod = BROKER.replace("NODE", &node.to_string());
        let mut names = vec![format!("{pod}.cluster.local"), pod];
        for service in ["my-cluster-kafka-bootstrap", "my-cluster-kafka-brokers"] {
            let ends = ["", ".kafka", ".kafka.svc", ".kafka.svc.cluster.local"];
            names.extend(ends.map(|end| format!("{service}{end}")));
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

/// Writes what brokers trust of clients.
fn trust(place: &Place, authorities: &[&Authority]) -> Result<()> {
    let all: String = authorities.iter().map(|authority| authority.pem()).collect();
    Ok(fs::write(place.path("clients-ca.pem"), all)?)
}

const BROKER: &str = "my-cluster-kafka-NODE.my-cluster-kafka-brokers.kafka.svc";
const SERVICES: [&str; 1] = ["my-cluster-kafka-bootstrap.kafka.svc"];
const JAVA: &str = "java-4.4";
const CLUSTER_CA: &str = "my-cluster-cluster-ca-cert";
const CLIENTS_CA: &str = "my-cluster-clients-ca-cert";
/// How the authority of before is kept.
const OLD: &str = "ca-2040-01-01T00-00-00Z.crt";
