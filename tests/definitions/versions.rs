//! The table's versions are those of the definitions.

use gatehouse::kafka::api::{self, NEVER, Request};

use crate::jar::DEFINITIONS;

#[test]
fn the_newest_and_the_first_flexible_version_of_each_api_are_kafkas() {
    for api in &api::APIS {
        let messages: Vec<_> = DEFINITIONS
            .iter()
            .filter(|d| d.api_key == Some(api.key) && (d.kind == "request" || d.kind == "response"))
            .collect();
        assert_eq!(messages.len(), 2, "{} has a request and a response", api.name);
        for message in messages {
            let Some(newest) = message.newest() else {
                assert_eq!(api.request, Request::Refuse, "{} is no API of clients", message.name);
                continue;
            };
            assert_eq!(api.newest, newest, "{}", message.name);
            assert_eq!(api.flexible, message.flexible().unwrap_or(NEVER), "{}", message.name);
            let half = message.name.strip_suffix("Request").or(message.name.strip_suffix("Response"));
            assert_eq!(half, Some(api.name));
        }
    }
}

#[test]
fn every_api_of_the_definitions_is_in_the_table() {
    let keys: Vec<_> = DEFINITIONS.iter().filter_map(|d| Some((d.api_key?, &d.name))).collect();
    assert!(keys.len() >= 2 * api::APIS.len());
    for (key, name) in keys {
        assert!(api::find(key).is_some(), "{name} (key {key}) is not in the table");
    }
}

/// What is never offered to clients: nobody but brokers and controllers is served by it.
#[test]
fn an_api_is_refused_exactly_when_no_broker_serves_it_to_clients() {
    let refused: Vec<_> = api::APIS.iter().filter(|a| a.request == Request::Refuse).map(|a| a.key).collect();
    assert_eq!(refused, [4, 5, 6, 7, 52, 53, 54, 56, 58, 59, 62, 63, 67, 70, 73, 82]);
}
