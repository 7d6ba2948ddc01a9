//! Which parts of a file are secrets, of which no message shows anything.

use super::diagnostic::Place;
use super::yaml::{Node, Value};

/// The places of values that hold a secret, going by their names; a name with a typing error counts.
pub(super) fn of_tree(root: &Node) -> Vec<Place> {
    fn collect(node: &Node, secret: bool, found: &mut Vec<Place>) {
        match &node.value {
            Value::Map(entries) => {
                for (name, value) in entries {
                    collect(value, is_secret(&name.text), found);
                }
            }
            Value::List(items) => items.iter().for_each(|item| collect(item, secret, found)),
            Value::Scalar(_) if secret => found.push(node.place.clone()),
            Value::Null | Value::Scalar(_) | Value::Variable(_) | Value::Unset => {}
        }
    }
    let mut found = Vec::new();
    collect(root, false, &mut found);
    found
}

/// The places of secrets in a text that is no YAML: what follows such a name, to the end of the line, and
/// the lines below it that stand deeper.
pub(super) fn of_text(source: &str) -> Vec<Place> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut below: Option<usize> = None;
    for line in source.split_inclusive('\n') {
        let indentation = line.len() - line.trim_start().len();
        let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        if below.is_some_and(|limit| indentation > limit) {
            found.push(at..at + line.len());
        } else if let Some(word) = words.into_iter().find(|word| is_secret(word)) {
            // `split` hands out parts of `line`, so the word is found where it stands.
            let end = line.find(word).map_or(0, |start| start + word.len());
            found.push(at + end..at + line.len());
            below = Some(indentation);
        } else {
            below = None;
        }
        at += line.len();
    }
    found
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["passw", "passphrase", "secret", "token"].iter().any(|word| name.contains(word))
        || strsim::damerau_levenshtein(&name, "password") <= 2
}
