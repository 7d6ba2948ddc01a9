//! NodeEndpoints in every version, asked for with raw requests at a broker that does not lead: the exact and the padded path.

use kafka_protocol::messages::{FetchRequest, ProduceRequest, metadata_response::MetadataResponseTopic};

use crate::{
    Result, clients,
    cluster::{Cluster, bootstrap},
    faults::endpoints,
    gateway::{Gateway, PORT, door},
    lab::{DOOR, Lab, Side},
    records,
    suite::no_leaks,
    wire::{self, Connection},
};

/// Asks broker 1 for a partition that broker 2 leads, alone and behind 200 KiB of records.
pub(crate) fn run(lab: &Lab, _cluster: &mut Cluster<'_>) -> Result<String> {
    let gateway = Gateway::start(lab)?;
    let topic = lab.inside(Side::Brokers, prepare)?;
    let padded = lab.inside(Side::Clients, || ask(&topic))?;
    let counted = [
        endpoints(&gateway, "Produce", "exact")?,
        endpoints(&gateway, "Fetch", "exact")?,
        endpoints(&gateway, "Fetch", "padded")?,
    ];
    if counted != [PRODUCE.len() as u64, FETCH.len() as u64, FETCH.len() as u64] {
        return Err(format!("rewritten: Produce exact, Fetch exact and Fetch padded {counted:?}").into());
    }
    gateway.stop()?;
    no_leaks(lab)?;
    Ok(format!(
        "Produce exact {}, Fetch exact {}, Fetch padded {} ({padded} bytes each)",
        counted[0], counted[1], counted[2]
    ))
}

/// Lets franz-go ask for every address-bearing response in every version: it may see the door alone.
pub(crate) fn addresses(lab: &Lab, cluster: &mut Cluster<'_>) -> Result<String> {
    let gateway = Gateway::start(lab)?;
    let arguments =
        [format!("bootstrap={}", door()), "functions=addresses".to_owned(), "prefix=seen".to_owned()];
    let label = format!("addresses-{}", cluster.kafka.version);
    let outcomes = clients::run(lab, Side::Clients, "franz-go", &label, &arguments)?;
    let outcome = outcomes.first().ok_or("no report")?;
    if !outcome.ok {
        return Err(outcome.detail.clone().into());
    }
    let mut responses = 0;
    for entry in outcome.detail.split(';') {
        let (name, seen) = entry.split_once('=').ok_or_else(|| format!("unreadable: {entry}"))?;
        let foreign = seen.split('|').find(|address| !["", "-"].contains(address) && !ours(address));
        if let Some(foreign) = foreign {
            return Err(format!("{name} carries {foreign}").into());
        }
        let redirects = ["Produce/", "Fetch/", "ShareFetch/"].iter().any(|api| name.starts_with(api));
        if redirects && seen.is_empty() && cluster.kafka.at_least(4, 0) {
            return Err(format!("{name} carries no address").into());
        }
        responses += usize::from(seen != "-");
    }
    gateway.stop()?;
    no_leaks(lab)?;
    Ok(format!("{responses} responses seen, no foreign address"))
}

fn ours(address: &str) -> bool {
    let port = address
        .strip_prefix(DOOR)
        .and_then(|rest| rest.strip_prefix(':'))
        .and_then(|port| port.parse::<u16>().ok());
    port.is_some_and(|port| (PORT + 2..=PORT + 4).contains(&port))
}

/// Two partitions of one replica each, on brokers 1 and 2; the first full of records.
fn prepare() -> Result<MetadataResponseTopic> {
    let bootstrap = bootstrap();
    wire::create_topic(&bootstrap, TOPIC, &[vec![1], vec![2]], &[])?;
    let value = vec![b'x'; 10_000];
    let values = vec![value.as_slice(); 20];
    let leader = wire::leaders(&bootstrap, TOPIC)?.remove(&0).ok_or("no partition 0")?;
    records::produce(&mut Connection::open(&leader.1)?, TOPIC, 0, &values)?;
    wire::described(&bootstrap, TOPIC)
}

/// Gives the length of a padded response.
fn ask(topic: &MetadataResponseTopic) -> Result<usize> {
    let mut broker = Connection::open(&format!("{DOOR}:{}", PORT + 2))?;
    for version in PRODUCE {
        let mut request = records::produce_request(TOPIC, 1, records::batch(&[b"refused"])?);
        if version >= 13 {
            request.topic_data[0].name = Default::default();
            request.topic_data[0].topic_id = topic.topic_id;
        }
        let response = broker.call::<ProduceRequest>(version, &request)?;
        let endpoints =
            response.node_endpoints.iter().map(|node| (node.node_id.0, node.host.as_str(), node.port));
        check(
            &format!("Produce v{version}"),
            response.responses[0].partition_responses[0].error_code,
            &endpoints.collect::<Vec<_>>(),
        )?;
    }
    let mut bytes = 0;
    for version in FETCH {
        for partitions in [vec![(1, 0)], vec![(0, 0), (1, 0)]] {
            let mut request = records::fetch_request(TOPIC, &partitions, 1 << 20).with_session_id(0);
            request.topics[0].topic = Default::default();
            request.topics[0].topic_id = topic.topic_id;
            let response = broker.call::<FetchRequest>(version, &request)?;
            let partitions = &response.responses.first().ok_or("no topic in the answer")?.partitions;
            let last = partitions.last().ok_or("no partition in the answer")?;
            let endpoints: Vec<_> = response
                .node_endpoints
                .iter()
                .map(|node| (node.node_id.0, node.host.as_str(), node.port))
                .collect();
            if partitions.len() == 1 {
                check(&format!("Fetch v{version}"), last.error_code, &endpoints)?;
                continue;
            }
            bytes = partitions[0].records.as_ref().map_or(0, bytes::Bytes::len);
            if bytes < 200_000 || last.error_code != NOT_LEADER || !endpoints.is_empty() {
                return Err(format!(
                    "Fetch v{version} of {bytes} bytes: error {}, endpoints {endpoints:?}",
                    last.error_code
                )
                .into());
            }
        }
    }
    Ok(bytes)
}

fn check(name: &str, error: i16, endpoints: &[(i32, &str, i32)]) -> Result<()> {
    if (error, endpoints) == (NOT_LEADER, &[(2, DOOR, i32::from(PORT) + 3)]) {
        return Ok(());
    }
    Err(format!("{name}: error {error}, endpoints {endpoints:?}").into())
}

const TOPIC: &str = "endpoints";
const NOT_LEADER: i16 = 6;
/// The versions that carry NodeEndpoints.
const PRODUCE: std::ops::RangeInclusive<i16> = 10..=13;
const FETCH: std::ops::RangeInclusive<i16> = 16..=18;
