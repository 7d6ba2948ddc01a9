//! Certificates and keys for the files of the tests: made anew by each run, because certificates run out.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Once;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName,
    DnType, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize, SerialNumber,
};

const DAY: Duration = Duration::from_secs(24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);

/// When a certificate begins and ends, as distances from now.
#[derive(Clone, Copy)]
enum Valid {
    Months,
    FiveDays,
    UntilThreeDaysAgo,
    FromTomorrowOn,
}

/// Makes the files and goes to where they are: the files of the tests name them by relative paths.
pub(crate) fn enter() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("config");
        fs::create_dir_all(folder.join("authorities")).unwrap();
        std::env::set_current_dir(&folder).unwrap();
        write();
    });
}

fn write() {
    let ca = authority("Test CA");
    put("ca.pem", &ca.pem());
    put("authorities/old.crt", &authority("Old CA").pem());
    put("authorities/new.crt", &ca.pem());
    put("ca.crl", &list(&ca, 30 * DAY));
    put("old.crl", &list_that_ran_out(&ca));
    put("foreign.crl", &list(&authority("Foreign CA"), 30 * DAY));
    let names = ["kafka.example.com", "*.kafka.example.com"];
    pair("tls", &names, &ca, Valid::Months);
    pair("again", &["kafka.example.com"], &ca, Valid::Months);
    pair("other", &["other.example.com", "192.0.2.7"], &ca, Valid::Months);
    pair("wildcard", &["*.kafka.example.com"], &ca, Valid::Months);
    pair("expired", &names, &ca, Valid::UntilThreeDaysAgo);
    pair("soon", &names, &ca, Valid::FiveDays);
    pair("future", &names, &ca, Valid::FromTomorrowOn);
    pair("nameless", &[], &ca, Valid::Months);
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    pair_of(&rsa, "rsa", &names, &ca, Valid::Months);
    for client in ["client", "payments"] {
        pair(client, &[], &ca, Valid::Months);
    }
    let sealed = Command::new("openssl")
        .args(["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-in", "other.key", "-out", "sealed.key"])
        .args(["-passout", "pass:hunter2"])
        .status();
    assert!(sealed.unwrap().success(), "openssl");
    fs::copy("tls.key", "open.key").unwrap();
    fs::set_permissions("open.key", fs::Permissions::from_mode(0o644)).unwrap();
    put("half.crt", &fs::read_to_string("tls.crt").unwrap()[..200]);
    put("empty.pem", "");
    put("password", "changeit\n");
    fs::write("store.bin", [0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2, 0, 0, 0, 1]).unwrap();
}

fn put(file: &str, text: &str) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn pair(name: &str, names: &[&str], ca: &CertifiedIssuer<'static, KeyPair>, valid: Valid) {
    pair_of(&KeyPair::generate().unwrap(), name, names, ca, valid);
}

fn pair_of(key: &KeyPair, name: &str, names: &[&str], ca: &CertifiedIssuer<'static, KeyPair>, valid: Valid) {
    let now = SystemTime::now();
    let (from, to) = match valid {
        Valid::Months => (now - DAY, now + 90 * DAY),
        Valid::FiveDays => (now - 85 * DAY, now + 5 * DAY + HOUR),
        Valid::UntilThreeDaysAgo => (now - 90 * DAY, now - 3 * DAY - HOUR),
        Valid::FromTomorrowOn => (now + DAY + HOUR, now + 90 * DAY),
    };
    let mut params = named(name);
    params.subject_alt_names =
        CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())
            .unwrap()
            .subject_alt_names;
    (params.not_before, params.not_after) = (from.into(), to.into());
    params.use_authority_key_identifier_extension = true;
    put(&format!("{name}.crt"), &params.signed_by(key, ca).unwrap().pem());
    put(&format!("{name}.key"), &key.serialize_pem());
}

fn list(ca: &CertifiedIssuer<'static, KeyPair>, left: Duration) -> String {
    let now = SystemTime::now();
    revoking_nothing(ca, now - DAY, now + left)
}

fn list_that_ran_out(ca: &CertifiedIssuer<'static, KeyPair>) -> String {
    // At a day that a text can name.
    let day = |day: u32| SystemTime::UNIX_EPOCH + 20_000 * DAY + day * DAY;
    revoking_nothing(ca, day(0), day(7))
}

fn revoking_nothing(ca: &CertifiedIssuer<'static, KeyPair>, from: SystemTime, to: SystemTime) -> String {
    let params = CertificateRevocationListParams {
        this_update: from.into(),
        next_update: to.into(),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(ca).unwrap().pem().unwrap()
}
