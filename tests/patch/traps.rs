//! The traps of the protocol that the patches are about, each by its number in `docs/traps.md`.

use gatehouse::kafka::api::{self, Direction, Patch, Response};
use gatehouse::patch::{self, Context};
use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::describe_quorum_response::{Listener, Node};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::metadata_response::MetadataResponseBroker;
use kafka_protocol::messages::{
    ApiVersionsResponse, BrokerId, DescribeClusterResponse, DescribeQuorumResponse, FetchResponse,
    FindCoordinatorResponse, MetadataResponse, ShareFetchResponse, fetch_response, share_fetch_response,
};

use crate::message::{CORRELATION_ID, Message, api_of, text};
use crate::random::HOST;
use crate::{leaks, patched, routes};

fn after_patch(patch: Patch, version: i16, message: &Message) -> Message {
    let (out, _) = patched(patch, version, &message.frame(version)).unwrap();
    assert!(!leaks(&out));
    Message::read(patch, version, &out).unwrap()
}

fn frame(body: &[u8]) -> Vec<u8> {
    let length = (body.len() as i32 + 4).to_be_bytes();
    [&length, &CORRELATION_ID.to_be_bytes(), body].concat()
}

#[test]
fn trap_2_an_api_versions_error_passes_byte_for_byte_in_whatever_layout() {
    // What librdkafka's mock cluster answers to version 3: neither version 0 nor version 3 reads it.
    let mock = [0, 0x23, 1, 0, 0x12, 0, 0, 0, 2, 0, 0, 0, 0];
    // A broker's answer, in version 0: one API, ApiVersions itself.
    let broker = [0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 99];
    for version in 0..=5 {
        for body in [&mock[..], &broker, &[0, 42], &[0, 129, 0, 0]] {
            assert_eq!(patched(Patch::ApiVersions, version, &frame(body)), Ok((frame(body), false)));
        }
    }
}

fn offer(key: i16, least: i16, most: i16) -> ApiVersion {
    ApiVersion::default().with_api_key(key).with_min_version(least).with_max_version(most)
}

#[test]
fn trap_4_the_lower_end_of_produce_stays_0() {
    let offers = vec![offer(0, 0, 14), offer(1, 4, 19), offer(3, 0, 13)];
    let response = Message::ApiVersions(ApiVersionsResponse::default().with_api_keys(offers));
    for version in 0..=5 {
        let Message::ApiVersions(m) = after_patch(Patch::ApiVersions, version, &response) else { panic!() };
        assert_eq!(m.api_keys, [offer(0, 0, 13), offer(1, 4, 18), offer(3, 0, 13)]);
    }
}

#[test]
fn trap_5_produce_is_offered_as_high_as_transactions_of_version_2_need_and_features_pass() {
    let feature = |name| FinalizedFeatureKey::default().with_name(text(name)).with_max_version_level(2);
    let original = ApiVersionsResponse::default()
        .with_api_keys(vec![offer(0, 0, 20), offer(95, 0, 3), offer(4, 0, 7)])
        .with_supported_features(vec![SupportedFeatureKey::default().with_name(text("transaction.version"))])
        .with_finalized_features_epoch(77)
        .with_finalized_features(vec![feature("transaction.version"), feature("share.version")]);
    let Message::ApiVersions(m) = after_patch(Patch::ApiVersions, 4, &Message::ApiVersions(original.clone()))
    else {
        panic!()
    };
    let produce = m.api_keys.iter().find(|offered| offered.api_key == 0).unwrap();
    assert!(produce.max_version >= 12, "Produce below 12 is no request of a transaction of version 2");
    assert_eq!(m.api_keys.len(), 1, "what is unknown or refused is not offered");
    let rest = |m: ApiVersionsResponse| m.with_api_keys(Vec::new());
    assert_eq!(rest(m), rest(original));
}

#[test]
fn trap_6_a_coordinator_that_is_no_node_passes_as_it_is() {
    let none = Coordinator::default()
        .with_node_id(BrokerId(-1))
        .with_host(text(""))
        .with_port(-1)
        .with_error_code(15);
    for version in 0..=6 {
        let response = if version >= 4 {
            FindCoordinatorResponse::default().with_coordinators(vec![none.clone(), none.clone()])
        } else {
            FindCoordinatorResponse::default().with_error_code(15).with_node_id(BrokerId(-1)).with_port(-1)
        };
        let frame = Message::FindCoordinator(response).frame(version);
        assert_eq!(patched(Patch::FindCoordinator, version, &frame), Ok((frame, false)), "version {version}");
    }
}

fn fetch_endpoint(id: i32) -> fetch_response::NodeEndpoint {
    let endpoint = fetch_response::NodeEndpoint::default().with_node_id(BrokerId(id));
    endpoint.with_host(text(&format!("b{id}.inside.test"))).with_port(9092)
}

#[test]
fn trap_7_no_node_is_named_twice() {
    let endpoints = [1, 2, 1, 1, 2].map(fetch_endpoint).to_vec();
    let response = Message::Fetch(FetchResponse::default().with_node_endpoints(endpoints));
    let Message::Fetch(m) = after_patch(Patch::Fetch, 17, &response) else { panic!() };
    let ids: Vec<_> = m.node_endpoints.iter().map(|endpoint| endpoint.node_id.0).collect();
    assert_eq!(ids, [1, 2], "the Java client throws on a repeated id (Collectors.toMap)");
}

#[test]
fn trap_8_the_endpoints_of_share_fetch_are_an_array_and_no_tag() {
    let endpoint = share_fetch_response::NodeEndpoint::default()
        .with_node_id(BrokerId(2))
        .with_host(text("b2.inside.test"))
        .with_port(9092)
        .with_rack(Some(text("a-rack")));
    let response = Message::ShareFetch(ShareFetchResponse::default().with_node_endpoints(vec![endpoint]));
    for version in [1, 2] {
        let Message::ShareFetch(m) = after_patch(Patch::ShareFetch, version, &response) else { panic!() };
        let [endpoint] = &m.node_endpoints[..] else { panic!("{m:?}") };
        assert_eq!((&*endpoint.host, endpoint.port), (HOST, 31_092));
        assert_eq!(endpoint.rack, Some(text("a-rack")));
        assert!(m.unknown_tagged_fields.is_empty());
    }
}

#[test]
fn trap_9_the_ports_of_quorum_listeners_are_16_bits() {
    let listener = |port| {
        Listener::default().with_name(text("CONTROLLER")).with_host(text("c.inside.test")).with_port(port)
    };
    // Read as 32 bits the ports of the first node would swallow the start of what follows.
    let nodes = [vec![listener(65_535), listener(9_093)], vec![], vec![listener(1)]];
    let nodes = nodes
        .into_iter()
        .zip(1..)
        .map(|(listeners, id)| Node::default().with_node_id(BrokerId(id)).with_listeners(listeners));
    let response = Message::DescribeQuorum(DescribeQuorumResponse::default().with_nodes(nodes.collect()));
    let Message::DescribeQuorum(m) = after_patch(Patch::DescribeQuorum, 2, &response) else { panic!() };
    assert_eq!(m.nodes.iter().map(|node| node.node_id.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(m.nodes.iter().all(|node| node.listeners.is_empty()));
}

#[test]
fn trap_13_node_and_cluster_ids_are_never_changed_so_that_a_client_may_check_them() {
    let broker = MetadataResponseBroker::default()
        .with_node_id(BrokerId(7))
        .with_host(text("b7.inside.test"))
        .with_port(9092);
    let response =
        MetadataResponse::default().with_brokers(vec![broker]).with_cluster_id(Some(text("a-cluster")));
    let response = Message::Metadata(response.with_controller_id(BrokerId(7)));
    let Message::Metadata(m) = after_patch(Patch::Metadata, 13, &response) else { panic!() };
    assert_eq!((m.brokers[0].node_id, m.controller_id), (BrokerId(7), BrokerId(7)));
    assert_eq!(m.cluster_id, Some(text("a-cluster")));
    // REBOOTSTRAP_REQUIRED, the answer to a client that reached another broker than it meant (KIP-1242).
    let mismatch = frame(&[0, 129, 1, 0, 0, 0, 0, 0]);
    assert_eq!(patched(Patch::ApiVersions, 5, &mismatch), Ok((mismatch, false)));
}

#[test]
fn trap_17_fenced_brokers_are_listed_like_others() {
    let broker = |id: i32, fenced| {
        let broker = DescribeClusterBroker::default().with_broker_id(BrokerId(id)).with_is_fenced(fenced);
        broker.with_host(text(&format!("b{id}.inside.test"))).with_port(9092)
    };
    let brokers = vec![broker(1, false), broker(5, true), broker(500, true)];
    let response = Message::DescribeCluster(DescribeClusterResponse::default().with_brokers(brokers));
    let Message::DescribeCluster(m) = after_patch(Patch::DescribeCluster, 2, &response) else { panic!() };
    let listed: Vec<_> = m.brokers.iter().map(|b| (b.broker_id.0, b.is_fenced, &*b.host, b.port)).collect();
    assert_eq!(listed, [(1, false, HOST, 31_091), (5, true, HOST, 31_095)]);
}

#[test]
fn trap_18_hosts_of_clients_applications_and_access_rules_pass_and_say_why() {
    for (name, paths) in [
        ("DescribeGroups", &["Groups.Members.ClientHost"][..]),
        ("ConsumerGroupDescribe", &["Groups.Members.ClientHost"]),
        ("ShareGroupDescribe", &["Groups.Members.ClientHost"]),
        ("StreamsGroupHeartbeat", &["PartitionsByUserEndpoint.UserEndpoint.Host"]),
        ("StreamsGroupDescribe", &["Groups.Members.ClientHost", "Groups.Members.UserEndpoint.Host"]),
        ("DescribeAcls", &["Resources.Acls.Host"]),
        ("DeleteAcls", &["FilterResults.MatchingAcls.Host"]),
    ] {
        let api = api::APIS.iter().find(|api| api.name == name).unwrap();
        assert_eq!(api.response, Response::Forward, "{name}");
        for path in paths {
            let mut fields = api.addresses.iter().filter(|f| f.direction == Direction::Response);
            let field = fields.find(|f| f.path == *path).unwrap_or_else(|| panic!("{name} has no {path}"));
            assert!(field.passes.is_some());
        }
    }
}

#[test]
fn trap_20_a_coordinator_has_the_address_that_metadata_gives_the_same_node() {
    let broker = MetadataResponseBroker::default()
        .with_node_id(BrokerId(3))
        .with_host(text("b3.inside.test"))
        .with_port(9092);
    let metadata = Message::Metadata(MetadataResponse::default().with_brokers(vec![broker]));
    let Message::Metadata(metadata) = after_patch(Patch::Metadata, 12, &metadata) else { panic!() };
    let coordinator = FindCoordinatorResponse::default()
        .with_node_id(BrokerId(3))
        .with_host(text("other-name-of-b3.inside.test"))
        .with_port(9999);
    let coordinator = Message::FindCoordinator(coordinator);
    let Message::FindCoordinator(found) = after_patch(Patch::FindCoordinator, 2, &coordinator) else {
        panic!()
    };
    assert_eq!((&found.host, found.port), (&metadata.brokers[0].host, metadata.brokers[0].port));
}

#[test]
fn trap_22_the_length_of_a_frame_is_right_before_its_topics_are_there() {
    let brokers = (0..10).map(|id| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(id))
            .with_host(text(&format!("a-much-longer-name-than-ours-{id}.inside.test")))
            .with_port(9092)
    });
    let frame = Message::Metadata(MetadataResponse::default().with_brokers(brokers.collect())).frame(12);
    // The topics are far larger than what is at hand.
    let frame_bytes = frame.len() as u64 + 3_000_000;
    let routes = routes();
    let mut context = Context::new(&routes, false);
    let (taken, start) =
        patch::metadata_prefix(api_of(Patch::Metadata), 12, &frame, frame_bytes, &mut context)
            .unwrap()
            .expect("the broker list is at hand");
    let length = u64::from(u32::from_be_bytes([start[0], start[1], start[2], start[3]]));
    assert_eq!(length + 4, start.len() as u64 + frame_bytes - taken as u64);
    assert!(start.len() < taken && !leaks(&start));
    assert_eq!(context.learned.len(), 10);
}
