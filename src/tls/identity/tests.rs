//! Every form of key and certificate that tools write, and every way in which they are wrong.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use super::*;
use crate::logging;
use crate::tls::testing::{Authority, Folder};

fn pem(folder: &Folder, cert: &str, key: &str, password: Option<&str>) -> Source {
    let password = password.map(|password| Password::Text(password.into()));
    Source::Pem { cert: folder.path(cert), key: folder.path(key), password }
}

#[track_caller]
fn fault(source: &Source) -> String {
    let error = load(source).map(drop).unwrap_err();
    logging::chain(&error)
}

/// A folder with a key in `key` as a tool made it, and a certificate for it in `cert`.
fn made(arguments: &str) -> Folder {
    let folder = Folder::new();
    folder.run("openssl", arguments);
    certify(&folder, "key");
    folder
}

/// Makes `cert` for a key.
fn certify(folder: &Folder, key: &str) {
    folder.run("openssl", &format!(
        "req -x509 -key {key} -out cert -days 2 -subj /C=DE/CN=gateway -addext subjectAltName=DNS:Kafka.example.com,DNS:*.kafka.example.com,IP:10.0.0.1,IP:2001:db8::1"
    ));
}

fn private(folder: &Folder) {
    for entry in fs::read_dir(folder).unwrap() {
        fs::set_permissions(entry.unwrap().path(), Permissions::from_mode(0o600)).unwrap();
    }
}

#[test]
fn every_usual_key_is_read() {
    for (kind, arguments) in [
        ("RSA in PKCS#8", "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key"),
        ("RSA in PKCS#1", "genrsa -traditional -out key 2048"),
        ("P-256 in SEC1 after its parameters", "ecparam -name prime256v1 -genkey -out key"),
        ("P-384 in SEC1", "ecparam -name secp384r1 -genkey -noout -out key"),
        ("P-521 in PKCS#8", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out key"),
        ("P-256 in PKCS#8", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key"),
        ("Ed25519", "genpkey -algorithm ED25519 -out key"),
    ] {
        let folder = made(arguments);
        private(&folder);
        let identity =
            load(&pem(&folder, "cert", "key", None)).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(identity.subject, "CN=gateway,C=DE");
        let names: Vec<String> = identity.names.iter().map(Name::to_string).collect();
        assert_eq!(names, ["kafka.example.com", "*.kafka.example.com", "10.0.0.1", "2001:db8::1"]);
        assert_eq!(identity.warnings, Vec::<String>::new(), "{kind}");
        assert_eq!(identity.out_of_time(SystemTime::now()), None);
        let days = identity.not_after.duration_since(identity.not_before).unwrap();
        assert_eq!(days, Duration::from_secs(2 * 86_400));
        let shown = format!("{identity:?}");
        assert!(!shown.contains("PRIVATE") && shown.len() < 20_000, "{shown}");
    }
}

#[test]
fn encrypted_keys_need_their_password() {
    let folder = made("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key");
    let old_way = "this makes one that can be read: `openssl pkcs8 -topk8 -v2 aes-256-cbc -in";
    for form in ["-v2 aes-256-cbc", "-v2 aes-128-cbc -v2prf hmacWithSHA512", "-scrypt"] {
        folder.run("openssl", &format!("pkcs8 -topk8 -in key -out sealed {form} -passout pass:geheim"));
        assert!(load(&pem(&folder, "cert", "sealed", Some("geheim"))).is_ok(), "{form}");
        assert!(fault(&pem(&folder, "cert", "sealed", None)).contains("is encrypted: set `key_password`"));
        let wrong = fault(&pem(&folder, "cert", "sealed", Some("geraten")));
        assert!(wrong.contains("the password does not open") && !wrong.contains("geraten"), "{wrong}");
    }
    folder.run("openssl", "pkcs8 -topk8 -in key -out old -v1 PBE-SHA1-3DES -passout pass:geheim");
    assert!(fault(&pem(&folder, "cert", "old", Some("geheim"))).contains(old_way));
    folder.run("openssl", "pkcs8 -topk8 -in key -out old -v2 des3 -passout pass:geheim");
    assert!(fault(&pem(&folder, "cert", "old", Some("geheim"))).contains(old_way));
    folder.run("openssl", "ec -in key -out old -aes256 -passout pass:geheim");
    assert!(fault(&pem(&folder, "cert", "old", Some("geheim"))).contains(old_way));
    let identity = load(&pem(&folder, "cert", "key", Some("geheim"))).unwrap();
    assert!(
        identity.warnings.iter().any(|warning| warning.contains("needs no password")),
        "{:?}",
        identity.warnings
    );
}

#[test]
fn a_password_file_loses_one_line_end() {
    let folder = made("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key");
    folder.run("openssl", "pkcs8 -topk8 -in key -out sealed -passout pass:geheim");
    let load_by = |content: &[u8]| {
        let password = Some(Password::File(folder.put("password", content)));
        load(&Source::Pem { cert: folder.path("cert"), key: folder.path("sealed"), password })
    };
    for content in ["geheim", "geheim\n", "geheim\r\n"] {
        assert!(load_by(content.as_bytes()).is_ok(), "{content:?}");
    }
    assert!(matches!(load_by(b"geheim\n\n"), Err(Error::WrongPassword(_))));
    assert!(matches!(load_by(b"\n"), Err(Error::EmptyPassword(_))));
    assert!(matches!(load_by(b"\xff"), Err(Error::NotText(_))));
    let password = Some(Password::File(folder.path("nowhere")));
    let source = Source::Pem { cert: folder.path("cert"), key: folder.path("sealed"), password };
    assert!(fault(&source).contains("nowhere` cannot be read: No such file"), "{}", fault(&source));
    assert!(!format!("{:?}", pem(&folder, "cert", "sealed", Some("geheim"))).contains("geheim"));
}

#[test]
fn one_file_may_hold_all_with_text_between() {
    let folder = Folder::new();
    let pair = Authority::new("CA").server(&["a.example.com"]);
    folder.put(
        "all.pem",
        format!("Bag Attributes\r\n{}\r\nsubject=x\n{}", pair.key, pair.cert.replace('\n', "\r\n")),
    );
    let identity = load(&pem(&folder, "all.pem", "all.pem", None)).unwrap();
    assert_eq!(identity.names, [Name::Dns("a.example.com".to_owned())]);
}

#[test]
fn what_does_not_fit_is_told_apart() {
    let folder = Folder::new();
    let authority = Authority::new("CA");
    let (one, other) = (authority.server(&["a.example.com"]), authority.server(&["a.example.com"]));
    folder.put("one.crt", &one.cert);
    folder.put("one.key", &one.key);
    folder.put("other.key", &other.key);
    folder.put("reversed.crt", authority.pem() + &one.cert);
    folder.put("cut.crt", &one.cert[..one.cert.len() / 2]);
    folder.put("cut.key", &one.key[..one.key.len() / 2]);
    folder.put("cut-chain.crt", format!("{}{}", one.cert, &authority.pem()[..100]));
    folder.put("empty", "");
    folder.put("rubbish.crt", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n");
    folder.put("rubbish.key", "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n");
    folder.put("der.crt", &*one.der);
    folder.put("store.jks", b"\xfe\xed\xfe\xed\0\0\0\x02");
    for (cert, key, wanted) in [
        ("one.crt", "other.key", "other.key` does not belong to the certificate in"),
        ("reversed.crt", "one.key", "belongs to certificate 2 in"),
        ("cut.crt", "one.key", "cut.crt` is broken or cut short: "),
        ("cut-chain.crt", "one.key", "cut-chain.crt` is broken or cut short: "),
        ("one.crt", "cut.key", "cut.key` is broken or cut short: "),
        ("empty", "one.key", "empty` holds no certificate in PEM"),
        ("one.crt", "empty", "empty` holds no private key in PEM"),
        ("one.crt", "one.crt", "one.crt` holds no private key in PEM"),
        ("rubbish.crt", "one.key", "rubbish.crt` holds a certificate that cannot be read"),
        ("one.crt", "rubbish.key", "rubbish.key` is not one that TLS uses"),
        ("der.crt", "one.key", "it is DER, `openssl x509 -inform der -in"),
        ("nowhere", "one.key", "nowhere` cannot be read: No such file"),
        ("one.crt", "nowhere", "nowhere` cannot be read: No such file"),
        ("store.jks", "one.key", "store.jks.p12 -deststoretype PKCS12`"),
        ("one.crt", "store.jks", "`keytool -importkeystore -srckeystore"),
    ] {
        let said = fault(&pem(&folder, cert, key, None));
        assert!(said.contains(wanted), "{cert} with {key}: {said}");
    }
}

#[test]
fn what_works_but_should_not_stay_is_warned_of() {
    let folder = Folder::new();
    let authority = Authority::new("CA");
    let pair = authority.pair(|params| params.not_after = SystemTime::UNIX_EPOCH.into());
    folder.put("old.crt", &pair.cert);
    let key = folder.put("old.key", &pair.key);
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let identity = load(&pem(&folder, "old.crt", "old.key", None)).unwrap();
    assert!(
        identity.warnings[0].contains("old.key` is secret and open to others than its owner (mode 0644)")
    );
    let now = SystemTime::now();
    assert!(identity.out_of_time(now).unwrap().contains("ran out at 1970-01-01T00:00:00Z"));
    let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1_000_000_000);
    assert!(identity.out_of_time(before).unwrap().contains("is not valid before"));
}

#[cfg(not(feature = "keystore"))]
#[test]
fn a_build_without_key_stores_says_how_to_go_on() {
    let folder = Folder::new();
    folder.put("store.p12", b"\x30\x82");
    folder.put("store.jks", b"\xfe\xed\xfe\xed\0\0\0\x02");
    let store = |name: &str| Source::Pkcs12 { file: folder.path(name), password: Password::Text("x".into()) };
    assert!(fault(&store("store.p12")).contains("`openssl pkcs12 -in"));
    assert!(fault(&store("store.jks")).contains("`keytool -importkeystore"));
}

#[cfg(feature = "keystore")]
mod stores {
    use super::*;

    fn store(folder: &Folder, file: &str, password: &str) -> Source {
        Source::Pkcs12 { file: folder.path(file), password: Password::Text(password.into()) }
    }

    /// An authority, one below it, and a server; all but the first in `chain.crt`.
    fn chain() -> Folder {
        let folder = Folder::new();
        let root = Authority::new("Root");
        let below = root.below("Below");
        let pair = below.server(&["kafka.example.com"]);
        folder.put("chain.crt", format!("{}{}{}", pair.cert, below.pem(), root.pem()));
        folder.put("server.key", &pair.key);
        folder
    }

    #[track_caller]
    fn is_complete(folder: &Folder, file: &str, password: &str) {
        let identity = load(&store(folder, file, password)).unwrap();
        assert_eq!(identity.names, [Name::Dns("kafka.example.com".to_owned())]);
        let subjects: Vec<String> =
            identity.certified.cert.iter().map(|c| principal::java_name(c).unwrap()).collect();
        assert_eq!(subjects, ["CN=server", "CN=Below"]);
    }

    #[test]
    fn stores_of_openssl_are_read() {
        let folder = chain();
        let export = "pkcs12 -export -in chain.crt -inkey server.key -passout pass:geheim";
        for form in
            ["", " -legacy", " -name gateway", " -keypbe AES-128-CBC -certpbe NONE", " -macalg sha512"]
        {
            folder.run("openssl", &format!("{export} -out store.p12{form}"));
            is_complete(&folder, "store.p12", "geheim");
            assert!(
                fault(&store(&folder, "store.p12", "geraten")).contains("the password does not open"),
                "{form}"
            );
        }
    }

    #[test]
    fn stores_of_keytool_are_read() {
        let folder = chain();
        folder.run(
            "openssl",
            "pkcs12 -export -in chain.crt -inkey server.key -passout pass:geheim -name one -out o.p12",
        );
        let import =
            "-importkeystore -noprompt -srckeystore o.p12 -srcstorepass geheim -deststorepass geheim";
        folder.run("keytool", &format!("{import} -destkeystore store.p12 -deststoretype PKCS12"));
        is_complete(&folder, "store.p12", "geheim");
        folder.run("keytool", &format!("{import} -destkeystore store.jks -deststoretype JKS"));
        assert!(fault(&store(&folder, "store.jks", "geheim")).contains("is a JKS key store"));
        folder.run(
            "keytool",
            "-genkeypair -alias two -dname CN=two -keyalg EC -keystore store.p12 -storepass geheim",
        );
        assert!(fault(&store(&folder, "store.p12", "geheim")).contains("more than one key"));
    }

    #[test]
    fn what_is_no_key_store_is_told_apart() {
        let folder = chain();
        folder.run("openssl", "pkcs12 -export -nokeys -in chain.crt -passout pass:geheim -out trust.p12");
        assert!(fault(&store(&folder, "trust.p12", "geheim")).contains("it holds no key"));
        folder.run(
            "openssl",
            "pkcs12 -export -in chain.crt -inkey server.key -passout pass:geheim -out store.p12",
        );
        let whole = fs::read(folder.path("store.p12")).unwrap();
        folder.put("cut.p12", &whole[..whole.len() / 2]);
        assert!(fault(&store(&folder, "cut.p12", "geheim")).contains("it is not PKCS#12, or cut short"));
        assert!(fault(&store(&folder, "chain.crt", "geheim")).contains("it is not PKCS#12, or cut short"));
        folder.put("odd.p12", b"\x30\x03\x02\x01\x03");
        assert!(fault(&store(&folder, "odd.p12", "geheim")).contains("cannot be read"));
    }
}
