//! Principals of odd certificates: the gateway's connections API against what Java and Kafka's own broker code print.

use std::{fs, process::Command};

use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::{
    Result,
    certificates::{self, Files},
    cluster::{Cluster, bootstrap},
    doors::path,
    gateway::{Gateway, quoted},
    jars,
    lab::{self, DOOR, DOOR_NAME, Lab, Side},
    process::Process,
    secure::{self, Version},
    suite::no_leaks,
    wire::Connection,
};

/// Every subject at a listener for each set of rules, beside the same by Kafka's `DefaultKafkaPrincipalBuilder`.
pub(crate) fn run(lab: &Lab, cluster: &mut Cluster<'_>) -> Result<String> {
    let files = issue(lab, "odd", |strings| strings)?;
    let (utf8, remark) = for_java(lab)?;
    let expected = by_java(lab, cluster, utf8.as_deref().unwrap_or(&files))?;
    let gateway = Gateway::start_with(lab, "gateway-principals", &configuration(lab))?;
    let (mut names, mut refusals, mut faults) = (0, 0, Vec::<String>::new());
    for (rules, number) in RULES.iter().zip(0..) {
        let of_rules = expected.iter().map(|lines| lines[number + 1].as_deref()).collect::<Vec<_>>();
        let seen = by_gateway(lab, &gateway, number, &files)?;
        for (((kind, _, subject), expected), seen) in SUBJECTS.iter().zip(of_rules).zip(&seen) {
            if expected != seen.as_deref() {
                faults.push(format!("{kind} {subject} by {rules}: Kafka {expected:?}, gateway {seen:?}"));
            }
            match expected {
                Some(_) => names += 1,
                None => refusals += 1,
            }
        }
    }
    if !faults.is_empty() {
        return Err(faults.join("\n").into());
    }
    // Rules that change nothing give what Java itself prints.
    if let Some(lines) = expected.iter().find(|lines| lines[0] != lines[1]) {
        return Err(format!("X500Principal prints {:?}, Kafka {:?}", lines[0], lines[1]).into());
    }
    gateway.stop()?;
    no_leaks(lab)?;
    Ok(format!(
        "{} certificates, {} sets of rules: {names} names equal, {refusals} refused by both{remark}",
        files.len(),
        RULES.len()
    ))
}

/// A certificate for each subject, all of one key, signed by the clients' authority, with the strings of `mask`
/// in place of each mask.
fn issue(lab: &Lab, name: &str, mask: impl Fn(&'static str) -> &'static str) -> Result<Vec<Files>> {
    let directory = lab.certificates().path("odd");
    fs::create_dir_all(&directory)?;
    let authority = directory.join("authority.key");
    fs::write(&authority, lab.certificates().clients.key_pem())?;
    let key = lab.certificates().files("alice").key;
    let mut all = Vec::new();
    for ((_, strings, subject), number) in SUBJECTS.iter().zip(0..) {
        let settings = directory.join("settings.cnf");
        fs::write(&settings, SETTINGS.replace("MASK", mask(strings)))?;
        let files = Files { key: key.clone(), ..Files::new(&directory, &format!("{name}-{number}")) };
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-new", "-utf8", "-days", "30", "-subj", subject, "-config"]);
        openssl.arg(settings).arg("-key").arg(&key).arg("-CAkey").arg(&authority).arg("-CA");
        certificates::run(
            openssl.arg(lab.certificates().path("clients-ca.pem")).arg("-out").arg(&files.certificate),
        )?;
        all.push(files);
    }
    Ok(all)
}

/// What Java is shown in place of the same certificates, and why. Before Java 21 it took the bytes of T.61 and BMP strings for UTF-8;
/// the gateway reads them as later ones do, so an older Java gets these names in UTF-8.
fn for_java(lab: &Lab) -> Result<(Option<Vec<Files>>, &'static str)> {
    let major = jars::java_version().split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major >= 21) {
        return Ok((None, ""));
    }
    let utf8 = |strings| if [T61, BMP].contains(&strings) { UTF8 } else { strings };
    Ok((
        Some(issue(lab, "utf8", utf8)?),
        "; this Java is older than 21 and got T.61 and BMP strings in UTF-8",
    ))
}

/// For each certificate: the subject as Java prints it, then the principal by each set of rules.
fn by_java(lab: &Lab, cluster: &Cluster<'_>, files: &[Files]) -> Result<Vec<Vec<Option<String>>>> {
    let mut java = Command::new("java");
    java.arg("-cp")
        .arg(cluster.kafka.class_path())
        .arg(lab::repository().join("tests/kafka/Principals.java"));
    java.args(RULES).arg("--").args(files.iter().map(|files| &files.certificate));
    let mut process = Process::spawn(lab, "principals", java)?;
    let status = process.wait(crate::clients::LIMIT)?;
    let printed = process.printed()?;
    let lines: Vec<&str> = printed.lines().collect();
    if !status.success() || lines.len() != files.len() * (RULES.len() + 1) {
        return Err(process.explain(&format!("the Java program ended with {status}")));
    }
    let name = |line: &&str| match *line {
        "-" => Ok(None),
        text => Ok(Some(String::from_utf8(BASE64_STANDARD.decode(text)?)?)),
    };
    lines.chunks(RULES.len() + 1).map(|lines| lines.iter().map(name).collect()).collect()
}

/// The principal of each certificate at a listener; none where the gateway does not let it in.
fn by_gateway(
    lab: &Lab,
    gateway: &Gateway<'_>,
    rules: usize,
    files: &[Files],
) -> Result<Vec<Option<String>>> {
    let address = format!("{DOOR}:{}", port(rules));
    let connections = lab.inside(Side::Clients, || {
        files
            .iter()
            .zip(Version::ALL.into_iter().cycle())
            .map(|(files, version)| {
                let config = secure::client(lab, version, Some(files))?;
                let opened = Connection::open_tls(&address, DOOR_NAME, &config);
                Ok(opened.and_then(|mut connection| secure::ask(&mut connection).map(|()| connection)).ok())
            })
            .collect::<Result<Vec<_>>>()
    })?;
    let page: serde_json::Value = serde_json::from_str(&gateway.get("/api/v1/connections?limit=1000")?)?;
    let listed = page["connections"].as_array().ok_or("no list of connections")?;
    let principal = |connection: &Option<Connection>| {
        let Some(connection) = connection else { return Ok(None) };
        let client = connection.local_address()?.to_string();
        let entry = listed.iter().find(|entry| entry["client"] == client.as_str());
        let name = entry.and_then(|entry| entry["principal"].as_str());
        Ok(Some(name.ok_or_else(|| format!("{client} is not listed with a principal: {page}"))?.to_owned()))
    };
    connections.iter().map(principal).collect()
}

fn configuration(lab: &Lab) -> String {
    let certificates = lab.certificates();
    let (door, authority) = (certificates.files("door"), certificates.path("clients-ca.pem"));
    let listener = |(rules, number): (&&str, usize)| {
        format!(
            "  rules-{number}:\n    bind: {DOOR}:{}\n    advertise: {DOOR_NAME}\n    tls:\n      \
             certificates: [ {{ cert: {}, key: {} }} ]\n      client_auth: required\n      client_ca: {}\n      \
             principal_mapping_rules: '{}'\n",
            port(number),
            path(&door.certificate),
            path(&door.key),
            path(&authority),
            rules.replace('\'', "''")
        )
    };
    format!(
        "clusters:\n  main: {{ bootstrap: [{}] }}\nlisteners:\n{}",
        quoted(&bootstrap()),
        RULES.iter().zip(0..).map(listener).collect::<String>()
    )
}

/// Each listener also serves the nodes from its port + 1 on.
fn port(rules: usize) -> u16 {
    20_000 + 1_000 * u16::try_from(rules).unwrap_or_default()
}

/// Sets of rules; the first one changes nothing.
const RULES: [&str; 5] = [
    "DEFAULT",
    "RULE:^CN=([^,]+),OU=([^,]+),.*$/$1@$2/L,DEFAULT",
    "RULE:^.*CN=([^,+]*).*$/$1/U",
    "RULE:^(?i)uid=(\\w+),.*$/u-$1/,RULE:.*/x$0/,DEFAULT",
    "RULE:^CN=(.*?),O=(.*?)(,.*)?$/$2\\/$1 $12 $9/",
];

/// What it is about, the string type (of those that OpenSSL may choose), and the subject.
const SUBJECTS: [(&str, &str, &str); 24] = [
    ("plain", UTF8, "/C=DE/O=Gatehouse/OU=Clients/CN=plain"),
    ("all keywords", UTF8, GOLDEN),
    ("several values at once", UTF8, "/C=US/O=Acme/OU=Ops+UID=7/CN=svc"),
    ("several values, out of order", UTF8, "/O=Acme/CN=svc+OU=Ops+DC=x"),
    ("spaces at both ends", UTF8, "/O=x/CN= lead and trail "),
    ("spaces alone", UTF8, "/O=x/CN=   "),
    ("spaces within", UTF8, "/O=x/CN=a  b   c"),
    ("a number sign alone", UTF8, "/O=x/CN=#"),
    ("a number sign first", UTF8, "/O=x/CN=#0403"),
    ("marks to escape", UTF8, "/O=x/CN=a\"b\\\\c,d;e<f>g=h\\+i"),
    (
        "letters of the world",
        UTF8,
        "/O=Gr\u{fc}n & S\u{f6}hne/CN=Zo\u{eb} \u{1f41f} \u{6f22}\u{5b57} \u{440}\u{44b}\u{431}\u{430}",
    ),
    ("letters and signs beyond ASCII", UTF8, "/O=x/CN=\u{2116} 5 \u{20ac} a\u{308} \u{df}"),
    ("printable string", "MASK:0x2", "/C=DE/O=Print/CN=printable"),
    ("T.61 string", T61, "/O=Teletex/CN=Zo\u{eb}"),
    ("BMP string", BMP, "/O=Basic plane/CN=Zo\u{eb} \u{6f22}"),
    ("mail and domain", UTF8, "/DC=example/DC=kafka/CN=svc/emailAddress=a@b.c"),
    ("an unknown attribute", UTF8, "/O=x/1.2.3.4.5=weird \u{eb}/CN=x"),
    ("less known attributes", UTF8, LESS_KNOWN),
    ("one attribute twice", UTF8, "/O=x/CN=first/CN=second"),
    ("many parts", UTF8, MANY),
    ("a long value", UTF8, LONG),
    ("capitals", UTF8, "/C=de/O=ACME/OU=Team One/CN=Svc-PAY.Example.COM"),
    ("no common name", UTF8, "/O=Gatehouse/OU=Clients"),
    ("user id first", UTF8, "/C=DE/O=x/CN=y/UID=u42"),
];

const UTF8: &str = "utf8only";
const T61: &str = "MASK:0x4";
const BMP: &str = "MASK:0x800";

const GOLDEN: &str = "/C=DE/ST=Bayern/L=M\u{fc}nchen/O=Ex, ample Inc <x>;\\+\\\\/OU=Team A/OU= lead/street=Main 1/DC=example/UID=u42\
    /serialNumber=77/emailAddress=a@b.c/title=Dr/SN=Sur/GN=Giv/CN=#svc=pay";
const LESS_KNOWN: &str = "/businessCategory=Private Organization/postalCode=80331/dnQualifier=q/pseudonym=P\
    /initials=I/generationQualifier=III/x500UniqueIdentifier=42/organizationIdentifier=VATDE-1/unstructuredName=u/CN=known";
const MANY: &str = "/OU=1/OU=2/OU=3/OU=4/OU=5/OU=6/OU=7/OU=8/OU=9/OU=10/OU=11/OU=12/OU=13/OU=14/OU=15/OU=16/OU=17/OU=18\
    /OU=19/OU=20/OU=21/OU=22/OU=23/OU=24/OU=25/OU=26/OU=27/OU=28/OU=29/OU=30/CN=many";
const LONG: &str = "/O=0123456789012345678901234567890123456789012345678901234567890123\
    /CN=0123456789012345678901234567890123456789012345678901234567890123";

const SETTINGS: &str = "[req]
distinguished_name = none
x509_extensions = client
string_mask = MASK
prompt = no
[none]
[client]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = clientAuth
";
