//! Rules of the house that a machine can keep: the order of the modules, short files with a purpose,
//! tests that wait for conditions. Each exception stands here with its reason.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules, from the lowest line to the highest: one uses only what stands on a lower line.
/// `ARCHITECTURE.md` shows the same.
const LINES: [&[&str]; 11] = [
    &["kafka", "net", "drain", "metrics", "logging"],
    &["limits", "cluster", "registry", "proxy_header"],
    &["patch", "sasl", "tls", "toy"],
    &["connect"],
    &["relay", "topology", "advertised"],
    &["session"],
    &["listen", "admin"],
    &["config"],
    &["app"],
    &["demo", "check"],
    &["cli"],
];

/// Lines before the tests of a file.
const LINES_MAX: usize = 400;

const BANNED_NAMES: [&str; 8] = ["util", "utils", "helper", "helpers", "common", "misc", "ext", "shared"];

/// A file, what it may do against a rule, and why.
struct Exception {
    file: &'static str,
    rule: Rule,
    reason: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Order,
    Length,
    Sleep,
}

const EXCEPTIONS: &[Exception] = &[
    Exception {
        file: "src/relay/tests.rs",
        rule: Rule::Sleep,
        reason: "time is simulated there: a sleep moves the clock and waits for nothing",
    },
    Exception {
        file: "src/topology/tests.rs",
        rule: Rule::Sleep,
        reason: "the function that waits for a condition looks again every 2 ms",
    },
    Exception {
        file: "tests/kafka/poll.rs",
        rule: Rule::Sleep,
        reason: "the function that waits for a condition of a process looks again after a pause",
    },
    Exception {
        file: "tests/it/poll.rs",
        rule: Rule::Sleep,
        reason: "the function that waits for a condition looks again every 10 ms",
    },
    Exception {
        file: "tests/kafka/large.rs",
        rule: Rule::Sleep,
        reason: "a reader that is slow on purpose is what the test is about",
    },
    Exception {
        file: "tests/clients/rust/src/main.rs",
        rule: Rule::Sleep,
        reason: "a client that is told that its queue is full, and that paces what it sends",
    },
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A Rust file: its path from the root, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The text before the tests at its end.
    fn production(&self) -> &str {
        if self.is_test() {
            return "";
        }
        self.text.split("#[cfg(test)]\nmod ").next().unwrap()
    }

    /// The tests.
    fn tests(&self) -> &str {
        self.text.get(self.production().len()..).unwrap()
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || !self.path.starts_with("src/")
    }

    /// A bench runs for a time that it sets itself.
    fn may_sleep(&self) -> bool {
        self.path.starts_with("benches/") || excepted(&self.path, Rule::Sleep)
    }

    /// The modules that it stands in: `["config", "check", "value"]`.
    fn module(&self) -> Vec<&str> {
        let path = self.path.strip_prefix("src/").unwrap().strip_suffix(".rs").unwrap();
        path.strip_suffix("/mod").unwrap_or(path).split('/').collect()
    }
}

fn sources(folder: &str) -> Vec<Source> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for path in entries.map(|entry| entry.unwrap().path()) {
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !["target", "node_modules", "corpus"].contains(&name) {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    collect(&root().join(folder), &mut found);
    found.sort();
    found
        .into_iter()
        .map(|path| Source {
            text: fs::read_to_string(&path).unwrap(),
            path: path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(),
        })
        .collect()
}

fn all_sources() -> Vec<Source> {
    ["src", "tests", "benches", "fuzz"].into_iter().flat_map(sources).collect()
}

/// The code without comments, so that prose may name any module.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap().to_owned() + "\n").collect()
}

/// The top-level modules that a text names after `prefix`, alone or in braces.
fn named_after(text: &str, prefix: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut names = Vec::new();
    for (at, _) in text.match_indices(prefix) {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &text[at + prefix.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            names.push(word(rest));
            continue;
        };
        let (mut depth, mut item) = (0_usize, String::new());
        for c in group.chars() {
            match c {
                '}' if depth == 0 => break,
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => names.push(word(std::mem::take(&mut item).trim_start())),
                _ if depth == 0 => item.push(c),
                _ => {}
            }
        }
        names.push(word(item.trim_start()));
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Every top-level module that a file uses, however it is named.
fn used(source: &Source) -> Vec<String> {
    let depth = source.module().len();
    let mut used = named_after(&code(&source.text), "crate::");
    used.extend(named_after(&code(source.production()), &"super::".repeat(depth)));
    if depth > 0 {
        // A test module stands one deeper.
        used.extend(named_after(&code(source.tests()), &"super::".repeat(depth + 1)));
    }
    used.sort();
    used.dedup();
    used
}

fn excepted(file: &str, rule: Rule) -> bool {
    EXCEPTIONS.iter().any(|exception| exception.file == file && exception.rule == rule)
}

#[test]
fn a_module_uses_only_what_stands_below_it() {
    let line: BTreeMap<&str, usize> = LINES
        .iter()
        .enumerate()
        .flat_map(|(line, names)| names.iter().map(move |name| (*name, line)))
        .collect();
    let mut faults = Vec::new();
    for source in sources("src") {
        let Some(own) = source.module().first().copied().filter(|name| !["lib", "main"].contains(name))
        else {
            continue;
        };
        let Some(own_line) = line.get(own) else {
            faults.push(format!("{}: `{own}` has no line in this test's table", source.path));
            continue;
        };
        for used in used(&source) {
            let fine = used == own || line.get(used.as_str()).is_some_and(|line| line < own_line);
            if !fine && !excepted(&source.path, Rule::Order) {
                faults.push(format!("{}: `{own}` must not use `{used}`", source.path));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_order_is_the_one_of_the_architecture() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut shown: Vec<Vec<&str>> = Vec::new();
    for line in page.lines() {
        let mut cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
        if cells.next().and_then(|number| number.parse::<usize>().ok()).is_some() {
            shown.push(cells.take_while(|cell| !cell.contains(' ')).collect());
        }
    }
    shown.reverse();
    assert_eq!(shown, LINES.map(<[&str]>::to_vec));
    let library = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let mut modules: Vec<&str> = library.lines().filter_map(|line| line.strip_prefix("pub mod ")).collect();
    let mut listed: Vec<String> = LINES.concat().iter().map(|name| format!("{name};")).collect();
    modules.sort_unstable();
    listed.sort_unstable();
    assert_eq!(modules, listed);
}

#[test]
fn a_file_says_what_it_is_for_and_stays_short() {
    let mut faults = Vec::new();
    for source in all_sources() {
        if !source.text.starts_with("//! ") {
            faults.push(format!("{}: does not begin with `//! ` and what it is for", source.path));
        }
        let lines = source.production().lines().count();
        if lines > LINES_MAX && !excepted(&source.path, Rule::Length) {
            faults.push(format!("{}: {lines} lines before the tests, {LINES_MAX} are allowed", source.path));
        }
        let path = Path::new(&source.path);
        let mut names = path.iter().map(|part| part.to_str().unwrap().trim_end_matches(".rs"));
        if let Some(name) = names.find(|name| BANNED_NAMES.contains(name)) {
            faults.push(format!("{}: `{name}` says nothing about what is in it", source.path));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn tests_run_all_and_wait_for_conditions() {
    let mut faults = Vec::new();
    for source in all_sources().iter().filter(|source| source.path != "tests/tidy.rs") {
        let text = code(source.tests());
        for attribute in ["#[ignore", "should_panic"] {
            if text.contains(attribute) {
                faults.push(format!("{}: {attribute}", source.path));
            }
        }
        if text.contains("sleep(") && !source.may_sleep() {
            faults.push(format!("{}: a test sleeps", source.path));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn nothing_is_left_for_later() {
    let marks = ["TO".to_owned() + "DO", "FIX".to_owned() + "ME", "XX".to_owned() + "X"];
    let mut faults = Vec::new();
    for source in all_sources() {
        for (number, line) in source.text.lines().enumerate() {
            let words = line.split(|c: char| !c.is_alphanumeric());
            if words.into_iter().any(|word| marks.iter().any(|mark| mark == word)) {
                faults.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_exception_is_needed_and_has_a_reason() {
    let sources = all_sources();
    for exception in EXCEPTIONS {
        assert!(exception.reason.len() > 20, "{}", exception.file);
        let source = sources.iter().find(|source| source.path == exception.file);
        let source = source.unwrap_or_else(|| panic!("{} is not there", exception.file));
        let needed = match exception.rule {
            Rule::Length => source.production().lines().count() > LINES_MAX,
            Rule::Sleep => code(source.tests()).contains("sleep("),
            Rule::Order => true,
        };
        assert!(needed, "{}: {:?} is no longer needed", exception.file, exception.rule);
    }
}

#[test]
fn modules_are_found_however_they_are_named() {
    let names = |text: &str| named_after(text, "crate::");
    assert_eq!(names("use crate::net::Host;"), ["net"]);
    assert_eq!(names("use crate::{admin, kafka::{api, NodeId}, net};"), ["admin", "kafka", "net"]);
    assert_eq!(names("let x = crate::relay::core::Options {}"), ["relay"]);
    assert!(names("my_crate::net").is_empty());
    assert_eq!(named_after("use super::super::relay;", "super::super::"), ["relay"]);
    assert!(named_after("use super::relay;", "super::super::").is_empty());
}
