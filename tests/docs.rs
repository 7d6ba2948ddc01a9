//! The pages say what the program does: every setting and every code, and every file in them is valid.
//! `UPDATE=1 cargo test --test docs` writes the generated page anew.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gatehouse::config::codes;
use gatehouse::config::{Surroundings, load};
use gatehouse::limits::machine::Machine;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Every page that people read.
fn pages() -> Vec<PathBuf> {
    let folders = [root().to_owned(), root().join("docs")];
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let mut pages: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    pages.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.sort();
    pages
}

/// The fenced blocks of a language.
fn blocks<'p>(page: &'p str, language: &str) -> Vec<&'p str> {
    let opening = format!("```{language}\n");
    page.split(&opening).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

/// What a file must have, so that a block that shows one section can be read.
fn whole(block: &str) -> String {
    let has = |name: &str| block.lines().any(|line| line.starts_with(name));
    let mut text = block.to_owned() + "\n";
    if !has("clusters:") {
        text += "clusters:\n  main: { bootstrap: [kafka-0.internal:9092] }\n";
    }
    if !has("listeners:") {
        text += "listeners:\n  external: { bind: 0.0.0.0:9092, advertise: kafka.example.com }\n";
    }
    text
}

fn surroundings() -> Surroundings {
    let variables = ["KAFKA_PASSWORD", "GATEHOUSE_ADMIN_TOKEN"];
    Surroundings {
        environment: variables.map(|name| (name.to_owned(), "x".to_owned())).into(),
        machine: Machine { descriptors: 1 << 20, memory_bytes: 64 << 30 },
        host_name: "gateway-1".to_owned(),
        elsewhere: false,
        certificates: false,
    }
}

#[test]
fn every_file_in_the_pages_is_valid() {
    let mut faults = Vec::new();
    let mut count = 0;
    for path in pages() {
        for block in blocks(&fs::read_to_string(&path).unwrap(), "yaml") {
            count += 1;
            match load(path.file_name().unwrap().to_str().unwrap(), &whole(block), &surroundings()) {
                Ok((_, warnings)) if warnings.is_empty() => {}
                Ok((_, diagnostics)) | Err(diagnostics) => faults.push(diagnostics.to_string()),
            }
        }
    }
    assert!(count >= 5, "only {count} files in the pages");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The names of settings that the example shows, commented out or not.
fn settings() -> BTreeSet<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_gatehouse")).args(["config", "example"]).output().unwrap();
    let example = String::from_utf8(output.stdout).unwrap();
    let mut names = BTreeSet::new();
    for line in example.lines().filter(|line| !line.starts_with('#')) {
        let setting = line.trim_start().trim_start_matches("# ").trim_start_matches("- ");
        for part in setting.split("  # ").next().unwrap().split(['{', ',']) {
            let name = part.trim().split(':').next().unwrap_or_default();
            let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            if is_name && part.contains(':') {
                names.insert(name.to_owned());
            }
        }
    }
    for own in ["main", "external", "internet", "env", "file"] {
        names.remove(own);
    }
    names
}

#[test]
fn every_setting_is_in_the_reference() {
    let reference = page("docs/configuration.md");
    let names = settings();
    assert!(names.len() > 40, "{names:?}");
    let missing: Vec<_> = names.iter().filter(|name| !reference.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "not in docs/configuration.md: {missing:?}");
}

#[test]
fn every_setting_that_is_known_is_in_the_example() {
    // The names that a wrong one is answered with are those that the program knows.
    let wrong = "\
x: 1
node: { x: 1 }
clusters: { main: { x: 1, tls: { x: 1 }, discovery: { x: 1, sasl: { x: 1 }, tls: { x: 1 } } } }
listeners:
  a: { x: 1, routing: { x: 1, port: { x: 1, ranges: [{ x: 1 }] } }, proxy_protocol: { x: 1 }, networks: { x: 1 }, limits: { x: 1 } }
  c: { advertise: { x: 1 } }
  b: { tls: { x: 1, certificates: { x: 1 } }, upstream_identity: { x: 1, tls: { x: 1 } }, routing: { sni: { x: 1 } } }
tls: { x: 1 }
limits: { x: 1 }
admin: { x: 1 }
log: { x: 1 }
shutdown: { x: 1 }
";
    let faults = load("x.yaml", wrong, &surroundings()).unwrap_err();
    let known: BTreeSet<String> = faults
        .iter()
        .filter_map(|fault| fault.help.as_ref()?.strip_prefix("known here: "))
        .flat_map(|names| names.split(", ").map(str::to_owned))
        .collect();
    assert_eq!(faults.iter().filter(|fault| fault.title == "unknown setting `x`").count(), 25);
    let shown = settings();
    assert_eq!(known.difference(&shown).collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(shown.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn the_page_of_codes_is_the_table() {
    let mut text = String::from(
        "# Codes\n\n<!-- Written by `UPDATE=1 cargo test --test docs` from src/config/codes/table.rs. -->\n\n\
         What a code means, and what to do: GH0xx are faults of the configuration file, GH1xx and GH2xx are what \
         `gatehouse check` finds at brokers, in certificates and on the machine. `gatehouse explain CODE` says the same \
         without a network.\n",
    );
    for entry in codes::all() {
        write!(text, "\n## {}: {}\n\n", entry.code, entry.title).unwrap();
        // An example stands apart, as a block.
        let (explanation, example) = match entry.explanation.split_once(":\n\n") {
            Some((explanation, example)) => (format!("{explanation}:"), Some(example)),
            None => (entry.explanation.to_owned(), None),
        };
        writeln!(text, "{explanation}").unwrap();
        if let Some(example) = example {
            write!(text, "\n```yaml\n{example}\n```\n").unwrap();
        }
    }
    let path = root().join("docs/errors.md");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap(), text, "run `UPDATE=1 cargo test --test docs`");
}

#[test]
fn the_index_of_recipes_is_true() {
    let folder = |path: &str, kind: &str| -> Vec<PathBuf> {
        let entries = fs::read_dir(root().join(path)).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.extension().is_some_and(|extension| extension == kind)).collect()
    };
    let text = page("docs/recipes/README.md");
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| ["))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let mut pages = folder("docs/recipes", "md");
    pages.retain(|path| !path.ends_with("README.md"));
    assert_eq!(rows.len(), pages.len(), "one row for each page");
    let scenarios: String =
        folder("tests/kafka/recipes", "rs").iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    for row in rows {
        let file = row[1].split(['(', ')']).nth(1).unwrap();
        assert!(root().join("docs/recipes").join(file).exists(), "{file}");
        let run =
            row[3].split('`').nth(1).is_some_and(|name| scenarios.contains(&format!("name: \"{name}\"")));
        assert!(run || row[3].starts_with("not run: "), "{file}: {}", row[3]);
    }
}
