//! Handshakes in memory: which certificate, which client, which session, and what changes with the files.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rcgen::DnType;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ClientSessionMemoryCache, Resumption, WebPkiServerVerifier};
use rustls::{AlertDescription, ClientConfig, HandshakeKind, NamedGroup, ProtocolVersion, RootCertStore};

use super::*;
use crate::tls::identity::Source;
use crate::tls::testing::{Authority, DAY, Folder, Pair, Shaken, shake};

/// A clock that a test sets forward.
#[derive(Debug, Default)]
struct Clock(AtomicU64);

impl Clock {
    fn forward(&self, by: Duration) {
        self.0.fetch_add(by.as_secs(), Ordering::Relaxed);
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let ahead = Duration::from_secs(self.0.load(Ordering::Relaxed));
        UnixTime::now()
            .as_secs()
            .checked_add(ahead.as_secs())
            .map(Duration::from_secs)
            .map(UnixTime::since_unix_epoch)
    }
}

const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3];

/// The files of a listener, and the authorities that they come from.
struct Scene {
    folder: Folder,
    servers: Authority,
    clients: Authority,
    clock: Arc<Clock>,
}

impl Scene {
    /// `tls.crt` and `tls.key` for kafka.example.com, `ca/one.crt` for clients.
    fn new() -> Self {
        let (folder, servers, clients) =
            (Folder::new(), Authority::new("Servers"), Authority::new("Clients"));
        folder.put("ca/one.crt", clients.pem());
        let scene = Self { folder, servers, clients, clock: Arc::new(Clock::default()) };
        scene.present("tls", &scene.servers.server(&["kafka.example.com"]));
        scene
    }

    fn present(&self, name: &str, pair: &Pair) {
        self.folder.put(&format!("{name}.crt"), &pair.cert);
        self.folder.put(&format!("{name}.key"), &pair.key);
    }

    fn source(&self, name: &str) -> Source {
        let path = |extension: &str| self.folder.path(&format!("{name}.{extension}"));
        Source::Pem { cert: path("crt"), key: path("key"), password: None }
    }

    fn plain(&self) -> Options {
        Options {
            certificates: vec![self.source("tls")],
            min_version: Version::Tls12,
            clients: None,
            by_name_only: false,
        }
    }

    /// With client certificates and resumption.
    fn mutual(&self) -> Options {
        let crl = self.folder.path("crl");
        let crl = if crl.exists() { vec![crl] } else { Vec::new() };
        let trust = trust::Options { ca: vec![self.folder.path("ca")], crl };
        let clients = Clients { required: true, trust, rules: Rules::default(), resumption: true };
        Options { clients: Some(clients), ..self.plain() }
    }

    fn load(&self, options: Options) -> Terminator {
        Terminator::load_by(options, None, self.clock.clone()).unwrap()
    }

    /// A client that trusts the servers, with a memory of its own.
    fn client(&self, version: ProtocolVersion, pair: Option<&Pair>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for certificate in Authority::certificates(&self.servers.pem()) {
            roots.add(certificate).unwrap();
        }
        let verifier: Arc<dyn ServerCertVerifier> =
            WebPkiServerVerifier::builder_with_provider(roots.into(), crate::tls::provider())
                .build()
                .unwrap();
        let versions: Vec<_> =
            rustls::ALL_VERSIONS.iter().copied().filter(|v| v.version == version).collect();
        let builder = ClientConfig::builder_with_provider(crate::tls::provider())
            .with_protocol_versions(&versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match pair {
            None => builder.with_no_client_auth(),
            Some(pair) => builder.with_client_auth_cert(pair.chain(), pair.private()).unwrap(),
        };
        config.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(8)));
        config
    }

    fn shake(&self, client: &ClientConfig, terminator: &Terminator) -> Result<Shaken, rustls::Error> {
        shake(client, "kafka.example.com", &terminator.config())
    }
}

#[track_caller]
fn swapped(terminator: &Terminator) -> bool {
    match terminator.reload() {
        Reloaded::Swapped { trust_changed, kept: None, .. } => trust_changed,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn kept(terminator: &Terminator) -> String {
    let Reloaded::Kept(error) = terminator.reload() else { panic!("not kept") };
    let text = crate::logging::chain(&error);
    assert_eq!(terminator.status().fault.unwrap().text, text);
    assert!(matches!(terminator.reload(), Reloaded::StillKept));
    text
}

/// A half is taken, in which others are trusted or not, and a half is refused for this.
#[track_caller]
fn half(terminator: &Terminator, others_trusted: bool) -> String {
    let Reloaded::Swapped { trust_changed, kept: Some(error), .. } = terminator.reload() else {
        panic!("not half")
    };
    assert_eq!(trust_changed, others_trusted);
    let text = crate::logging::chain(&error);
    assert_eq!(terminator.status().fault.unwrap().text, text);
    assert!(matches!(terminator.reload(), Reloaded::StillKept));
    text
}

#[test]
fn the_certificate_is_chosen_by_name() {
    let scene = Scene::new();
    scene.present("exact", &scene.servers.server(&["b1.kafka.example.com"]));
    scene.present("wildcard", &scene.servers.server(&["*.kafka.example.com", "*.other.example.com"]));
    let certificates = ["tls", "wildcard", "exact"].map(|name| scene.source(name)).to_vec();
    let choice = |by_name_only| {
        let options = Options { certificates: certificates.clone(), by_name_only, ..scene.plain() };
        scene.load(options)
    };
    let client = scene.client(ProtocolVersion::TLSv1_3, None);
    let shown = |terminator: &Terminator, name: &str| {
        shake(&client, name, &terminator.config()).map(|shaken| {
            let leaf = shaken.client.peer_certificates().unwrap()[0].clone();
            let names = crate::tls::inspect::certificate(&leaf).unwrap().names;
            names[0].clone()
        })
    };
    for by_name_only in [false, true] {
        let terminator = choice(by_name_only);
        for (name, expected) in [
            ("kafka.example.com", "kafka.example.com"),
            ("b1.kafka.example.com", "b1.kafka.example.com"),
            ("B1.Kafka.example.com", "b1.kafka.example.com"),
            ("b2.kafka.example.com", "*.kafka.example.com"),
            ("b2.other.example.com", "*.kafka.example.com"),
        ] {
            assert_eq!(shown(&terminator, name).unwrap(), expected, "{name}");
        }
    }
    let error = |terminator: &Terminator, name: &str| format!("{:?}", shown(terminator, name).unwrap_err());
    for name in ["a.b.kafka.example.com", "unknown.example.com", "10.0.0.1"] {
        assert!(error(&choice(false), name).contains("NotValidForName"), "{name} gets the first");
        assert_eq!(error(&choice(true), name), "AlertReceived(AccessDenied)", "{name}");
    }
}

/// Old clients that know no ECDSA get the RSA certificate of the same name.
#[test]
fn of_two_for_one_name_the_one_that_the_client_can_check_is_taken() {
    let scene = Scene::new();
    scene.folder.run("openssl", "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.key");
    let name = "subjectAltName=DNS:kafka.example.com";
    scene
        .folder
        .run("openssl", &format!("req -x509 -key rsa.key -out rsa.crt -days 2 -subj /CN=rsa -addext {name}"));
    let certificates = vec![scene.source("tls"), scene.source("rsa")];
    let terminator = scene.load(Options { certificates, ..scene.plain() });
    let shown = |schemes: &[rustls::SignatureScheme]| {
        let client = crate::tls::testing::anybody(schemes);
        let shaken = shake(&client, "kafka.example.com", &terminator.config()).unwrap();
        principal::java_name(&shaken.client.peer_certificates().unwrap()[0]).unwrap()
    };
    use rustls::SignatureScheme as S;
    assert_eq!(shown(&[S::ECDSA_NISTP256_SHA256, S::RSA_PSS_SHA256]), "CN=server");
    assert_eq!(shown(&[S::RSA_PSS_SHA256, S::RSA_PKCS1_SHA256]), "CN=rsa");
}

#[test]
fn versions_below_the_least_are_refused() {
    let scene = Scene::new();
    for version in VERSIONS {
        let shaken = scene.shake(&scene.client(version, None), &scene.load(scene.plain())).unwrap();
        assert_eq!(shaken.server.protocol_version(), Some(version));
    }
    let strict = scene.load(Options { min_version: Version::Tls13, ..scene.plain() });
    let refused = scene.shake(&scene.client(ProtocolVersion::TLSv1_2, None), &strict).unwrap_err();
    assert_eq!(refused, rustls::Error::AlertReceived(AlertDescription::ProtocolVersion));
    assert!(scene.shake(&scene.client(ProtocolVersion::TLSv1_3, None), &strict).is_ok());
}

#[test]
fn the_hybrid_key_exchange_comes_first_and_is_taken() {
    let scene = Scene::new();
    let terminator = scene.load(scene.plain());
    let config = terminator.config();
    let groups = &config.crypto_provider().kx_groups;
    assert_eq!(groups[0].name(), NamedGroup::X25519MLKEM768);
    let shaken = scene.shake(&scene.client(ProtocolVersion::TLSv1_3, None), &terminator).unwrap();
    let taken = shaken.server.negotiated_key_exchange_group().unwrap();
    assert_eq!(taken.name(), NamedGroup::X25519MLKEM768);
}

#[test]
fn what_would_weaken_a_connection_is_off() {
    let scene = Scene::new();
    for options in [scene.plain(), scene.mutual()] {
        let config = scene.load(options).config();
        assert_eq!(config.max_early_data_size, 0);
        assert!(!config.send_half_rtt_data);
        assert!(config.alpn_protocols.is_empty() && config.cert_compressors.is_empty());
        assert!(!config.key_log.will_log("CLIENT_RANDOM"));
    }
    // A client that offers protocols is served without one.
    let mut client = scene.client(ProtocolVersion::TLSv1_3, None);
    client.alpn_protocols = vec![b"kafka".to_vec()];
    let shaken = scene.shake(&client, &scene.load(scene.plain())).unwrap();
    assert_eq!(shaken.server.alpn_protocol(), None);
}

#[test]
fn clients_show_what_is_asked_of_them() {
    let scene = Scene::new();
    let pair =
        scene.clients.pair(|params| params.distinguished_name.push(DnType::OrganizationName, "Acme, Inc"));
    let stranger = Authority::new("Clients").client("mallory");
    for version in VERSIONS {
        let required = scene.load(scene.mutual());
        let mut options = scene.mutual();
        options.clients.as_mut().unwrap().required = false;
        options.clients.as_mut().unwrap().rules = Rules::parse("RULE:^.*CN=(.*)$/$1/U").unwrap();
        let optional = scene.load(options);
        let none = scene.load(scene.plain());

        let name = |terminator: &Terminator, pair| {
            let shaken = scene.shake(&scene.client(version, pair), terminator)?;
            let chain = shaken.server.peer_certificates().unwrap_or_default();
            terminator.recheck(chain).unwrap();
            Ok(terminator.principal(chain).unwrap())
        };
        assert_eq!(name(&required, Some(&pair)).unwrap().unwrap(), r"O=Acme\, Inc,CN=server");
        assert_eq!(name(&optional, Some(&pair)).unwrap().unwrap(), "SERVER");
        assert_eq!(name(&optional, None).unwrap(), None);
        assert_eq!(name(&none, Some(&pair)).unwrap(), None);
        let refused: Result<Option<String>, rustls::Error> = name(&required, None);
        assert_eq!(refused.unwrap_err(), rustls::Error::AlertReceived(AlertDescription::CertificateRequired));
        for terminator in [&required, &optional] {
            assert!(name(terminator, Some(&stranger)).is_err());
            let error = terminator.recheck(&stranger.chain()).unwrap_err();
            assert!(matches!(error, trust::Error::Refused(_)), "{error:?}");
        }
        assert!(matches!(required.recheck(&[]), Err(trust::Error::Missing)));
        assert!(optional.recheck(&[]).is_ok() && none.recheck(&[]).is_ok());
    }
}

/// How the second of two handshakes with one memory goes, after `between`.
fn second(
    scene: &Scene,
    terminator: &Terminator,
    client: &ClientConfig,
    between: impl FnOnce(),
) -> Result<HandshakeKind, rustls::Error> {
    let first = scene.shake(client, terminator).unwrap();
    assert_ne!(first.server.handshake_kind(), Some(HandshakeKind::Resumed), "case 1");
    between();
    scene.shake(client, terminator).map(|shaken| shaken.server.handshake_kind().unwrap())
}

/// The seven cases, in both versions.
#[test]
fn no_session_outlives_the_trust_it_was_made_under() {
    for version in VERSIONS {
        let alice = |scene: &Scene| scene.clients.client("alice");

        let scene = Scene::new();
        let terminator = scene.load(scene.mutual());
        let client = scene.client(version, Some(&alice(&scene)));
        assert_eq!(second(&scene, &terminator, &client, || ()).unwrap(), HandshakeKind::Resumed, "case 2");
        let resumed = scene.shake(&client, &terminator).unwrap();
        let chain = resumed.server.peer_certificates().unwrap();
        assert_eq!(terminator.principal(chain).unwrap().unwrap(), "CN=alice");

        let scene = Scene::new();
        let pair = alice(&scene);
        scene.folder.put("crl/one.crl", scene.clients.revoke(&[]).der());
        let terminator = scene.load(scene.mutual());
        let client = scene.client(version, Some(&pair));
        let revoked = second(&scene, &terminator, &client, || {
            scene.folder.put("crl/one.crl", scene.clients.revoke(&[&pair]).der());
            assert!(swapped(&terminator));
        });
        assert_eq!(
            revoked.unwrap_err(),
            rustls::Error::AlertReceived(AlertDescription::CertificateRevoked),
            "case 3"
        );
        assert!(terminator.recheck(&pair.chain()).is_err());

        let scene = Scene::new();
        let pair = alice(&scene);
        let terminator = scene.load(scene.mutual());
        let client = scene.client(version, Some(&pair));
        let removed = second(&scene, &terminator, &client, || {
            scene.folder.put("ca/one.crt", Authority::new("Others").pem());
            assert!(swapped(&terminator));
        });
        assert_eq!(removed.unwrap_err(), rustls::Error::AlertReceived(AlertDescription::UnknownCA), "case 4");
        assert!(terminator.recheck(&pair.chain()).is_err());

        let scene = Scene::new();
        let pair = alice(&scene);
        scene.folder.put("crl/one.crl", scene.clients.revoke(&[]).der());
        let soon = scene.clients.list(&[], |list| list.next_update = (SystemTime::now() + DAY / 48).into());
        scene.folder.put("crl/one.crl", soon.der());
        let terminator = scene.load(scene.mutual());
        let client = scene.client(version, Some(&pair));
        let expired = second(&scene, &terminator, &client, || scene.clock.forward(DAY / 40));
        assert!(matches!(expired, Err(rustls::Error::AlertReceived(_))), "case 5: {expired:?}");
        assert!(terminator.recheck(&pair.chain()).is_err());
        assert!(terminator.status().warnings.iter().any(|warning| warning.contains("one.crl` ran out at")));

        let scene = Scene::new();
        let (one, other) = (scene.load(scene.mutual()), scene.load(scene.mutual()));
        let client = scene.client(version, Some(&alice(&scene)));
        scene.shake(&client, &one).unwrap();
        let elsewhere = scene.shake(&client, &other).unwrap();
        assert_ne!(elsewhere.server.handshake_kind(), Some(HandshakeKind::Resumed), "case 6");

        let open = scene.load(scene.plain());
        let anonymous = scene.client(version, None);
        assert_eq!(second(&scene, &open, &anonymous, || ()).unwrap(), HandshakeKind::Resumed);
        let refused = scene.shake(&anonymous, &one).unwrap_err();
        assert_eq!(refused, rustls::Error::AlertReceived(AlertDescription::CertificateRequired), "case 7");
    }
}

#[test]
fn sessions_with_client_certificates_end_within_the_hour_and_are_off_by_default() {
    for version in VERSIONS {
        let scene = Scene::new();
        let client = scene.client(version, Some(&scene.clients.client("alice")));
        let terminator = scene.load(scene.mutual());
        let aged = second(&scene, &terminator, &client, || scene.clock.forward(Duration::from_secs(3601)));
        assert_ne!(aged.unwrap(), HandshakeKind::Resumed);

        let mut options = scene.mutual();
        options.clients.as_mut().unwrap().resumption = false;
        let terminator = scene.load(options);
        let fresh = scene.client(version, Some(&scene.clients.client("alice")));
        assert_ne!(second(&scene, &terminator, &fresh, || ()).unwrap(), HandshakeKind::Resumed);
    }
}

#[test]
fn a_session_is_for_one_name() {
    let scene = Scene::new();
    scene.present("tls", &scene.servers.server(&["kafka.example.com", "other.example.com"]));
    let terminator = scene.load(scene.plain());
    for version in VERSIONS {
        let store = Arc::new(crate::tls::testing::OneName::default());
        let mut client = scene.client(version, None);
        client.resumption = Resumption::store(store);
        assert_eq!(second(&scene, &terminator, &client, || ()).unwrap(), HandshakeKind::Resumed);
        let other = shake(&client, "other.example.com", &terminator.config()).unwrap();
        assert_ne!(other.server.handshake_kind(), Some(HandshakeKind::Resumed));
    }
}

#[test]
fn a_renewed_certificate_is_taken_and_sessions_stay() {
    for version in VERSIONS {
        let scene = Scene::new();
        let terminator = scene.load(scene.mutual());
        let client = scene.client(version, Some(&scene.clients.client("alice")));
        let before = terminator.status().certificates[0].sha256.clone();
        assert!(matches!(terminator.reload(), Reloaded::Unchanged));
        let kind = second(&scene, &terminator, &client, || {
            scene.present("tls", &scene.servers.server(&["kafka.example.com"]));
            assert!(!swapped(&terminator), "only the certificate changed");
        });
        assert_eq!(kind.unwrap(), HandshakeKind::Resumed);
        assert_ne!(terminator.status().certificates[0].sha256, before);
        assert!(matches!(terminator.reload(), Reloaded::Unchanged));
    }
}

#[test]
fn bad_files_keep_what_is_in_use_and_are_told_once() {
    let scene = Scene::new();
    let terminator = scene.load(scene.mutual());
    let (client, pair) = (ProtocolVersion::TLSv1_3, scene.clients.client("alice"));
    let good = scene.servers.server(&["kafka.example.com"]);
    let other = scene.servers.server(&["kafka.example.com"]);
    let works = || scene.shake(&scene.client(client, Some(&pair)), &terminator).is_ok();

    scene.folder.put("tls.crt", &good.cert);
    assert!(kept(&terminator).contains("tls.key` does not belong to the certificate in"));
    assert!(works());
    scene.folder.put("tls.key", &good.key[..80]);
    assert!(kept(&terminator).contains("tls.key` is broken or cut short"));
    scene.folder.put("tls.key", &good.key);
    scene.folder.put("ca/two.crt", &Authority::new("Two").pem()[..200]);
    assert!(half(&terminator, false).contains("two.crt` is broken or cut short"));
    std::fs::remove_file(scene.folder.path("tls.crt")).unwrap();
    let both = kept(&terminator);
    assert!(both.contains("tls.crt` cannot be read: No such file"));
    assert!(both.contains("; and the trusted certificates cannot be used") && both.contains("two.crt`"));
    assert!(works());

    scene.present("tls", &other);
    scene.folder.put("ca/two.crt", Authority::new("Two").pem());
    assert!(swapped(&terminator));
    let status = terminator.status();
    assert_eq!((status.fault, status.authorities.len()), (None, 2));
    assert!(works());

    scene.folder.put("ca/two.crt", "");
    assert!(kept(&terminator).contains("two.crt` holds no certificate"));
    scene.folder.put("ca/two.crt", Authority::new("Two").pem());
    assert!(swapped(&terminator), "mended, though not as it was");
    let fault_again = scene.folder.put("ca/three.crt", "");
    kept(&terminator);
    std::fs::remove_file(fault_again).unwrap();
    assert!(matches!(terminator.reload(), Reloaded::Unchanged), "as it was");
    assert_eq!(terminator.status().fault, None);
}

#[test]
fn a_broken_pair_holds_back_no_revocation() {
    let scene = Scene::new();
    let (alice, bob) = (scene.clients.client("alice"), scene.clients.client("bob"));
    scene.folder.put("crl/one.crl", scene.clients.revoke(&[]).der());
    let terminator = scene.load(scene.mutual());
    let old = scene.servers.server(&["kafka.example.com"]);
    let gets_in =
        |pair: &Pair| scene.shake(&scene.client(ProtocolVersion::TLSv1_3, Some(pair)), &terminator).is_ok();
    assert!(gets_in(&alice) && gets_in(&bob));

    let before = terminator.status().certificates[0].sha256.clone();
    scene.folder.put("tls.crt", &old.cert);
    scene.folder.put("crl/one.crl", scene.clients.revoke(&[&alice]).der());
    assert!(half(&terminator, true).contains("tls.key` does not belong to the certificate in"));
    assert!(!gets_in(&alice) && gets_in(&bob));
    assert_eq!(terminator.status().certificates[0].sha256, before);

    // The key arrives: the pair is taken, and who was revoked stays so.
    scene.folder.put("tls.key", &old.key);
    assert!(!swapped(&terminator));
    assert_ne!(terminator.status().certificates[0].sha256, before);
    assert_eq!(terminator.status().fault, None);
    assert!(!gets_in(&alice) && gets_in(&bob));
}

#[test]
fn files_that_go_back_to_what_they_were_after_half_a_change_are_taken() {
    let scene = Scene::new();
    let terminator = scene.load(scene.mutual());
    let (whole, stranger) =
        (std::fs::read_to_string(scene.folder.path("tls.crt")).unwrap(), Authority::new("Two"));
    scene.folder.put("tls.crt", "");
    let two = scene.folder.put("ca/two.crt", stranger.pem());
    half(&terminator, true);
    scene.folder.put("tls.crt", whole);
    std::fs::remove_file(two).unwrap();
    assert!(swapped(&terminator), "the second authority is trusted no more");
    assert_eq!(terminator.status().authorities.len(), 1);
}

#[test]
fn a_certificate_that_ran_out_replaces_only_one_that_did_too() {
    let scene = Scene::new();
    let until = |end: SystemTime| {
        scene.servers.pair(|params| {
            params.not_after = end.into();
            params.subject_alt_names = vec![rcgen::SanType::DnsName("kafka.example.com".try_into().unwrap())];
        })
    };
    let now = SystemTime::now();
    scene.present("tls", &until(now + DAY));
    let terminator = scene.load(scene.plain());
    scene.present("tls", &until(now - DAY / 2));
    assert!(kept(&terminator).contains("ran out at"));
    scene.clock.forward(2 * DAY);
    assert!(!swapped(&terminator), "neither is valid now: the files decide");
    assert!(terminator.status().warnings[0].contains("ran out at"));

    // At a start there is nothing better.
    let terminator = scene.load(scene.plain());
    assert!(terminator.status().warnings[0].contains("nobody who checks it connects any more"));
    scene.present("tls", &scene.servers.server(&["kafka.example.com"]));
    assert!(!swapped(&terminator));
    assert!(!terminator.status().warnings.iter().any(|warning| warning.contains("ran out")));
}

#[test]
fn a_list_that_ran_out_replaces_only_one_that_did_too() {
    let scene = Scene::new();
    let until = |end| scene.clients.list(&[], |list| list.next_update = SystemTime::into(end));
    let now = SystemTime::now();
    scene.folder.put("crl/one.crl", until(now + DAY).der());
    let terminator = scene.load(scene.mutual());
    let next = terminator.status().revocation_lists[0].next_update.unwrap();
    scene.folder.put("crl/one.crl", until(now - Duration::from_secs(60)).der());
    assert!(kept(&terminator).contains("one.crl` is gone, or an older one is there, or one that ran out"));
    assert_eq!(terminator.status().revocation_lists[0].next_update, Some(next));
    scene.clock.forward(2 * DAY);
    assert!(swapped(&terminator));
}

#[test]
fn a_list_that_is_lost_or_older_than_before_lets_nobody_in_who_was_revoked() {
    let scene = Scene::new();
    let (alice, bob) = (scene.clients.client("alice"), scene.clients.client("bob"));
    let old = scene.clients.list(&[], |list| list.this_update = (SystemTime::now() - DAY / 2).into());
    let put = |name: &str, list: &[u8]| scene.folder.put(&format!("crl/{name}.crl"), list);
    let other = Authority::new("Other");
    scene.folder.put("ca/other.crt", other.pem());
    put("other", other.revoke(&[]).der());
    let one = put("one", scene.clients.revoke(&[&alice]).der());
    let terminator = scene.load(scene.mutual());
    let gets_in =
        |pair: &Pair| scene.shake(&scene.client(ProtocolVersion::TLSv1_3, Some(pair)), &terminator).is_ok();
    let revoked_stay_out = || !gets_in(&alice) && gets_in(&bob);
    let loses =
        |fault: String| fault.contains("list of `CN=Clients` that was in") && fault.contains("one.crl`");
    assert!(revoked_stay_out());

    std::fs::remove_file(&one).unwrap();
    assert!(loses(kept(&terminator)) && revoked_stay_out());
    assert!(matches!(terminator.reload(), Reloaded::StillKept));
    assert_eq!(terminator.status().revocation_lists.len(), 2);
    put("one", old.der());
    assert!(matches!(terminator.reload(), Reloaded::StillKept), "older is as good as lost");
    assert!(revoked_stay_out());

    // What else is new is used meanwhile: here another one is revoked, and another pair presented.
    let carol = other.client("carol");
    assert!(gets_in(&carol));
    put("other", other.revoke(&[&carol]).der());
    scene.present("tls", &scene.servers.server(&["kafka.example.com"]));
    assert!(loses(half(&terminator, true)) && !gets_in(&carol) && revoked_stay_out());

    put("one", scene.clients.revoke(&[&bob]).der());
    assert!(swapped(&terminator) && gets_in(&alice) && !gets_in(&bob), "a newer one counts as it is");
    assert_eq!(terminator.status().fault, None);

    // Neither do other settings let anybody in, unless they name other places for the lists.
    std::fs::remove_file(&one).unwrap();
    let mut options = scene.mutual();
    options.min_version = Version::Tls13;
    let next = Terminator::load_after(options.clone(), &terminator).unwrap();
    assert!(loses(next.status().fault.unwrap().text));
    assert!(matches!(next.reload(), Reloaded::StillKept));
    assert!(scene.shake(&scene.client(ProtocolVersion::TLSv1_3, Some(&bob)), &next).is_err());
    options.clients.as_mut().unwrap().trust.crl = vec![scene.folder.path("crl/other.crl")];
    let next = Terminator::load_after(options, &next).unwrap();
    assert_eq!(next.status().fault, None);
    assert!(scene.shake(&scene.client(ProtocolVersion::TLSv1_3, Some(&bob)), &next).is_ok());

    // Without its authority it is nobody's loss.
    scene.folder.put("ca/one.crt", other.pem());
    assert!(swapped(&terminator));
    assert_eq!((terminator.status().fault, terminator.status().revocation_lists.len()), (None, 1));
}

#[test]
fn a_list_in_the_place_of_another_is_no_loss_of_it() {
    let scene = Scene::new();
    let (alice, now) = (scene.clients.client("alice"), SystemTime::now());
    let put = |list: &[u8]| scene.folder.put("crl/one.crl", list);
    let with = |revoked: &[&Pair], set: &dyn Fn(&mut rcgen::CertificateRevocationListParams)| {
        scene.clients.list(revoked, set)
    };
    // A clock that was wrong, then the next number.
    put(with(&[], &|list| {
        (list.this_update, list.next_update) = ((now + 3 * DAY).into(), (now + 4 * DAY).into());
    })
    .der());
    let terminator = scene.load(scene.mutual());
    let gets_in =
        |pair: &Pair| scene.shake(&scene.client(ProtocolVersion::TLSv1_3, Some(pair)), &terminator).is_ok();
    assert!(gets_in(&alice));
    put(with(&[&alice], &|list| list.crl_number = rcgen::SerialNumber::from(300_u64)).der());
    assert!(swapped(&terminator) && !gets_in(&alice));
    // The same key under another identifier, as that of an authority that was issued anew.
    let other_id = |list: &mut rcgen::CertificateRevocationListParams| {
        list.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(vec![7; 20]);
    };
    put(with(&[&alice], &other_id).der());
    assert!(swapped(&terminator) && !gets_in(&alice));
    assert_eq!((terminator.status().fault, terminator.status().revocation_lists.len()), (None, 1));
    // A part, then the whole.
    let part = |list: &mut rcgen::CertificateRevocationListParams| {
        let uris = vec!["http://crl.example.com/part-7".to_owned()];
        let distribution_point = rcgen::CrlDistributionPoint { uris };
        list.issuing_distribution_point =
            Some(rcgen::CrlIssuingDistributionPoint { distribution_point, scope: None });
    };
    put(with(&[], &part).der());
    let terminator = scene.load(scene.mutual());
    put(with(&[&alice], &|_| {}).der());
    assert!(swapped(&terminator));
    assert_eq!((terminator.status().fault, terminator.status().revocation_lists.len()), (None, 1));
}

#[test]
fn the_list_of_an_authority_that_comes_between_is_not_lost_either() {
    let scene = Scene::new();
    let below = scene.clients.below("Below");
    let (alice, bob) = (below.client("alice"), below.client("bob"));
    scene.folder.put("crl/root.crl", scene.clients.revoke(&[]).der());
    let list = scene.folder.put("crl/below.crl", below.revoke(&[&alice]).der());
    let terminator = scene.load(scene.mutual());
    let gets_in = |pair: &Pair| {
        let chain = Pair {
            cert: pair.cert.clone() + &below.pem(),
            key: pair.key.clone(),
            ..scene.clients.client("x")
        };
        scene.shake(&scene.client(ProtocolVersion::TLSv1_3, Some(&chain)), &terminator).is_ok()
    };
    assert!(!gets_in(&alice) && gets_in(&bob));
    std::fs::remove_file(list).unwrap();
    assert!(kept(&terminator).contains("list of `CN=Below` that was in"));
    scene.present("tls", &scene.servers.server(&["kafka.example.com"]));
    assert!(!half(&terminator, false).is_empty());
    assert!(!gets_in(&alice) && gets_in(&bob));
}

#[test]
fn a_list_that_ran_out_is_in_nobodys_way_beside_its_successor() {
    let scene = Scene::new();
    let (now, alice) = (SystemTime::now(), scene.clients.client("alice"));
    let list = |from: SystemTime, until: SystemTime| {
        scene.clients.list(&[], |list| (list.this_update, list.next_update) = (from.into(), until.into()))
    };
    scene.folder.put("crl/1.crl", list(now - 2 * DAY, now + DAY).der());
    scene.folder.put("crl/2.crl", list(now - DAY, now + 9 * DAY).der());
    let terminator = scene.load(scene.mutual());
    scene.clock.forward(2 * DAY);
    scene.present("tls", &scene.servers.server(&["kafka.example.com"]));
    assert!(!swapped(&terminator));
    let status = terminator.status();
    assert!(!status.warnings.iter().any(|warning| warning.contains("ran out")), "{:?}", status.warnings);
    assert_eq!(status.revocation_lists.len(), 1);
    assert!(status.revocation_lists[0].next_update.unwrap() > now + 8 * DAY);
    assert!(scene.shake(&scene.client(ProtocolVersion::TLSv1_3, Some(&alice)), &terminator).is_ok());
    std::fs::remove_file(scene.folder.path("crl/1.crl")).unwrap();
    assert!(!swapped(&terminator), "nobody else is trusted without the old list");
}

#[test]
fn more_authorities_than_clients_can_be_told_are_still_trusted() {
    let scene = Scene::new();
    let alice = scene.clients.client("alice");
    let terminator = scene.load(scene.mutual());
    let is_told_less = || {
        terminator.status().warnings.iter().any(|warning| warning.contains("and 18 more have too many names"))
    };
    assert!(!is_told_less());
    for number in 0..18 {
        let authority = Authority::new(&format!("{number}{}", "x".repeat(1_000)));
        scene.folder.put(&format!("ca/{number}.crt"), authority.pem());
    }
    assert!(swapped(&terminator));
    assert!(is_told_less(), "{:?}", terminator.status().warnings);
    for version in VERSIONS {
        assert!(scene.shake(&scene.client(version, Some(&alice)), &terminator).is_ok());
    }
}

#[test]
fn no_certificate_is_an_error_at_once() {
    let scene = Scene::new();
    let load = |options: Options| Terminator::load(options).map(drop).unwrap_err();
    assert!(matches!(load(Options { certificates: Vec::new(), ..scene.plain() }), Error::NoIdentity));
    let mut options = scene.mutual();
    options.clients.as_mut().unwrap().trust.ca = Vec::new();
    assert!(matches!(load(options), Error::Trust(trust::Error::NoAuthority)));
}

#[test]
fn a_certificate_for_no_name_is_warned_of() {
    let scene = Scene::new();
    scene.present("tls", &scene.servers.server(&[]));
    let warnings = scene.load(scene.plain()).status().warnings;
    assert!(
        warnings.iter().any(|warning| warning.ends_with("is for no name (`subjectAltName`)")),
        "{warnings:?}"
    );
}
