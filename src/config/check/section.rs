//! One map of the file: known names only, each asked for by name.

use super::tls::passthrough;
use super::{Check, Checked, Reported};
use crate::config::codes::Code;
use crate::config::diagnostic::{Diagnostic, Place};
use crate::config::yaml::{Name, Node, Value};

/// A map whose names are all known.
#[derive(Clone, Copy)]
pub(super) struct Section<'n> {
    entries: &'n [(Name, Node)],
    /// Where its own name stands: faults about what is missing point there.
    pub(super) name: &'n Place,
}

impl<'n> Section<'n> {
    /// The value of a setting.
    pub(super) fn get(&self, name: &str) -> Option<&'n Node> {
        self.entry(name).map(|(_, value)| value)
    }

    /// The name of a setting, for its place, and its value.
    pub(super) fn entry(&self, name: &str) -> Option<(&'n Name, &'n Node)> {
        self.entries.iter().find(|(known, _)| known.text == name).map(|(name, value)| (name, value))
    }
}

/// Settings that other versions have or will have, and what to say about them.
const NOT_OFFERED: &[(&str, &str)] = &[
    ("auth", "logins pass through to the brokers; this version does not check them itself"),
    ("new_connections_per_second", "this version limits connections by number; see `max_connections_per_ip`"),
];

/// What a setting is called elsewhere that would let TLS pass unseen.
const PASSTHROUGHS: &[&str] = &["passthrough", "tls_passthrough", "ssl_passthrough", "sni_passthrough"];

impl Check<'_> {
    /// The map at `node`; `what` names it in messages. Unknown names are reported.
    pub(super) fn section<'n>(
        &mut self,
        node: &'n Node,
        name: &'n Place,
        what: &str,
        known: &[&str],
    ) -> Checked<Section<'n>> {
        let entries = self.map(node, what)?;
        for (name, _) in entries {
            if !known.contains(&name.text.as_str()) {
                self.unknown(name, known);
            }
        }
        Ok(Section { entries, name })
    }

    /// The entries of a map with names of the user's own choice.
    pub(super) fn map<'n>(&mut self, node: &'n Node, what: &str) -> Checked<&'n [(Name, Node)]> {
        match &node.value {
            Value::Map(entries) => Ok(entries),
            Value::Unset => Err(Reported),
            // A section of which every line is commented out.
            Value::Null => Ok(&[]),
            Value::Scalar(_) | Value::Variable(_) | Value::List(_) => {
                let title = format!("{what} must be a map");
                let fault = Diagnostic::error(Code::WrongKind, title, &self.visible(&node.place));
                self.report(fault.label("`name: value` lines belong here"))
            }
        }
    }

    /// A map that must have an entry.
    pub(super) fn filled_map<'n>(&mut self, node: &'n Node, what: &str) -> Checked<&'n [(Name, Node)]> {
        let entries = self.map(node, what)?;
        if entries.is_empty() {
            return self.report(Diagnostic::error(Code::Empty, format!("{what} is empty"), &node.place));
        }
        Ok(entries)
    }

    /// The items of a list that must have one; a single value is a list of one.
    pub(super) fn list<'n>(&mut self, node: &'n Node, what: &str) -> Checked<Vec<&'n Node>> {
        match &node.value {
            Value::List(items) if items.is_empty() => {
                let fault = Diagnostic::error(Code::Empty, format!("{what} is empty"), &node.place);
                self.report(fault.label("nothing in it").help("leave the setting out, or fill the list"))
            }
            Value::List(items) => Ok(items.iter().collect()),
            Value::Scalar(_) | Value::Variable(_) => Ok(vec![node]),
            Value::Unset => Err(Reported),
            Value::Null => self.text(node).map(|_| Vec::new()),
            Value::Map(_) => {
                let title = format!("{what} must be a list");
                let fault = Diagnostic::error(Code::WrongKind, title, &self.visible(&node.place));
                self.report(fault.label("`[a, b]` or `- a` lines belong here"))
            }
        }
    }

    /// A setting without which the section makes no sense.
    pub(super) fn required<'n>(
        &mut self,
        section: &Section<'n>,
        what: &str,
        name: &str,
    ) -> Checked<&'n Node> {
        section.get(name).map_or_else(
            || {
                let title = format!("{what} has no `{name}`");
                let fault = Diagnostic::error(Code::MissingSetting, title, section.name);
                self.report(fault.label(format!("`{name}` is missing here")))
            },
            Ok,
        )
    }

    fn unknown(&mut self, name: &Name, known: &[&str]) {
        let shown: String = name.text.chars().take(64).collect();
        if let Some((_, help)) = NOT_OFFERED.iter().find(|(other, _)| *other == name.text) {
            let title = format!("this version does not offer `{shown}`");
            self.note(Diagnostic::error(Code::NotOffered, title, &name.place).help(*help));
            return;
        }
        if PASSTHROUGHS.contains(&name.text.as_str()) {
            self.note(passthrough(&name.place));
            return;
        }
        let title = format!("unknown setting `{shown}`");
        let fault = Diagnostic::error(Code::UnknownSetting, title, &name.place)
            .label("not known here")
            .help(format!("known here: {}", known.join(", ")));
        self.note(match closest(&name.text, known) {
            Some(meant) => fault.fix(&name.place, meant, format!("did you mean `{meant}`?")),
            None => fault,
        });
    }

    /// The first line of a place, so that a fault about a long block is shown by its beginning.
    pub(super) fn visible(&self, place: &Place) -> Place {
        let text = self.source.get(place.clone()).unwrap_or_default();
        place.start..place.start + text.find('\n').unwrap_or(text.len())
    }
}

/// The word that was probably meant.
pub(super) fn closest<'k>(text: &str, known: &[&'k str]) -> Option<&'k str> {
    let allowed = (text.len() / 3).clamp(1, 3);
    let near = known.iter().map(|word| (strsim::damerau_levenshtein(text, word), *word));
    near.filter(|(distance, _)| *distance <= allowed).min().map(|(_, word)| word)
}
