//! DescribeConfigs: the few settings that a toy has, as tools expect to find them.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::call::{Call, text};
use super::world::World;
use crate::kafka::NodeId;

/// Resource types.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// The source of a value that nobody set (DEFAULT_CONFIG).
const DEFAULT: i8 = 5;

/// The types of a value.
const STRING: i8 = 2;
const LONG: i8 = 5;

pub(super) fn describe(call: &Call<'_>, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let world = call.shared.world();
    let results = request.resources.into_iter().map(|resource| {
        let answer = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match entries(call, &world, &resource) {
            Err(error) => answer.with_error_code(error.code()),
            Ok(entries) => {
                let wanted = resource.configuration_keys.as_ref();
                let entries = entries.into_iter().filter(|(name, _, _)| {
                    wanted.is_none_or(|keys| keys.is_empty() || keys.iter().any(|key| key.as_str() == *name))
                });
                answer.with_configs(entries.map(entry).collect())
            }
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

/// Name, value and type.
type Entry = (&'static str, String, i8);

fn entries(
    call: &Call<'_>,
    world: &World,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Entry>, ResponseError> {
    let retention = ("retention.bytes", call.shared.options.partition_bytes_max.to_string(), LONG);
    match resource.resource_type {
        TOPIC => {
            world.topic(&resource.resource_name, uuid::Uuid::nil())?;
            Ok(vec![("cleanup.policy", "delete".into(), STRING), retention])
        }
        BROKER => {
            let node =
                resource.resource_name.parse().map(NodeId).map_err(|_| ResponseError::InvalidRequest)?;
            let broker = world.brokers.get(&node).ok_or(ResponseError::InvalidRequest)?;
            let listener = format!("PLAINTEXT://{}:{}", broker.advertised.host, broker.advertised.port);
            Ok(vec![
                ("advertised.listeners", listener, STRING),
                ("broker.id", node.to_string(), LONG),
                ("log.retention.bytes", retention.1, LONG),
            ])
        }
        _ => Ok(Vec::new()),
    }
}

fn entry((name, value, kind): Entry) -> DescribeConfigsResourceResult {
    DescribeConfigsResourceResult::default()
        .with_name(text(name))
        .with_value(Some(text(value)))
        .with_read_only(true)
        .with_config_source(DEFAULT)
        .with_config_type(kind)
}
