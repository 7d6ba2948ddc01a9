//! Authorities in files and directories, and lists of every kind: old, empty, broken, of others, of two keys.

use std::time::UNIX_EPOCH;

use rcgen::{CrlIssuingDistributionPoint, CrlScope, KeyIdMethod};
use rustls::CertificateError;

use super::*;
use crate::logging;
use crate::tls::testing::{Authority, DAY, Folder, Pair};

fn options(folder: &Folder, ca: &[&str], crl: &[&str]) -> Options {
    let paths = |names: &[&str]| names.iter().map(|name| folder.path(name)).collect();
    Options { ca: paths(ca), crl: paths(crl) }
}

fn load(options: &Options) -> Result<Trust, Error> {
    Trust::build(options, &Snapshot::take(&options.wanted()))
}

#[track_caller]
fn fault(options: &Options) -> String {
    logging::chain(&load(options).map(drop).unwrap_err())
}

fn check(trust: &Trust, pair: &Pair) -> Result<(), CertificateError> {
    check_chain(trust, &pair.chain())
}

fn check_chain(trust: &Trust, chain: &[CertificateDer<'_>]) -> Result<(), CertificateError> {
    let verifier = ClientVerifier::new(trust.clone(), true);
    match verifier.verify(&chain[0], &chain[1..], UnixTime::now()) {
        Err(rustls::Error::InvalidCertificate(error)) => Err(error),
        other => other.map_err(|error| panic!("{error:?}")),
    }
}

fn status(trust: &Trust) -> status::Status {
    let mut status = status::Status {
        certificates: Vec::new(),
        authorities: Vec::new(),
        revocation_lists: Vec::new(),
        warnings: Vec::new(),
        fault: None,
        loaded: UNIX_EPOCH,
    };
    trust.describe(&mut status, SystemTime::now());
    status
}

#[test]
fn every_authority_of_a_directory_is_trusted() {
    let folder = Folder::new();
    let (one, two, bundled, other) =
        (Authority::new("One"), Authority::new("Two"), Authority::new("Bundled"), Authority::new("Other"));
    folder.put("ca/ca.crt", one.pem());
    folder.put("ca/ca-old.pem", format!("# old\n{}{}{}", two.pem(), bundled.pem(), one.pem()));
    folder.put("ca/ca.p12", "not looked at");
    let trust = load(&options(&folder, &["ca"], &[])).unwrap();
    for authority in [&one, &two, &bundled] {
        assert_eq!(check(&trust, &authority.client("a")), Ok(()));
    }
    assert_eq!(check(&trust, &other.client("a")), Err(CertificateError::UnknownIssuer));
    let subjects: Vec<String> =
        status(&trust).authorities.into_iter().map(|authority| authority.subject).collect();
    assert_eq!(subjects, ["CN=Two", "CN=Bundled", "CN=One"], "each once, by file");
}

#[test]
fn a_chain_may_have_more_links_and_must_be_for_clients() {
    let folder = Folder::new();
    let root = Authority::new("Root");
    let below = root.below("Below");
    folder.put("ca.crt", root.pem());
    let trust = load(&options(&folder, &["ca.crt"], &[])).unwrap();
    let client = below.client("a");
    let whole = [client.chain(), Authority::certificates(&below.pem())].concat();
    assert_eq!(check_chain(&trust, &whole), Ok(()));
    assert_eq!(check_chain(&trust, &client.chain()), Err(CertificateError::UnknownIssuer));
    assert_eq!(check(&trust, &root.server(&["a"])), Err(CertificateError::InvalidPurpose));
    let old = root.pair(|params| params.not_after = (SystemTime::now() - DAY / 2).into());
    assert!(matches!(check(&trust, &old), Err(CertificateError::ExpiredContext { .. })));
    let early = root.pair(|params| params.not_before = (SystemTime::now() + DAY).into());
    assert!(matches!(check(&trust, &early), Err(CertificateError::NotValidYetContext { .. })));
}

#[test]
fn a_broken_authority_is_named() {
    let folder = Folder::new();
    let one = Authority::new("One");
    folder.put("ca/a.crt", one.pem());
    let broken = |content: &str| {
        folder.put("ca/b.crt", content);
        fault(&options(&folder, &["ca"], &[]))
    };
    assert!(broken("").contains("b.crt` holds no certificate"));
    assert!(broken(&one.pem()[..100]).contains("b.crt` is broken or cut short: "));
    let rubbish = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    assert!(broken(&(one.pem() + rubbish)).contains("certificate 2 in `"));
    assert!(fault(&options(&folder, &["nowhere"], &[])).contains("nowhere` cannot be read: No such file"));
    assert!(fault(&options(&folder, &[], &[])).contains("no authority is named"));
}

#[test]
fn an_authority_that_ran_out_is_warned_of() {
    let folder = Folder::new();
    folder.put("ca.crt", Authority::until("Old", SystemTime::now() - DAY / 2).pem());
    let trust = load(&options(&folder, &["ca.crt"], &[])).unwrap();
    assert!(
        status(&trust).warnings[0].contains("the authority `CN=Old` in"),
        "{:?}",
        status(&trust).warnings
    );
}

#[test]
fn a_client_is_looked_up_in_the_list_of_its_authority_alone() {
    let folder = Folder::new();
    let (listed, free) = (Authority::new("Listed"), Authority::new("Free"));
    let (good, bad, other) = (listed.client("good"), listed.client("bad"), free.client("other"));
    folder.put("ca.crt", listed.pem() + &free.pem());
    let list = listed.revoke(&[&bad]);
    folder.put("der.crl", list.der());
    folder.put("pem.crl", format!("# comment\n{}", list.pem().unwrap()));
    for file in ["der.crl", "pem.crl"] {
        let trust = load(&options(&folder, &["ca.crt"], &[file])).unwrap();
        assert_eq!(check(&trust, &good), Ok(()));
        assert_eq!(check(&trust, &bad), Err(CertificateError::Revoked));
        assert_eq!(check(&trust, &other), Ok(()), "its authority has no list");
        let status = status(&trust);
        let shown = &status.revocation_lists[0];
        assert_eq!((shown.issuer.as_str(), shown.revoked, status.warnings.len()), ("CN=Listed", 1, 0));
        assert!(shown.next_update.unwrap() > SystemTime::now() + DAY / 2);
    }
    folder.put("empty.crl", listed.revoke(&[]).der());
    assert_eq!(check(&load(&options(&folder, &["ca.crt"], &["empty.crl"])).unwrap(), &bad), Ok(()));
}

#[test]
fn several_lists_in_files_and_directories_are_all_used() {
    let folder = Folder::new();
    let (one, two, three) = (Authority::new("One"), Authority::new("Two"), Authority::new("Three"));
    let clients = [&one, &two, &three].map(|authority| authority.client("bad"));
    folder.put("ca.crt", one.pem() + &two.pem() + &three.pem());
    let both = one.revoke(&[&clients[0]]).pem().unwrap() + &two.revoke(&[&clients[1]]).pem().unwrap();
    folder.put("lists/both.pem", both);
    folder.put("lists/three.crl", three.revoke(&[&clients[2]]).der());
    folder.put("lists/readme.txt", "");
    let trust = load(&options(&folder, &["ca.crt"], &["lists"])).unwrap();
    for client in &clients {
        assert_eq!(check(&trust, client), Err(CertificateError::Revoked));
    }
    assert_eq!(status(&trust).revocation_lists.len(), 3);
}

/// While an authority gets a new key, both are trusted under one name, and one has a list or both have.
#[test]
fn two_keys_of_one_name_have_lists_of_their_own() {
    let (old, new) = (Authority::new("Clients"), Authority::new("Clients"));
    let (old_good, old_bad) = (old.client("a"), old.client("b"));
    let (new_good, new_bad) = (new.client("a"), new.client("b"));
    for order in [[&old, &new], [&new, &old]] {
        let folder = Folder::new();
        folder.put("ca.crt", order.map(Authority::pem).concat());
        folder.put("1.crl", old.revoke(&[&old_bad]).der());
        folder.put("2.crl", new.revoke(&[&new_bad]).der());
        for lists in [["1.crl", "2.crl"], ["2.crl", "1.crl"]] {
            let trust = load(&options(&folder, &["ca.crt"], &lists)).unwrap();
            for (client, expected) in [
                (&old_good, Ok(())),
                (&old_bad, Err(CertificateError::Revoked)),
                (&new_good, Ok(())),
                (&new_bad, Err(CertificateError::Revoked)),
            ] {
                assert_eq!(check(&trust, client), expected);
            }
        }
        let trust = load(&options(&folder, &["ca.crt"], &["2.crl"])).unwrap();
        assert_eq!(
            (check(&trust, &old_bad), check(&trust, &new_bad)),
            (Ok(()), Err(CertificateError::Revoked))
        );
    }

    // The old key is gone, its list is still there: no reason to refuse all files.
    let folder = Folder::new();
    folder.put("ca.crt", new.pem());
    folder.put("1.crl", old.revoke(&[&old_bad]).der());
    let trust = load(&options(&folder, &["ca.crt"], &["1.crl"])).unwrap();
    assert!(status(&trust).warnings[0].contains("by another key of `CN=Clients`"));
    assert_eq!(check(&trust, &new_bad), Ok(()));
}

#[test]
fn the_newest_list_of_an_authority_counts() {
    let folder = Folder::new();
    let authority = Authority::new("CA");
    let (first, second) = (authority.client("a"), authority.client("b"));
    folder.put("ca.crt", authority.pem());
    let old = authority.list(&[&first], |list| {
        list.this_update = (SystemTime::now() - 9 * DAY).into();
        list.next_update = (SystemTime::now() - DAY).into();
    });
    folder.put("crl/a-old.crl", old.der());
    folder.put("crl/b-new.crl", authority.revoke(&[&second]).der());
    let trust = load(&options(&folder, &["ca.crt"], &["crl"])).unwrap();
    assert_eq!((check(&trust, &first), check(&trust, &second)), (Ok(()), Err(CertificateError::Revoked)));
    let (status, soon) = (status(&trust), SystemTime::now() + DAY / 2);
    assert_eq!((status.revocation_lists.len(), status.warnings.len()), (1, 0));
    assert!(trust.next_update().unwrap() > soon, "the old one is as good as not there");
}

#[test]
fn numbers_of_lists_are_compared_where_both_have_one() {
    for (number, other, later) in [
        (Some(&[2][..]), Some(&[1][..]), true),
        (Some(&[1, 0]), Some(&[255]), true),
        (Some(&[1]), Some(&[1]), false),
        (Some(&[255]), Some(&[1, 0]), false),
        // An older list that has a number, put back in the place of one that has none.
        (Some(&[9]), None, false),
        (None, Some(&[9]), false),
        (None, None, false),
    ] {
        assert_eq!(lists::is_later_number(number, other), later, "{number:?} after {other:?}");
    }
}

#[test]
fn a_list_that_ran_out_refuses_all_of_its_authority() {
    let folder = Folder::new();
    let (authority, free) = (Authority::new("CA"), Authority::new("Free"));
    folder.put("ca.crt", authority.pem() + &free.pem());
    let old = authority.list(&[], |list| list.next_update = (SystemTime::now() - DAY / 48).into());
    folder.put("old.crl", old.der());
    let trust = load(&options(&folder, &["ca.crt"], &["old.crl"])).unwrap();
    let refused = check(&trust, &authority.client("a"));
    assert!(matches!(refused, Err(CertificateError::ExpiredRevocationListContext { .. })), "{refused:?}");
    assert_eq!(check(&trust, &free.client("a")), Ok(()));
    assert!(status(&trust).warnings[0].contains("every certificate of `CN=CA` is refused"));
}

#[test]
fn a_list_for_a_part_of_the_certificates_leaves_the_others_refused() {
    let folder = Folder::new();
    let authority = Authority::new("CA");
    folder.put("ca.crt", authority.pem());
    let part = authority.list(&[], |list| {
        let uris = vec!["http://crl.example.com/part-7".to_owned()];
        let distribution_point = rcgen::CrlDistributionPoint { uris };
        list.issuing_distribution_point =
            Some(CrlIssuingDistributionPoint { distribution_point, scope: Some(CrlScope::CaCertsOnly) });
    });
    folder.put("part.crl", part.der());
    let trust = load(&options(&folder, &["ca.crt"], &["part.crl"])).unwrap();
    assert_eq!(check(&trust, &authority.client("a")), Err(CertificateError::UnknownRevocationStatus));
}

#[test]
fn an_authority_that_comes_between_may_have_a_list() {
    let folder = Folder::new();
    let root = Authority::new("Root");
    let (below, namesake) = (root.below("Below"), root.below("Below"));
    folder.put("ca.crt", root.pem());
    let bad = below.client("bad");
    folder.put("below.crl", below.revoke(&[&bad]).der());
    let trust = load(&options(&folder, &["ca.crt"], &["below.crl"])).unwrap();
    assert!(status(&trust).warnings[0].contains("by `CN=Below`, which is not trusted"));
    let chain =
        |pair: &Pair, above: &Authority| [pair.chain(), Authority::certificates(&above.pem())].concat();
    assert_eq!(check_chain(&trust, &chain(&bad, &below)), Err(CertificateError::Revoked));
    assert_eq!(check_chain(&trust, &chain(&below.client("good"), &below)), Ok(()));
    assert_eq!(check_chain(&trust, &chain(&namesake.client("other"), &namesake)), Ok(()), "another key");
    assert_eq!(check(&trust, &root.client("direct")), Ok(()));
}

#[test]
fn a_chain_that_is_too_long_is_refused() {
    let folder = Folder::new();
    let authority = Authority::new("CA");
    folder.put("ca.crt", authority.pem());
    let trust = load(&options(&folder, &["ca.crt"], &[])).unwrap();
    let client = authority.client("a");
    let chain = |more: usize, bytes: usize| {
        let filler = CertificateDer::from(vec![0x30; bytes]);
        [client.chain(), vec![filler; more]].concat()
    };
    assert_eq!(check_chain(&trust, &chain(7, 10)), Ok(()));
    for long in [chain(8, 10), chain(2, 16 * 1024)] {
        let Err(CertificateError::Other(error)) = check_chain(&trust, &long) else { panic!("not refused") };
        let said = error.0.to_string();
        assert!(said.starts_with(&format!("the chain has {} certificates and", long.len())), "{said}");
    }
}

#[test]
fn a_list_that_its_authority_did_not_sign_is_refused() {
    let folder = Folder::new();
    let (authority, forger) = (Authority::new("CA"), Authority::new("CA"));
    folder.put("ca.crt", authority.pem());
    // It claims the key of the trusted one.
    let certificate = &Authority::certificates(&authority.pem())[0];
    let id = x509::Certificate::read(certificate).unwrap().subject_key_id().unwrap().to_vec();
    let forged = forger.list(&[], |list| list.key_identifier_method = KeyIdMethod::PreSpecified(id));
    folder.put("forged.crl", forged.der());
    let said = fault(&options(&folder, &["ca.crt"], &["forged.crl"]));
    assert!(said.contains("a revocation list that `CN=CA`, which it names, has not signed"), "{said}");
}

#[test]
fn what_is_no_list_is_told_apart() {
    let folder = Folder::new();
    let authority = Authority::new("CA");
    folder.put("ca.crt", authority.pem());
    let list = authority.revoke(&[]);
    let der: &[u8] = list.der();
    folder.put("empty.crl", "");
    folder.put("cut.crl", &der[..der.len() - 9]);
    folder.put("cut-pem.crl", &list.pem().unwrap()[..120]);
    folder.put("rubbish.crl", b"\x30\x00");
    for (file, wanted) in [
        ("empty.crl", "empty.crl` holds no revocation list"),
        ("ca.crt", "ca.crt` holds no revocation list"),
        ("cut.crl", "cut.crl` holds a revocation list that cannot be used: it is broken or cut short"),
        ("cut-pem.crl", "cut-pem.crl` is broken or cut short: "),
        ("rubbish.crl", "it is broken or cut short"),
        ("nowhere", "nowhere` cannot be read"),
    ] {
        let said = fault(&options(&folder, &["ca.crt"], &[file]));
        assert!(said.contains(wanted), "{file}: {said}");
    }
}

/// What `openssl ca -gencrl` writes, with and without the extensions that lists need since 2002.
#[test]
fn lists_of_openssl_are_read() {
    let folder = Folder::new();
    folder
        .run("openssl", "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=Old");
    folder.put("index", "");
    folder.put("number", "01");
    let config = "[ca]\ndefault_ca=a\n[a]\ndatabase=index\ndefault_md=sha256\n";
    folder.put("v1.cnf", config);
    folder.put(
        "v2.cnf",
        format!("{config}crlnumber=number\ncrl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid\n"),
    );
    for (config, days) in [("v1", 3), ("v2", 3)] {
        let arguments =
            format!("-config {config}.cnf -keyfile ca.key -cert ca.crt -crldays {days} -out {config}.crl");
        folder.run("openssl", &format!("ca -gencrl {arguments}"));
    }
    assert!(load(&options(&folder, &["ca.crt"], &["v2.crl"])).is_ok());
    let said = fault(&options(&folder, &["ca.crt"], &["v1.crl"]));
    assert!(said.contains("OpenSSL needs `crl_extensions`"), "{said}");
    let arguments = "-config v2.cnf -keyfile ca.key -cert ca.crt -crldays 3 -md sha1 -out sha1.crl";
    folder.run("openssl", &format!("ca -gencrl {arguments}"));
    folder.put("other.crt", Authority::new("Other").pem());
    for ca in ["ca.crt", "other.crt"] {
        let said = fault(&options(&folder, &[ca], &["sha1.crl"]));
        assert!(said.contains("such as SHA-1"), "{said}");
    }
}
