//! Every field whose name says that it carries an address has a row that says what becomes of it.

use gatehouse::kafka::api::{self, Api, Direction, Request};

use crate::definition::{Definition, Field};
use crate::jar::DEFINITIONS;

const WORDS: [&str; 9] =
    ["Host", "Port", "Endpoint", "Endpoints", "Listener", "Listeners", "Address", "Addresses", "Url"];

/// Splits a name in camel case.
fn words(name: &str) -> Vec<&str> {
    let starts: Vec<_> = name.match_indices(char::is_uppercase).map(|(at, _)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([name.len()]);
    starts.iter().zip(ends).map(|(start, end)| &name[*start..end]).collect()
}

/// Whether a field may carry an address: its name says so, and it is no number other than a port.
fn looks_like_an_address(field: &Field) -> bool {
    let words = words(&field.name);
    let is_number = ["int8", "int16", "int32", "int64", "bool", "uint16"].contains(&field.element());
    words.iter().any(|word| WORDS.contains(word)) && (!is_number || words.contains(&"Port"))
}

/// Paths of the fields that look like addresses, and whether they are structures.
fn suspects(fields: &[Field], path: &str, out: &mut Vec<(String, bool)>) {
    for field in fields {
        let path = if path.is_empty() { field.name.clone() } else { format!("{path}.{}", field.name) };
        if looks_like_an_address(field) {
            out.push((path.clone(), !field.fields.is_empty()));
        }
        suspects(&field.fields, &path, out);
    }
}

fn direction(definition: &Definition) -> Option<Direction> {
    match definition.kind.as_str() {
        "request" => Some(Direction::Request),
        "response" => Some(Direction::Response),
        _ => None,
    }
}

/// The rows of one direction.
fn rows(api: &Api, direction: Direction) -> Vec<&'static str> {
    api.addresses.iter().filter(|row| row.direction == direction).map(|row| row.path).collect()
}

/// The fields of a message that need a row and have none.
fn without_row(definition: &Definition) -> Vec<String> {
    let (Some(direction), Some(key)) = (direction(definition), definition.api_key) else { return Vec::new() };
    let api = api::find(key).unwrap_or_else(|| panic!("{} has no row", definition.name));
    if api.request == Request::Refuse {
        return Vec::new();
    }
    let rows = rows(api, direction);
    let mut found = Vec::new();
    suspects(&definition.fields, "", &mut found);
    let has_row = |path: &str, is_structure: bool| {
        rows.iter().any(|row| *row == path || (is_structure && row.starts_with(&format!("{path}."))))
    };
    found.retain(|(path, is_structure)| !has_row(path, *is_structure));
    found.into_iter().map(|(path, _)| format!("{}.{path}", definition.name)).collect()
}

#[test]
fn every_field_that_looks_like_an_address_has_a_row() {
    let missing: Vec<_> = DEFINITIONS.iter().flat_map(without_row).collect();
    println!("{} message definitions walked", DEFINITIONS.len());
    assert_eq!(DEFINITIONS.len(), 203, "the jar holds other definitions than those of Kafka 4.4.0");
    assert!(missing.is_empty(), "no row in kafka::api says what becomes of {missing:#?}");
}

#[test]
fn every_row_names_a_field_that_is_there() {
    for api in &api::APIS {
        for direction in [Direction::Request, Direction::Response] {
            let mut found = Vec::new();
            let definitions = DEFINITIONS.iter().filter(|d| d.api_key == Some(api.key));
            for definition in definitions.filter(|d| self::direction(d) == Some(direction)) {
                suspects(&definition.fields, "", &mut found);
            }
            for row in rows(api, direction) {
                assert!(found.iter().any(|(path, _)| path == row), "{} has no field {row}", api.name);
            }
        }
    }
}

#[test]
fn a_planted_host_is_found_at_any_depth_and_in_a_common_structure() {
    let plant = |name: &str, kind: &str| {
        let json = format!(r#"{{ "name": "{name}", "type": "{kind}", "versions": "0+" }}"#);
        serde_json::from_str::<Field>(&json).unwrap()
    };
    let named = |name: &str| DEFINITIONS.iter().find(|d| d.name == name).unwrap().clone();

    let mut top = named("ListOffsetsResponse");
    top.fields.push(plant("LeaderHost", "string"));
    assert_eq!(without_row(&top), ["ListOffsetsResponse.LeaderHost"]);

    let mut deep = named("OffsetFetchResponse");
    deep.fields.last_mut().unwrap().fields.push(plant("CoordinatorPort", "int32"));
    assert_eq!(without_row(&deep), ["OffsetFetchResponse.Groups.CoordinatorPort"]);

    let mut beside = named("MetadataResponse");
    beside.fields.push(plant("BootstrapUrl", "string"));
    beside.fields.push(plant("ListenerCount", "int32"));
    assert_eq!(without_row(&beside), ["MetadataResponse.BootstrapUrl"]);

    let common = r#"{ "apiKey": 12, "type": "response", "name": "HeartbeatResponse", "validVersions": "0-5",
        // A comment.
        "flexibleVersions": "4+", "fields": [ { "name": "Next", "type": "[]Node", "versions": "5+" } ],
        "commonStructs": [ { "name": "Node", "versions": "5+", "fields": [
            { "name": "Host", "type": "string", "versions": "5+" } ] } ] }"#;
    assert_eq!(without_row(&Definition::parse(common)), ["HeartbeatResponse.Next.Host"]);
}
