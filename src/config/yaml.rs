//! YAML text to a tree in which every value knows its place; variables of the environment filled in.
//!
//! The reader never sees the value of a variable: it is given a stand-in for each, which is replaced here.
//! So no value can reach one of its messages, and a value is never taken for another YAML type. A tree
//! instead of types of its own for each section lets all faults of a file be reported at once.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{AliasLimits, MergeKeyPolicy};
use serde_saphyr::{Error, Location, Options, Spanned};

use super::Surroundings;
use super::codes::Code;
use super::diagnostic::{Diagnostic, Place};

/// The variables that `${NAME}` may name.
pub type Environment = HashMap<String, String>;

/// Deeper nesting than any setting needs, and shallow enough for any stack.
const DEPTH_MAX: usize = 24;
/// Values in one file.
const NODES_MAX: usize = 100_000;
/// Unset variables of one file, after which it is not read on.
const UNSET_MAX: usize = 50;

/// Stands before and after the name of a variable in what the reader sees. Private use: no text of
/// anybody's has it.
const STAND_IN: char = '\u{e000}';
/// What the reader sees for a variable that is not there.
const UNSET: &str = "\u{e001}";

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// A name in a map and where it stands.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) text: String,
    pub(super) place: Place,
}

impl Node {
    /// The entries of a map; none for other values.
    pub(super) fn entries(&self) -> &[(Name, Node)] {
        match &self.value {
            Value::Map(entries) => entries,
            Value::Null | Value::Scalar(_) | Value::Variable(_) | Value::Unset | Value::List(_) => &[],
        }
    }
}

/// What a value is.
pub(super) enum Value {
    /// Nothing, `null` or `~`.
    Null,
    /// Text, a number or a truth value, as it was written.
    Scalar(String),
    /// The same, but a part of it came from the environment: it is never printed.
    Variable(String),
    /// It needed a variable that is not set, which is reported already.
    Unset,
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the file; no name comes twice.
    Map(Vec<(Name, Node)>),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Scalar(_) => f.write_str("Scalar(..)"),
            Self::Variable(_) => f.write_str("Variable(..)"),
            Self::Unset => f.write_str("Unset"),
            Self::List(nodes) => nodes.fmt(f),
            Self::Map(entries) => entries.fmt(f),
        }
    }
}

/// What a text was read as.
pub(super) struct Read {
    /// Nothing where it is no YAML.
    pub(super) tree: Option<Node>,
    pub(super) faults: Vec<Diagnostic>,
    /// The variables that it needs and that are not set.
    pub(super) unset: Vec<String>,
}

/// Reads one YAML document.
///
/// Unset variables are all reported, and the tree is complete but for them. Where the text is no YAML,
/// there is one fault and no tree.
pub(super) fn read(source: &str, surroundings: &Surroundings) -> Read {
    let environment = &surroundings.environment;
    let mut unset: Vec<String> = Vec::new();
    let mut faults = Vec::new();
    let mut stand_ins: HashMap<String, String> = environment
        .iter()
        .map(|(name, value)| (name.clone(), if value.is_empty() { String::new() } else { stand_in(name) }))
        .collect();
    loop {
        let options = options().with_properties(stand_ins.clone());
        match serde_saphyr::from_str_with_options::<Spanned<Raw>>(source, options) {
            Ok(raw) => {
                let tree = Some(Tree { source, environment }.node(raw));
                return Read { tree, faults, unset };
            }
            Err(error) => {
                let (fault, name) = fault(source, error.without_snippet());
                let is_last = name.is_none() || unset.len() + 1 == UNSET_MAX;
                if is_last || !surroundings.elsewhere {
                    faults.push(fault);
                }
                let Some(name) = name.filter(|_| !is_last) else {
                    return Read { tree: None, faults, unset };
                };
                unset.push(name.clone());
                stand_ins.insert(name, UNSET.to_owned());
            }
        }
    }
}

fn stand_in(name: &str) -> String {
    format!("{STAND_IN}{name}{STAND_IN}")
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            max_nodes: NODES_MAX,
            max_events: NODES_MAX * 3,
        },
        alias_limits: AliasLimits::default(),
        merge_keys: MergeKeyPolicy::Merge,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
    }
}

/// A node as the reader tells it.
enum Raw {
    Null,
    Text(String),
    /// A number or a truth value: its text is in the source.
    Typed(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

struct Tree<'a> {
    source: &'a str,
    environment: &'a Environment,
}

impl Tree<'_> {
    fn node(&self, raw: Spanned<Raw>) -> Node {
        let written = self.source.get(place(self.source, &raw.defined)).unwrap_or_default();
        let value = match raw.value {
            Raw::Null => Value::Null,
            Raw::Text(text) => self.text(text),
            Raw::Typed(text) if written.contains("${") => Value::Scalar(text),
            Raw::Typed(_) => Value::Scalar(written.trim().to_owned()),
            Raw::List(items) => Value::List(items.into_iter().map(|item| self.node(item)).collect()),
            Raw::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(name, value)| {
                        let place = place(self.source, &name.referenced);
                        (Name { text: name.value, place }, self.node(value))
                    })
                    .collect(),
            ),
        };
        Node { value, place: place(self.source, &raw.referenced) }
    }

    /// Puts the values in the place of their stand-ins.
    fn text(&self, text: String) -> Value {
        if text.contains(UNSET) {
            return Value::Unset;
        }
        if !text.contains(STAND_IN) {
            return Value::Scalar(text);
        }
        // Names of variables and text take turns: what stands between two marks is a name.
        let parts = text.split(STAND_IN).enumerate().map(|(at, part)| match self.environment.get(part) {
            Some(value) if at % 2 == 1 => value.as_str(),
            _ => part,
        });
        Value::Variable(parts.collect())
    }
}

/// The bytes of a location; empty, but inside the source, where the reader does not know them.
fn place(source: &str, location: &Location) -> Place {
    let span = location.span();
    let bytes = span.byte_offset().zip(span.byte_len()).and_then(|(start, length)| {
        let start = usize::try_from(start).ok()?;
        let place = start..start.checked_add(usize::try_from(length).ok()?)?;
        source.get(place.clone()).map(|_| place)
    });
    bytes.unwrap_or_else(|| {
        let at = offset(source, location.line(), location.column());
        at..at
    })
}

/// The byte of a line and a column, both counted from 1; the end of the text where there is no such line.
fn offset(source: &str, line: u64, column: u64) -> usize {
    let end = source.trim_end().len();
    let Some(above) = usize::try_from(line).ok().and_then(|line| line.checked_sub(1)) else { return end };
    let mut lines = source.split_inclusive('\n');
    let start: usize = lines.by_ref().take(above).map(str::len).sum();
    let Some(text) = lines.next() else { return end };
    let column = usize::try_from(column).unwrap_or(usize::MAX).saturating_sub(1);
    let visible = text.trim_end();
    start + visible.char_indices().nth(column).map_or(visible.len(), |(at, _)| at)
}

/// What the reader says about a text that it cannot read, and the variable that it misses.
fn fault(source: &str, error: &Error) -> (Diagnostic, Option<String>) {
    let place = error.location().map_or(0..0, |location| place(source, &location));
    let plain = |code, title: &str| (Diagnostic::error(code, title, &place), None);
    let unread = |why: &str| {
        let fault = Diagnostic::error(Code::Syntax, format!("not YAML: {why}"), &place);
        (hint(source).into_iter().fold(fault, Diagnostic::help), None)
    };
    let unset = |name: &str, message: &str, what: &str| {
        let title = format!("environment variable `{name}` is {what}");
        let diagnostic = Diagnostic::error(Code::UnsetVariable, title, &place).label("needed here");
        let help = if message.is_empty() {
            format!("set it, or write a default: `${{{name}:-value}}`")
        } else {
            message.to_owned()
        };
        (diagnostic.help(help), Some(name.to_owned()))
    };
    match error {
        Error::UnresolvedProperty { name, .. } => unset(name, "", "not set"),
        Error::PropertyRequiredButUnset { name, message, .. } => unset(name, message, "not set"),
        Error::PropertyRequiredButEmpty { name, message, .. } => unset(name, message, "empty"),
        Error::InvalidPropertyName { .. } => {
            let (diagnostic, none) = plain(Code::UnsetVariable, "`${…}` is not a variable");
            let help = "write `${NAME}` or `${NAME:-default}`; for the text itself write `$${…}`. Inside `{ }` \
                        and `[ ]` a variable must not stand: give the setting a line of its own";
            (diagnostic.help(help), none)
        }
        Error::DuplicateMappingKey { key, .. } => {
            let name = key.as_deref().unwrap_or("the name");
            plain(Code::Syntax, &format!("`{name}` stands twice in one map"))
        }
        Error::MultipleDocuments { .. } => plain(Code::Syntax, "more than one YAML document in the file"),
        Error::ExternalMessage { msg, .. } | Error::Message { msg, .. } => unread(msg),
        other => {
            let text = other.to_string();
            let text = text.split(" at line ").next().unwrap_or(&text);
            unread(text)
        }
    }
}

/// What is often meant by a text that is no YAML.
fn hint(source: &str) -> Option<&'static str> {
    source.lines().find_map(|line| {
        let line = line.split(" #").next().unwrap_or(line);
        let before = |what: &str| line.find(what).and_then(|at| line.get(..at));
        if before("[::").is_some_and(|before| !before.ends_with(['"', '\''])) {
            return Some("YAML reads brackets as a list: put an IPv6 address in quotes, `\"[::]:9092\"`");
        }
        before("${").is_some_and(|before| before.contains(['{', '['])).then_some(
            "inside `{ }` and `[ ]` YAML takes the brace of `${…}`: give the setting a line of its own",
        )
    })
}

/// The setting that stands at a place, such as `listeners.office.bind`; also of a part of its value.
pub(super) fn path_of(root: &Node, place: &Place) -> String {
    fn is_at(node: &Node, place: &Place) -> bool {
        let holds = node.place.start <= place.start && place.end <= node.place.end;
        node.place == *place || (holds && matches!(node.value, Value::Scalar(_)))
    }
    fn find(node: &Node, place: &Place, path: &str) -> Option<String> {
        match &node.value {
            Value::Map(entries) => entries.iter().find_map(|(name, value)| {
                let path = if path.is_empty() { name.text.clone() } else { format!("{path}.{}", name.text) };
                if name.place == *place { Some(path) } else { find(value, place, &path) }
            }),
            Value::List(items) => {
                items.iter().enumerate().find_map(|(at, item)| find(item, place, &format!("{path}[{at}]")))
            }
            Value::Null | Value::Scalar(_) | Value::Variable(_) | Value::Unset => None,
        }
        .or_else(|| (is_at(node, place) && !path.is_empty()).then(|| path.to_owned()))
    }
    find(root, place, "").unwrap_or_default()
}
