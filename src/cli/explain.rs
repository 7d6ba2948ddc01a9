//! `explain`: what a code means, offline.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::args::Format;
use super::output::Output;
use super::{Exit, output};
use crate::config::codes::{self, Entry};

pub(super) fn explain(code: Option<&str>, output: Output) -> Exit {
    let Some(code) = code else {
        return match output.format {
            Format::Json => output.json(&codes::all().map(value).collect::<Vec<_>>()),
            Format::Text => output.data(&list()),
        };
    };
    match (codes::find(code), output.format) {
        (Some(entry), Format::Json) => output.json(&value(entry)),
        (Some(entry), Format::Text) => {
            output.data(&format!("{}: {}\n\n{}\n", entry.code, entry.title, entry.explanation))
        }
        (None, _) => {
            output::error(&format!("error: no code `{code}`; `gatehouse explain` lists all"));
            Exit::Usage
        }
    }
}

fn value(entry: &Entry) -> Value {
    json!({
        "code": entry.code.to_string(),
        "title": entry.title,
        "explanation": entry.explanation,
    })
}

fn list() -> String {
    let mut text = String::new();
    for entry in codes::all() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}  {}", entry.code, entry.title);
    }
    text
}
