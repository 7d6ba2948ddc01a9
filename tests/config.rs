//! Configuration files and what is said about each. `UPDATE=1 cargo test --test config` writes the
//! expected texts anew; read the difference before you commit it.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

#[path = "config/fixtures.rs"]
mod fixtures;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gatehouse::config::codes::TABLE;
use gatehouse::config::diagnostic::Diagnostics;
use gatehouse::config::{Config, Surroundings, load};
use gatehouse::limits::machine::Machine;
use proptest::prelude::*;
use serde_json::Value;

const VARIABLES: [(&str, &str); 4] =
    [("KAFKA_PASSWORD", "hunter2"), ("ADMIN_TOKEN", "hunter2"), ("SECRET", "hunter2"), ("EMPTY", "")];

fn surroundings() -> Surroundings {
    fixtures::enter();
    Surroundings {
        environment: VARIABLES.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        machine: Machine { descriptors: 1 << 20, memory_bytes: 64 << 30 },
        host_name: "gateway-1".to_owned(),
        elsewhere: false,
        certificates: true,
    }
}

fn check(path: &Path) -> Result<(Config, Diagnostics), Diagnostics> {
    let name = path.file_name().unwrap().to_str().unwrap();
    load(name, &fs::read_to_string(path).unwrap(), &surroundings())
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(folder);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(files.len() > 3);
    files
}

/// Compares with the file beside, or writes it.
fn compare(path: &Path, extension: &str, found: &str) -> Result<(), String> {
    let path = path.with_extension(extension);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, found).unwrap();
    }
    match fs::read_to_string(&path) {
        Ok(expected) if expected == found => Ok(()),
        Ok(expected) => Err(format!("{}\n--- expected\n{expected}\n--- found\n{found}", path.display())),
        Err(error) => Err(format!("{}: {error}\n{found}", path.display())),
    }
}

#[test]
fn valid_files_mean_what_stands_beside_them() {
    for path in files("valid") {
        let (_, warnings) = check(&path).unwrap_or_else(|faults| panic!("{faults}"));
        assert!(warnings.is_empty(), "{warnings}");
        let output = Command::new(env!("CARGO_BIN_EXE_gatehouse"))
            .args(["config", "show", "--config", path.to_str().unwrap()])
            .envs(VARIABLES)
            .env("HOSTNAME", "gateway-1")
            .output()
            .unwrap();
        let mut shown: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        // These depend on the machine where the file does not set them.
        shown["limits"]["max_connections"].take();
        shown["limits"]["held_bytes"].take();
        shown["limits"]["max_handshakes"].take();
        shown["node"].take();
        let text = serde_json::to_string_pretty(&shown).unwrap() + "\n";
        assert!(!text.contains("hunter2"), "{text}");
        compare(&path, "json", &text).unwrap_or_else(|difference| panic!("{difference}"));
    }
}

#[test]
fn invalid_files_are_explained_as_stands_beside_them() {
    let differences: Vec<String> = files("invalid")
        .iter()
        .filter_map(|path| {
            let Err(faults) = check(path) else { return Some(format!("{} is valid", path.display())) };
            let text = faults.to_string();
            assert!(!text.contains("hunter2") && !text.contains('\u{e000}'), "{text}");
            assert!(!faults.json().to_string().contains("hunter2"), "{text}");
            compare(path, "txt", &text).err()
        })
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn every_code_is_shown_by_a_file() {
    let shown: BTreeSet<String> = files("invalid")
        .iter()
        .filter_map(|path| check(path).err())
        .flat_map(|faults| faults.iter().map(|fault| fault.code.to_string()).collect::<Vec<_>>())
        .collect();
    let all: BTreeSet<String> = TABLE.iter().map(|entry| entry.code.to_string()).collect();
    assert_eq!(all.difference(&shown).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn a_fault_inside_a_value_is_one_of_its_setting() {
    let faults =
        load("a.yaml", include_str!("config/invalid/mapping-rules.yaml"), &surroundings()).unwrap_err();
    assert_eq!(faults.json()[0]["path"], "listeners.pattern.tls.principal_mapping_rules");
    assert_eq!(faults.json()[0]["column"], 46);
}

#[test]
fn elsewhere_only_the_text_counts() {
    let elsewhere = Surroundings {
        environment: [].into(),
        machine: Machine { descriptors: 16, memory_bytes: 1 << 20 },
        elsewhere: true,
        ..surroundings()
    };
    let text = include_str!("config/valid/two-clusters.yaml")
        .replace("{ env: ADMIN_TOKEN }", "{ file: /nonexistent }");
    let (Ok((_, found)) | Err(found)) = load("a.yaml", &text, &elsewhere);
    assert!(found.is_empty(), "{found}");
    let (Ok((_, found)) | Err(found)) = load("a.yaml", &text.replace("bind:", "bnid:"), &elsewhere);
    assert!(found.is_fatal());
}

/// What a file is made of, in any order.
fn pieces() -> impl Strategy<Value = String> {
    let names = "clusters: listeners: main: bootstrap: bind: advertise: nodes: routing: port: ranges: limits: \
                 held_bytes: password: discovery: sasl: admin: version: \
                 tls: certificates: cert: key: pkcs12: client_auth: client_ca: sni: brokers: principal_mapping_rules: \
                 upstream_identity: verify:";
    let values = "0-99 2147483647 -1 65535 0.0.0.0:9092 \"[::]:9092\" kafka.example.com 30s 25% null ~ 9e999 0x10 \
                  tls.crt tls.key ca.pem authorities / b{node}.kafka.example.com required insecure-none RULE:(.*)/$1/L DEFAULT \
                  ${SECRET} ${UNSET} ${UNSET:-1} ${ $${X} &a *a <<: !!int --- ... \u{e000} \u{feff} \u{1f600} \0";
    let marks = ["- ", "{", "}", "[", "]", ",", "\n", "\n  ", "\n    ", " ", "\t", "|\n", "'", "\"", "#"];
    let words = names.split(' ').chain(values.split(' ')).chain(marks).collect::<Vec<_>>();
    prop::collection::vec(prop::sample::select(words), 0..60).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_text_of_settings_makes_it_panic(text in pieces()) {
        explained(&text);
    }

    #[test]
    fn no_text_at_all_makes_it_panic(text in "\\PC{0,200}") {
        explained(&text);
    }

    #[test]
    fn no_damaged_file_makes_it_panic(
        tls in any::<bool>(),
        at in any::<prop::sample::Index>(),
        with in ".{0,3}",
        cut in 0..4_usize,
    ) {
        let text = if tls {
            include_str!("config/valid/tls.yaml")
        } else {
            include_str!("config/valid/two-clusters.yaml")
        };
        // To open a sealed key takes long, hundreds of times.
        let mut text: Vec<char> = text.replace("sealed.key", "other.key").chars().collect();
        let at = at.index(text.len());
        text.splice(at..(at + cut).min(text.len()), with.chars());
        explained(&text.into_iter().collect::<String>());
    }
}

/// Loads it and renders what is said about it, in every form.
fn explained(text: &str) {
    let diagnostics = match load("any.yaml", text, &surroundings()) {
        Ok((_, warnings)) => warnings,
        Err(faults) => {
            assert!(faults.is_fatal());
            faults
        }
    };
    let rendered = diagnostics.to_string();
    assert!(!rendered.contains("hunter2"), "{rendered}");
    assert_eq!(diagnostics.is_empty(), rendered.is_empty());
    assert_eq!(diagnostics.github().lines().count(), diagnostics.iter().count());
    for fault in diagnostics.json().as_array().unwrap() {
        assert!(fault["line"].as_u64() >= Some(1) && fault["column"].as_u64() >= Some(1));
    }
}

#[test]
fn the_address_of_a_service_takes_a_build_that_can_ask_for_it() {
    let text = |advertise: &str| {
        format!(
            "clusters: {{ main: {{ bootstrap: [kafka-0.internal:9092] }} }}
listeners: {{ external: {{ bind: \"0.0.0.0:9092\", advertise: {advertise} }} }}
"
        )
    };
    let elsewhere = Surroundings { elsewhere: true, ..surroundings() };
    for (advertise, port, namespace) in
        [("{ service: gw }", 9092, None), ("{ service: gw, namespace: prod, port: 443 }", 443, Some("prod"))]
    {
        let (config, warnings) = load("x.yaml", &text(advertise), &elsewhere).unwrap();
        assert!(warnings.is_empty(), "{warnings}");
        let listener = &config.listeners[0];
        let service = listener.advertised.as_ref().unwrap();
        assert_eq!((&*service.name, service.namespace.as_deref()), ("gw", namespace));
        assert_eq!(listener.listen.routes.bootstrap(), None);
        assert_eq!(listener.listen.routes.told("lb").bootstrap(), Some(("lb", port)));
        // Where it runs, the feature is needed.
        let here = load("x.yaml", &text(advertise), &surroundings());
        assert_eq!(here.is_ok(), gatehouse::advertised::IS_BUILT_IN);
        if let Err(faults) = here {
            assert!(
                faults.to_string().contains("this build of the gateway cannot ask Kubernetes"),
                "{faults}"
            );
        }
    }
    for wrong in
        ["{ service: Gw }", "{ service: a.b }", "{ service: -a }", "{ service: a, namespace: \"\" }", "{}"]
    {
        assert!(load("x.yaml", &text(wrong), &elsewhere).is_err(), "{wrong}");
    }
}
