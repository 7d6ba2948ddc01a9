//! One message definition, as Kafka's generator reads it.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A message.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Definition {
    pub(crate) api_key: Option<i16>,
    /// `request`, `response`, `header`, `data`, ...
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) valid_versions: String,
    pub(crate) flexible_versions: Option<String>,
    #[serde(default)]
    pub(crate) fields: Vec<Field>,
    #[serde(default)]
    common_structs: Vec<Structure>,
}

/// A field.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Field {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) versions: String,
    pub(crate) tag: Option<u32>,
    pub(crate) nullable_versions: Option<String>,
    #[serde(default)]
    pub(crate) fields: Vec<Field>,
}

#[derive(Clone, Debug, Deserialize)]
struct Structure {
    name: String,
    fields: Vec<Field>,
}

impl Definition {
    /// Reads JSON with whole-line comments.
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let json: String = lines.flat_map(|line| [line, "\n"]).collect();
        let mut definition: Self = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{e} in {text}"));
        let common = definition.common_structs.iter().map(|s| (s.name.clone(), s.fields.clone())).collect();
        inline(&mut definition.fields, &common);
        definition
    }

    /// The newest valid version; `None` where there is none.
    pub(crate) fn newest(&self) -> Option<i16> {
        let newest = self.valid_versions.rsplit('-').next().unwrap();
        (newest != "none").then(|| newest.parse().unwrap())
    }

    /// The first flexible version; `None` where there is none.
    pub(crate) fn flexible(&self) -> Option<i16> {
        let versions = self.flexible_versions.as_deref().filter(|versions| *versions != "none")?;
        Some(range(versions).0)
    }
}

/// Puts the fields of common structures where they are used.
fn inline(fields: &mut [Field], common: &BTreeMap<String, Vec<Field>>) {
    for field in fields {
        if let Some(of_structure) = common.get(field.element()) {
            field.fields.clone_from(of_structure);
        }
        inline(&mut field.fields, common);
    }
}

impl Field {
    /// The type without the brackets of an array.
    pub(crate) fn element(&self) -> &str {
        self.kind.strip_prefix("[]").unwrap_or(&self.kind)
    }

    pub(crate) fn is_array(&self) -> bool {
        self.kind.starts_with("[]")
    }
}

/// First and last version of `3`, `3-5` or `3+`.
pub(crate) fn range(versions: &str) -> (i16, i16) {
    let number = |text: &str| text.parse::<i16>().unwrap_or_else(|e| panic!("{e} in {versions}"));
    match (versions.strip_suffix('+'), versions.split_once('-')) {
        (Some(first), _) => (number(first), i16::MAX),
        (None, Some((first, last))) => (number(first), number(last)),
        (None, None) => (number(versions), number(versions)),
    }
}
