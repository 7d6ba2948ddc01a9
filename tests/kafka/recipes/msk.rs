//! Amazon MSK: the names of its brokers, certificates of an authority that images trust, its ports and logins.

use std::fs;

use rcgen::DnType;

use super::{Made, Place, Recipe, contents, pair, plain, value};
use crate::{
    Result,
    certificates::{Authority, Life},
    mounted::Contents,
};

/// Port 9096: SCRAM passes through.
pub(super) const SCRAM: Recipe =
    Recipe { name: "msk", kafka: "4.3.1", clients: &["java-4.4", "confluent-python"], make: scram };

/// Port 9094 with client certificates, which end at the gateway.
pub(super) const MTLS: Recipe =
    Recipe { name: "msk-mtls", kafka: "4.3.1", clients: &["java-4.4"], make: mutual };

fn scram(place: &Place) -> Result<Made> {
    let public = brokers(place)?;
    Ok(Made {
        protocol: "SASL_SSL",
        broker: (BROKER, 9096),
        settings: format!("{}\n{}", key_store(place), plain::SCRAM_LOGIN),
        users: plain::USERS,
        secrets: [("gatehouse-login".to_owned(), plain::login())].into(),
        password: plain::PASSWORD,
        roots: public.pem().to_owned(),
        ..Made::default()
    })
}

fn mutual(place: &Place) -> Result<Made> {
    let (public, private) = (brokers(place)?, Authority::new("Private")?);
    fs::write(place.path("private.pem"), private.pem())?;
    let client = |name: &str| private.client(&[(DnType::CommonName, name)], Life::Now);
    let (own, theirs, alice) = (client("gateway-discovery")?, client("gateway-clients")?, client("alice")?);
    Ok(Made {
        protocol: "SSL",
        broker: (BROKER, 9094),
        settings: format!(
            "{}\nssl.client.auth=required\nssl.truststore.type=PEM\nssl.truststore.location={}",
            key_store(place),
            value(&place.path("private.pem"))
        ),
        secrets: [
            ("gateway-discovery".to_owned(), pair(&own)),
            ("gateway-clients".to_owned(), pair(&theirs)),
            ("clients-ca".to_owned(), contents([("ca.crt", private.pem())])),
        ]
        .into(),
        client: Contents::from([("alice.pem".to_owned(), [alice.key, alice.certificate].concat().into())]),
        roots: public.pem().to_owned(),
        ..Made::default()
    })
}

/// Writes the brokers' pair, with the one name that is for all of them, and gives the authority.
fn brokers(place: &Place) -> Result<Authority> {
    let public = Authority::new("Public")?;
    let pair = public.server(&[NAMES])?;
    fs::write(place.path("broker.pem"), format!("{}{}", pair.key, pair.certificate))?;
    Ok(public)
}

fn key_store(place: &Place) -> String {
    format!("ssl.keystore.type=PEM\nssl.keystore.location={}", value(&place.path("broker.pem")))
}

const BROKER: &str = "b-NODE.main.abc123.c2.kafka.eu-central-1.amazonaws.com";
const NAMES: &str = "*.main.abc123.c2.kafka.eu-central-1.amazonaws.com";
