//! Replays the seed corpus of every fuzz target, so that plain `cargo test` holds what the fuzzer found.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by them")]

#[path = "../fuzz/checks/mod.rs"]
mod checks;

use std::path::Path;

/// Runs a check on each file of a target's corpus.
fn replay(target: &str, check: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = directory.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in &files {
        println!("{}", file.display());
        check(&std::fs::read(file).unwrap());
    }
    assert!(files.len() >= 10, "the corpus of {target} holds {} files", files.len());
}

#[test]
fn the_scanner_reads_its_corpus() {
    replay("scanner", checks::scanner::check);
}

#[test]
fn request_headers_of_the_corpus_are_read() {
    replay("request_header", checks::request_header::check);
}

#[test]
fn responses_of_the_corpus_are_patched() {
    replay("response_patch", checks::response_patch::check);
}

#[test]
fn connections_of_the_corpus_keep_their_order() {
    replay("connection", checks::connection::check);
}

#[test]
fn proxy_headers_of_the_corpus_are_read() {
    replay("proxy_header", checks::proxy_header::check);
}

#[test]
fn certificates_of_the_corpus_are_read() {
    replay("certificate", checks::certificate::check);
}
