//! How clients are told to use TLS: the client programs by their own settings, the harness's own client by rustls'.

use std::{path::Path, sync::Arc};

use kafka_protocol::messages::ApiVersionsRequest;
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion,
    client::Resumption,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    version::{TLS12, TLS13},
};

use crate::{
    Result,
    certificates::{Files, PASSWORD},
    lab::Lab,
    wire::Connection,
};

/// A version of TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Version {
    /// 1.2
    Tls12,
    /// 1.3
    Tls13,
}

impl Version {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Tls12, Self::Tls13];

    /// Its number, as metrics and arguments say it.
    pub(crate) fn number(self) -> &'static str {
        match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }

    fn supported(self) -> &'static SupportedProtocolVersion {
        match self {
            Self::Tls12 => &TLS12,
            Self::Tls13 => &TLS13,
        }
    }
}

/// The arguments of `client` for that one version, with the certificate of `identity` where there is one.
///
/// Java from 2.7 reads PEM; an older one, and one whose name ends in `+stores`, gets PKCS#12 stores.
pub(crate) fn arguments(lab: &Lab, client: &str, version: Version, identity: Option<&Files>) -> Vec<String> {
    let number = version.number();
    if client.starts_with("java-") {
        return java(lab, client, number, identity);
    }
    let files = |authority: &str, certificate: &str, key: &str| {
        let mut arguments = vec![argument(authority, &lab.certificates().path("doors-ca.pem"))];
        if let Some(files) = identity {
            arguments.push(argument(certificate, &files.certificate));
            arguments.push(argument(key, &files.key));
        }
        arguments.push(format!("tls_version={number}"));
        arguments
    };
    if ["kcat", "confluent-python"].contains(&client) {
        let mut arguments =
            files("client.ssl.ca.location", "client.ssl.certificate.location", "client.ssl.key.location");
        arguments.push("client.security.protocol=ssl".to_owned());
        return arguments;
    }
    files("tls_ca", "tls_cert", "tls_key")
}

/// The client program behind a name of [`arguments`].
pub(crate) fn program(client: &str) -> &str {
    client.trim_end_matches(STORES)
}

const STORES: &str = "+stores";

fn java(lab: &Lab, client: &str, version: &str, identity: Option<&Files>) -> Vec<String> {
    let (kind, trust) = if client.ends_with(STORES) || ["java-2.4", "java-0.11"].contains(&client) {
        ("PKCS12", lab.certificates().path("doors-ca.p12"))
    } else {
        ("PEM", lab.certificates().path("doors-ca.pem"))
    };
    let mut arguments = vec![
        "client.security.protocol=SSL".to_owned(),
        format!("client.ssl.enabled.protocols=TLSv{version}"),
        format!("client.ssl.truststore.type={kind}"),
        argument("client.ssl.truststore.location", &trust),
    ];
    if kind == "PKCS12" {
        arguments.push(format!("client.ssl.truststore.password={PASSWORD}"));
    }
    if let Some(files) = identity {
        let store = if kind == "PKCS12" { &files.store } else { &files.both };
        arguments.push(format!("client.ssl.keystore.type={kind}"));
        arguments.push(argument("client.ssl.keystore.location", store));
        if kind == "PKCS12" {
            arguments.push(format!("client.ssl.keystore.password={PASSWORD}"));
            arguments.push(format!("client.ssl.key.password={PASSWORD}"));
        }
    }
    arguments
}

fn argument(key: &str, path: &Path) -> String {
    format!("{key}={}", path.display())
}

/// The harness's own client: it trusts what signs the door, and resumes sessions as long as the configuration lives.
pub(crate) fn client(lab: &Lab, version: Version, identity: Option<&Files>) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(lab.certificates().path("doors-ca.pem"))?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version.supported()])?
        .with_root_certificates(roots);
    let mut config = match identity {
        Some(files) => builder.with_client_auth_cert(
            CertificateDer::pem_file_iter(&files.certificate)?.collect::<std::result::Result<_, _>>()?,
            PrivateKeyDer::from_pem_file(&files.key)?,
        )?,
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::in_memory_sessions(32);
    Ok(Arc::new(config))
}

/// How one try of the harness's own client went.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// The broker answered; whether the session was a resumed one.
    Answered { resumed: bool },
    /// It was not to be: what the client saw, an alert where there was one.
    Refused(String),
}

/// Connects, completes the handshake, asks the broker for its versions and closes.
pub(crate) fn attempt(address: &str, name: &str, config: &Arc<ClientConfig>) -> Attempt {
    let tried = Connection::open_tls(address, name, config).and_then(|mut connection| {
        ask(&mut connection)?;
        Ok(connection.session()?.handshake_kind() == Some(HandshakeKind::Resumed))
    });
    match tried {
        Ok(resumed) => Attempt::Answered { resumed },
        Err(error) => Attempt::Refused(error.to_string()),
    }
}

/// One question that every broker answers to anybody.
pub(crate) fn ask(connection: &mut Connection) -> Result<()> {
    let answer = connection.call::<ApiVersionsRequest>(0, &ApiVersionsRequest::default())?;
    if answer.error_code == 0 { Ok(()) } else { Err(format!("error {}", answer.error_code).into()) }
}
