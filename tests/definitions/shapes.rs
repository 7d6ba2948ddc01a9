//! The shapes that the walkers follow are those of the definitions, in every version.

use gatehouse::kafka::shape;
use gatehouse::kafka::walk::{self, Kind};

use crate::definition::{self, Definition, range};
use crate::jar::DEFINITIONS;

/// The fields of a shape in a version, one word each.
fn of_shape(fields: &[walk::Field], version: i16, flexible: bool, out: &mut Vec<String>) {
    for field in fields.iter().filter(|field| (field.since..=field.until).contains(&version)) {
        match field.kind {
            Kind::Fixed(bytes) => out.push(bytes.to_string()),
            Kind::String => out.push("string".to_owned()),
            Kind::Bytes => out.push("bytes".to_owned()),
            Kind::Tags if flexible => out.push("tags".to_owned()),
            Kind::Tags => {}
            Kind::Array(element) | Kind::Nullable(element) => {
                let is_array = matches!(field.kind, Kind::Array(_));
                out.push(if is_array { "[" } else { "?[" }.to_owned());
                of_shape(element, version, flexible, out);
                out.push("]".to_owned());
            }
        }
    }
}

/// The same of a definition, up to a field or to the end.
fn of_definition(
    fields: &[definition::Field],
    until: Option<&str>,
    version: i16,
    flexible: bool,
    out: &mut Vec<String>,
) {
    for field in fields {
        if until == Some(field.name.as_str()) {
            return;
        }
        let (first, last) = range(&field.versions);
        if !(first..=last).contains(&version) || field.tag.is_some() {
            continue;
        }
        let nullable = field.nullable_versions.as_deref().is_some_and(|v| range(v).0 <= version);
        match (field.is_array(), field.fields.is_empty()) {
            (true, is_primitive) => {
                out.push("[".to_owned());
                if is_primitive {
                    out.push(primitive(field.element()));
                }
                structure(field, version, flexible, out);
                out.push("]".to_owned());
            }
            (false, true) => out.push(primitive(field.element())),
            (false, false) if nullable => {
                out.push("?[".to_owned());
                structure(field, version, flexible, out);
                out.push("]".to_owned());
            }
            (false, false) => structure(field, version, flexible, out),
        }
    }
    if until.is_none() && flexible {
        out.push("tags".to_owned());
    }
}

fn structure(field: &definition::Field, version: i16, flexible: bool, out: &mut Vec<String>) {
    if !field.fields.is_empty() {
        of_definition(&field.fields, None, version, flexible, out);
    }
}

fn primitive(kind: &str) -> String {
    match kind {
        "bool" | "int8" => "1",
        "int16" | "uint16" => "2",
        "int32" => "4",
        "int64" | "float64" => "8",
        "uuid" => "16",
        "string" => "string",
        "bytes" | "records" => "bytes",
        other => panic!("type {other}"),
    }
    .to_owned()
}

fn compare(shape: &[walk::Field], name: &str, first: i16, until: Option<&str>) {
    let definition: &Definition = DEFINITIONS.iter().find(|d| d.name == name).unwrap();
    let newest = definition.newest().unwrap();
    for version in first..=newest {
        let flexible = definition.flexible().is_some_and(|first| version >= first);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        of_shape(shape, version, flexible, &mut ours);
        of_definition(&definition.fields, until, version, flexible, &mut theirs);
        assert_eq!(ours, theirs, "{name} in version {version}");
    }
}

#[test]
fn every_shape_is_the_definitions() {
    // `Some("")` is no field's name: the message up to the tags of its body.
    compare(shape::PRODUCE_RESPONSE, "ProduceResponse", 9, Some(""));
    compare(shape::FETCH_RESPONSE, "FetchResponse", 12, Some(""));
    compare(shape::SHARE_FETCH_RESPONSE, "ShareFetchResponse", 1, Some("NodeEndpoints"));
    compare(shape::SHARE_ACKNOWLEDGE_RESPONSE, "ShareAcknowledgeResponse", 1, Some("NodeEndpoints"));
    compare(shape::DESCRIBE_QUORUM_RESPONSE, "DescribeQuorumResponse", 0, Some("Nodes"));
    compare(shape::METADATA_RESPONSE, "MetadataResponse", 0, None);
    compare(shape::API_VERSIONS_RESPONSE, "ApiVersionsResponse", 0, None);
    compare(shape::SASL_HANDSHAKE_RESPONSE, "SaslHandshakeResponse", 0, None);
    compare(shape::SASL_AUTHENTICATE_RESPONSE, "SaslAuthenticateResponse", 0, None);
}

#[test]
fn every_node_list_is_the_same_structure() {
    for name in ["ProduceResponse", "FetchResponse", "ShareFetchResponse", "ShareAcknowledgeResponse"] {
        let definition = DEFINITIONS.iter().find(|d| d.name == name).unwrap();
        let list = definition.fields.iter().find(|field| field.name == "NodeEndpoints").unwrap();
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let newest = definition.newest().unwrap();
        of_shape(shape::NODE_ENDPOINT, newest, true, &mut ours);
        of_definition(&list.fields, None, newest, true, &mut theirs);
        assert_eq!(ours, theirs, "{name}");
        let is_tag_0 = list.tag == Some(0);
        assert_eq!(is_tag_0, !name.starts_with("Share"), "{name}");
    }
    let quorum = DEFINITIONS.iter().find(|d| d.name == "DescribeQuorumResponse").unwrap();
    let nodes = quorum.fields.iter().find(|field| field.name == "Nodes").unwrap();
    let listeners = nodes.fields.iter().find(|field| field.name == "Listeners").unwrap();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    of_shape(shape::QUORUM_LISTENER, 2, true, &mut ours);
    of_definition(&listeners.fields, None, 2, true, &mut theirs);
    assert_eq!(ours, theirs);
}
