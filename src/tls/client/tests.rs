//! Handshakes in memory with brokers of every kind.

use rustls::server::{ServerConfig, WebPkiClientVerifier};
use rustls::{AlertDescription, CertificateError, HandshakeKind, NamedGroup, RootCertStore};

use super::*;
use crate::logging;
use crate::tls::identity::Source;
use crate::tls::testing::{Authority, Folder, Pair, Shaken, shake};

/// A broker with a certificate, and a client certificate asked for when there is an authority for one.
fn broker(pair: &Pair, clients: Option<&Authority>) -> Arc<ServerConfig> {
    let builder =
        ServerConfig::builder_with_provider(crate::tls::provider()).with_safe_default_protocol_versions();
    let builder = match clients {
        None => builder.unwrap().with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(Authority::certificates(&authority.pem())[0].clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), crate::tls::provider());
            builder.unwrap().with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    Arc::new(builder.with_single_cert(pair.chain(), pair.private()).unwrap())
}

fn files(folder: &Folder) -> Options {
    Options { roots: Roots::Files(vec![folder.path("ca")]), ..Options::default() }
}

fn meet(connector: &Connector, broker: &Arc<ServerConfig>) -> Result<Shaken, rustls::Error> {
    shake(&connector.config(), "b1.kafka.internal", broker)
}

#[test]
fn a_broker_must_be_who_it_says() {
    let folder = Folder::new();
    let authority = Authority::new("Brokers");
    folder.put("ca/ca.crt", authority.pem());
    let right = broker(&authority.server(&["b1.kafka.internal"]), None);
    let misnamed = broker(&authority.server(&["b2.kafka.internal"]), None);
    let stranger = broker(&Authority::new("Brokers").server(&["b1.kafka.internal"]), None);
    let connector = |verify| Connector::load(Options { verify, ..files(&folder) }).unwrap();

    let full = connector(Verify::Full);
    let shaken = meet(&full, &right).unwrap();
    assert_eq!(shaken.server.server_name(), Some("b1.kafka.internal"), "sent for brokers behind a router");
    let wrong_name = meet(&full, &misnamed).unwrap_err();
    assert!(
        matches!(
            wrong_name,
            rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })
        ),
        "{wrong_name:?}"
    );
    assert!(matches!(meet(&full, &stranger), Err(rustls::Error::InvalidCertificate(_))));
    assert_eq!(full.status().warnings, Vec::<String>::new());

    let chain = connector(Verify::Chain);
    assert!(meet(&chain, &misnamed).is_ok());
    assert!(matches!(meet(&chain, &stranger), Err(rustls::Error::InvalidCertificate(_))));

    let none = connector(Verify::InsecureNone);
    assert!(meet(&none, &stranger).is_ok());
    assert!(none.status().warnings[0].contains("anybody can be one"));
}

#[test]
fn the_gateway_shows_its_certificate_where_it_is_asked() {
    let folder = Folder::new();
    let (brokers, clients) = (Authority::new("Brokers"), Authority::new("Clients"));
    folder.put("ca/ca.crt", brokers.pem());
    let pair = clients.client("gateway");
    let (cert, key) = (folder.put("client.crt", &pair.cert), folder.put("client.key", &pair.key));
    let broker = broker(&brokers.server(&["b1.kafka.internal"]), Some(&clients));

    let bare = meet(&Connector::load(files(&folder)).unwrap(), &broker).unwrap_err();
    assert_eq!(bare, rustls::Error::AlertReceived(AlertDescription::CertificateRequired));
    let identity = Some(Source::Pem { cert, key, password: None });
    let connector = Connector::load(Options { identity, ..files(&folder) }).unwrap();
    let shaken = meet(&connector, &broker).unwrap();
    assert_eq!(shaken.server.peer_certificates().unwrap(), pair.chain());
    assert_eq!(connector.status().certificates[0].subject, "CN=gateway");

    // Renewed by another authority, and later half of it only.
    let renewed = Authority::new("Others").client("gateway");
    folder.put("client.crt", &renewed.cert);
    let Reloaded::Kept(error) = connector.reload() else { panic!("not kept") };
    assert!(logging::chain(&error).contains("client.key` does not belong to the certificate in"));
    assert!(meet(&connector, &broker).is_ok());
    folder.put("client.key", &renewed.key);
    assert!(matches!(connector.reload(), Reloaded::Swapped { trust_changed: false, kept: None, .. }));
    assert!(meet(&connector, &broker).is_err());
}

#[test]
fn new_authorities_are_taken_and_old_sessions_are_not() {
    let folder = Folder::new();
    let (old, new) = (Authority::new("Brokers"), Authority::new("Brokers"));
    let (old_broker, new_broker) = (
        broker(&old.server(&["b1.kafka.internal"]), None),
        broker(&new.server(&["b1.kafka.internal"]), None),
    );
    folder.put("ca/ca.crt", old.pem());
    let connector = Connector::load(files(&folder)).unwrap();
    meet(&connector, &old_broker).unwrap();
    assert_eq!(meet(&connector, &old_broker).unwrap().client.handshake_kind(), Some(HandshakeKind::Resumed));
    assert!(meet(&connector, &new_broker).is_err());

    folder.put("ca/ca.crt", &new.pem()[..99]);
    let Reloaded::Kept(error) = connector.reload() else { panic!("not kept") };
    assert!(logging::chain(&error).contains("ca.crt` is broken or cut short"));
    folder.put("ca/ca.crt", new.pem());
    assert!(matches!(connector.reload(), Reloaded::Swapped { trust_changed: true, kept: None, .. }));
    assert!(meet(&connector, &new_broker).is_ok());
    assert!(meet(&connector, &old_broker).is_err(), "not even resumed");
}

/// The first message of a client, as it goes over the wire.
fn hello(config: &Arc<ClientConfig>) -> Vec<u8> {
    let name = rustls::pki_types::ServerName::try_from("b1.kafka.internal").unwrap();
    let mut client = rustls::ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut wire = Vec::new();
    client.write_tls(&mut wire).unwrap();
    wire
}

/// The body of an extension of a client's hello (RFC 8446 section 4.1.2).
fn extension(hello: &[u8], wanted: u16) -> Option<Vec<u8>> {
    fn take<'a>(bytes: &mut &'a [u8], digits: usize) -> &'a [u8] {
        let (length, rest) = bytes.split_at(digits);
        let length = length.iter().fold(0, |sum, &digit| sum << 8 | usize::from(digit));
        let (taken, rest) = rest.split_at(length);
        *bytes = rest;
        taken
    }
    let mut body = &hello[5 + 4 + 2 + 32..];
    take(&mut body, 1);
    take(&mut body, 2);
    take(&mut body, 1);
    let mut extensions = take(&mut body, 2);
    while !extensions.is_empty() {
        let kind = u16::from_be_bytes([extensions[0], extensions[1]]);
        extensions = &extensions[2..];
        let body = take(&mut extensions, 2);
        if kind == wanted {
            return Some(body.to_vec());
        }
    }
    None
}

#[test]
fn the_hybrid_key_exchange_is_offered_first() {
    const SUPPORTED_GROUPS: u16 = 10;
    const ALPN: u16 = 16;
    const EARLY_DATA: u16 = 42;
    const KEY_SHARE: u16 = 51;
    let folder = Folder::new();
    folder.put("ca/ca.crt", Authority::new("Brokers").pem());
    let config = Connector::load(files(&folder)).unwrap().config();
    let hello = hello(&config);
    let hybrid = u16::from(NamedGroup::X25519MLKEM768).to_be_bytes();
    assert_eq!(extension(&hello, SUPPORTED_GROUPS).unwrap()[2..4], hybrid);
    assert_eq!(extension(&hello, KEY_SHARE).unwrap()[2..4], hybrid);
    assert_eq!((extension(&hello, ALPN), extension(&hello, EARLY_DATA)), (None, None));
    assert!(!config.enable_early_data && config.alpn_protocols.is_empty() && config.enable_sni);
}

#[test]
fn an_authority_that_is_not_there_is_named() {
    let folder = Folder::new();
    let fault = |options| logging::chain(&Connector::load(options).map(drop).unwrap_err());
    assert!(fault(files(&folder)).contains("ca` cannot be read: No such file"));
    let ignored = Options { verify: Verify::InsecureNone, ..files(&folder) };
    assert!(Connector::load(ignored).is_ok(), "nothing is checked by it");
}

/// In a process of its own: the system's authorities are found by the environment.
#[test]
fn a_system_without_authorities_says_how_to_name_some() {
    const CHILD: &str = "GATEHOUSE_TEST_SYSTEM_ROOTS";
    if std::env::var_os(CHILD).is_some() {
        let error = Connector::load(Options::default()).map(drop);
        println!("<{}>", error.map_or_else(|error| logging::chain(&error), |()| "loaded".to_owned()));
        return;
    }
    let folder = Folder::new();
    let run = |file: &std::path::Path| {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "tls::client::tests::a_system_without_authorities_says_how_to_name_some",
                "--nocapture",
            ])
            .env(CHILD, "1")
            .env("SSL_CERT_FILE", file)
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let said = run(&folder.path("nowhere"));
    assert!(said.contains("name a file of them in the variable SSL_CERT_FILE"), "{said}");
    let said = run(&folder.put("ca.crt", Authority::new("CA").pem()));
    assert!(said.contains("<loaded>"), "{said}");
}
