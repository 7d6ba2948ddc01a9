//! What is different between two configurations, setting by setting, and what that does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};

use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::effect::{self, Effect};
use super::{Config, Listener, effective};

/// Stands before what stands in the place of a secret; no text of a file has it.
const VEIL: char = '\u{0}';

/// What a setting belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A listener, by its name.
    Listener(String),
    /// A cluster, by its name.
    Cluster(String),
    /// The process as a whole.
    Process,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener(name) => write!(f, "listener {name}"),
            Self::Cluster(name) => write!(f, "cluster {name}"),
            Self::Process => f.write_str("process"),
        }
    }
}

/// One setting that is different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it belongs to.
    pub subject: Subject,
    /// Its path below that; empty where the subject itself is added or removed.
    pub setting: String,
    /// What it was, as text; `None` where it was not there.
    pub before: Option<String>,
    /// What it is now; `None` where it is there no more.
    pub after: Option<String>,
    /// Whether it is a secret: then no text says what it was or is.
    pub is_secret: bool,
    /// What that does.
    pub effect: Effect,
}

impl Change {
    /// The path of the setting in the file.
    pub fn path(&self) -> String {
        let dot = if self.setting.is_empty() { "" } else { "." };
        match &self.subject {
            Subject::Listener(name) => format!("listeners.{name}{dot}{}", self.setting),
            Subject::Cluster(name) => format!("clusters.{name}{dot}{}", self.setting),
            Subject::Process => self.setting.clone(),
        }
    }

    /// The change without its effect: `limits.max_connections 5000 -> 8000`.
    pub fn what(&self) -> String {
        let Self { setting, before, after, is_secret, .. } = self;
        let space = if setting.is_empty() { "" } else { " " };
        match (before, after) {
            _ if *is_secret => format!("{setting}{space}changed (value hidden)"),
            (Some(before), Some(after)) => format!("{setting}{space}{before} -> {after}"),
            (None, Some(_)) if setting.is_empty() => "added".to_owned(),
            (None, Some(after)) => format!("{setting}{space}not set -> {after}"),
            (Some(_), None) if setting.is_empty() => "removed".to_owned(),
            (Some(before), None) => format!("{setting}{space}{before} -> not set"),
            (None, None) => setting.clone(),
        }
    }
}

/// All that is different, listeners first, then clusters, then the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Each setting.
    pub list: Vec<Change>,
}

impl Changes {
    /// Whether a setting of the subject is different whose path begins so.
    pub fn touch(&self, subject: &Subject, setting: &str) -> bool {
        self.list.iter().any(|change| change.subject == *subject && change.setting.starts_with(setting))
    }

    /// Whether all that is different waits for a restart.
    pub fn wait_for_a_restart(&self) -> bool {
        self.list.iter().all(|change| change.effect == Effect::Restart)
    }
}

/// What a gateway that runs with one configuration has to change for another. A pure function of the two.
pub fn difference(before: &Config, after: &Config) -> Changes {
    // Told apart within this call, and by nothing that could be shown.
    let key = RandomState::new();
    let veil = |secret: &secrecy::SecretString| format!("{VEIL}{}", key.hash_one(secret.expose_secret()));
    let (old, new) = (effective::all(before, &veil), effective::all(after, &veil));
    let mut list = Vec::new();
    let (mut old, mut new) = (old, new);
    let subjects = |old: Value, new: Value| {
        let (old, new) = (entries(old), entries(new));
        let names: BTreeSet<String> = old.keys().chain(new.keys()).cloned().collect();
        names.into_iter().map(move |name| (old.get(&name).cloned(), new.get(&name).cloned(), name))
    };
    for (old, new, name) in subjects(old["listeners"].take(), new["listeners"].take()) {
        let mut changes = Vec::new();
        compare("", old.as_ref(), new.as_ref(), &mut changes);
        let mut ports = Some(ports(&name, before, after)).filter(|ports| *ports != NO_PORTS);
        for change in changes {
            let is_where = ["bind", "ipv6_only", "routing", ""];
            let moves = is_where.contains(&change.setting.split(['.', '[']).next().unwrap_or_default());
            let own = || effect::of_listener(&change.setting);
            let effect = if moves { ports.take().unwrap_or_else(own) } else { own() };
            list.push(change.of(Subject::Listener(name.clone()), effect));
        }
    }
    for (old, new, name) in subjects(old["clusters"].take(), new["clusters"].take()) {
        let mut changes = Vec::new();
        compare("", old.as_ref(), new.as_ref(), &mut changes);
        for change in changes {
            let effect = match (&old, &new) {
                (Some(_), Some(_)) => effect::of_cluster(&change.setting),
                (_, new) => Effect::Follows(new.is_some()),
            };
            list.push(change.of(Subject::Cluster(name.clone()), effect));
        }
    }
    let mut changes = Vec::new();
    compare("", Some(&old), Some(&new), &mut changes);
    for change in changes {
        let effect = effect::of_process(&change.setting);
        list.push(change.of(Subject::Process, effect));
    }
    Changes { list }
}

/// A setting that is different, wherever it belongs.
struct Found {
    setting: String,
    before: Option<Value>,
    after: Option<Value>,
}

impl Found {
    fn of(self, subject: Subject, effect: Effect) -> Change {
        let is_secret = [&self.before, &self.after].into_iter().flatten().any(is_veiled);
        let text = |value: Option<Value>| value.filter(|_| !is_secret).map(|value| text(&value));
        let (before, after) = (text(self.before), text(self.after));
        Change { subject, setting: self.setting, before, after, is_secret, effect }
    }
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Found>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for name in names {
                compare(&below(name), before.get(name), after.get(name), found);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after)))
            if before.iter().chain(after).any(Value::is_object) =>
        {
            for at in 0..before.len().max(after.len()) {
                compare(&format!("{path}[{at}]"), before.get(at), after.get(at), found);
            }
        }
        (before, after) => {
            let (before, after) = (before.cloned(), after.cloned());
            found.push(Found { setting: path.to_owned(), before, after });
        }
    }
}

const NO_PORTS: Effect = Effect::Ports { opened: 0, closed: 0 };

/// The ports that open and close for a listener. One that leads to another node does both.
fn ports(name: &str, before: &Config, after: &Config) -> Effect {
    let of = |config: &Config| {
        let is_it = |listener: &&Listener| listener.listen.name == name;
        let listener = config.listeners.iter().find(is_it);
        listener.map(|l| l.listen.ports().collect::<BTreeMap<_, _>>()).unwrap_or_default()
    };
    let (before, after) = (of(before), of(after));
    let opened = after.keys().filter(|port| !before.contains_key(port)).count();
    let closed = before.iter().filter(|(port, door)| after.get(port) != Some(door)).count();
    Effect::Ports { opened, closed }
}

fn entries(value: Value) -> BTreeMap<String, Value> {
    match value {
        Value::Object(entries) => entries.into_iter().collect(),
        _ => BTreeMap::new(),
    }
}

/// Whether a value is, or holds, a secret.
fn is_veiled(value: &Value) -> bool {
    match value {
        Value::String(text) => text.starts_with(VEIL),
        Value::Array(items) => items.iter().any(is_veiled),
        Value::Object(entries) => entries.values().any(is_veiled),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A value as one line that a person can read, which is YAML too where nothing in it needs quotes.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let entry = |(name, value): (&String, &Value)| format!("{name}: {}", text(value));
            format!("{{ {} }}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests;
