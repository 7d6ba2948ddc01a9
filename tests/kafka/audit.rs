//! Whom the brokers saw, by their own logs of requests.

use std::collections::BTreeMap;

use kafka_protocol::messages::{
    IncrementalAlterConfigsRequest,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
};

use crate::{
    Result,
    cluster::{Cluster, NODES, PLAIN_PORT},
    lab::{Lab, Side},
    poll::{self, LIMIT},
    wire::{Connection, string},
};

/// How often each principal asked for each API.
pub(crate) type Seen = BTreeMap<String, BTreeMap<String, usize>>;

/// Sets how much every broker tells of the requests that it answers.
pub(crate) fn log(lab: &Lab, level: &str) -> Result<()> {
    const BROKER_LOGGER: i8 = 8;
    lab.inside(Side::Brokers, || {
        for node in NODES {
            let config = AlterableConfig::default()
                .with_name(string("kafka.request.logger"))
                .with_value(Some(string(level)));
            let resource = AlterConfigsResource::default()
                .with_resource_type(BROKER_LOGGER)
                .with_resource_name(string(&node.to_string()))
                .with_configs(vec![config]);
            let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
            let mut broker = Connection::open(&Cluster::address(node, PLAIN_PORT))?;
            let answer = broker.call(0, &request)?;
            if let Some(refused) = answer.responses.iter().find(|response| response.error_code != 0) {
                return Err(format!("level of broker {node}: error {}", refused.error_code).into());
            }
        }
        Ok(())
    })
}

/// What was asked at the listener of that name since the brokers were told to log it.
pub(crate) fn requests(cluster: &Cluster<'_>, listener: &str) -> Result<Seen> {
    let mut seen = Seen::new();
    let log = poll::until("a log of requests", LIMIT, || {
        let log = cluster.log()?;
        Ok(log.contains("Completed request:").then_some(log))
    })?;
    for line in log.lines().filter(|line| line.contains(listener)) {
        let Some((_, text)) = line.split_once("Completed request:") else { continue };
        let (of, principal, api) = if text.starts_with('{') { entry(text)? } else { old_entry(text)? };
        if of == listener {
            *seen.entry(principal).or_default().entry(api).or_default() += 1;
        }
    }
    Ok(seen)
}

/// Listener, principal and API.
fn entry(text: &str) -> Result<(String, String, String)> {
    let entry: serde_json::Value = serde_json::from_str(text)?;
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned).ok_or("not a text");
    Ok((
        text(&entry["listener"])?,
        text(&entry["principal"])?,
        text(&entry["requestHeader"]["requestApiKeyName"])?,
    ))
}

/// The same before Kafka 2.7, whose log is not JSON.
fn old_entry(text: &str) -> Result<(String, String, String)> {
    let after = |mark: &str, end: char| {
        let found = text.split_once(mark).and_then(|(_, rest)| rest.split(end).next());
        found.map(str::to_owned).ok_or_else(|| format!("no {mark} in {text}"))
    };
    Ok((after(",listener:", ',')?, after(",principal:", ',')?, after("apiKey=", ',')?))
}
