//! What happens to clusters: leaders move, brokers die and come back, coordinators change. Clients behind the gateway go on.

use crate::{
    Result,
    cluster::{Cluster, NODES, bootstrap},
    gateway::{Gateway, door},
    lab::{Lab, Side},
    load::Load,
    poll::{self, LIMIT},
    suite::no_leaks,
    wire,
};

/// Leaders move while clients produce and consume, until both learned of it from rewritten NodeEndpoints.
pub(crate) fn leaders_move(lab: &Lab, _cluster: &mut Cluster<'_>) -> Result<String> {
    moves(lab, Gateway::start(lab)?, "moved", &door(), |_| Vec::new())
}

/// The same at a door of that kind, with more arguments for each client.
pub(crate) fn moves(
    lab: &Lab,
    gateway: Gateway<'_>,
    topic: &str,
    door: &str,
    more: impl Fn(&str) -> Vec<String>,
) -> Result<String> {
    let mut loads = both_with(lab, topic, door, more)?;
    let mut moves = 0;
    poll::until("NodeEndpoints rewritten in Produce and Fetch", LIMIT, || {
        for load in &mut loads {
            let partition = moves % 3;
            let first = (moves / 3 + partition + 1) % 3;
            let nodes: Vec<i32> = (0..3).map(|step| (first + step) % 3 + 1).collect();
            let topic = load.topic().to_owned();
            lab.inside(Side::Brokers, || {
                poll::until("a moved leader", LIMIT, || {
                    wire::move_leader(&bootstrap(), &topic, partition, &nodes).map(Some)
                })
            })?;
            load.progress()?;
        }
        moves += 1;
        let produce = endpoints(&gateway, "Produce", "exact")?;
        let fetch = endpoints(&gateway, "Fetch", "exact")?;
        Ok((moves >= MOVES_MIN && produce > 0 && fetch > 0).then_some(()))
    })?;
    let (produce, fetch) = (endpoints(&gateway, "Produce", "exact")?, endpoints(&gateway, "Fetch", "exact")?);
    let records = finish(loads)?;
    gateway.stop()?;
    no_leaks(lab)?;
    Ok(format!(
        "{} moves, {records} records, NodeEndpoints rewritten exactly: Produce {produce}, Fetch {fetch}",
        2 * moves
    ))
}

/// Each kind of stop, each followed by a start, while clients produce and consume.
pub(crate) fn brokers_stop_and_start(lab: &Lab, cluster: &mut Cluster<'_>) -> Result<String> {
    let gateway = Gateway::start(lab)?;
    let mut loads = both(lab, "stopped", &door())?;
    for (node, orderly) in [(NODES[1], false), (NODES[2], true)] {
        if orderly {
            cluster.stop(node)?;
        } else {
            cluster.kill(node)?;
        }
        progress(&mut loads)?;
        cluster.start_broker(node)?;
        cluster.wait_until_whole()?;
        progress(&mut loads)?;
    }
    let records = finish(loads)?;
    gateway.stop()?;
    no_leaks(lab)?;
    Ok(format!("one killed, one stopped, {records} records"))
}

/// The broker that coordinates a group dies while the group consumes; another takes over and the group goes on.
pub(crate) fn coordinator_moves(lab: &Lab, cluster: &mut Cluster<'_>) -> Result<String> {
    let gateway = Gateway::start(lab)?;
    let mut loads = both(lab, "coordinated", &door())?;
    let group = loads[0].group();
    let coordinator = || lab.inside(Side::Brokers, || wire::coordinator(&bootstrap(), &group));
    let before = coordinator()?;
    cluster.kill(before)?;
    let after =
        poll::until("another coordinator", LIMIT, || Ok(coordinator().ok().filter(|node| *node != before)))?;
    progress(&mut loads)?;
    cluster.start_broker(before)?;
    cluster.wait_until_whole()?;
    progress(&mut loads)?;
    let records = finish(loads)?;
    gateway.stop()?;
    no_leaks(lab)?;
    Ok(format!("from broker {before} to {after}, {records} records"))
}

/// NodeEndpoints that the gateway rewrote in responses of `api` on that path.
pub(crate) fn endpoints(gateway: &Gateway<'_>, api: &str, path: &str) -> Result<u64> {
    let labels = [format!("api=\"{api}\""), format!("path=\"{path}\"")];
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    Ok(gateway.metric("gatehouse_node_endpoints_rewritten_total", &labels)? as u64)
}

fn both<'lab>(lab: &'lab Lab, topic: &str, door: &str) -> Result<Vec<Load<'lab>>> {
    both_with(lab, topic, door, |_| Vec::new())
}

fn both_with<'lab>(
    lab: &'lab Lab,
    topic: &str,
    door: &str,
    more: impl Fn(&str) -> Vec<String>,
) -> Result<Vec<Load<'lab>>> {
    ["java-4.4", "franz-go"]
        .iter()
        .map(|client| Load::start_with(lab, client, &format!("{topic}-{client}"), door, &more(client)))
        .collect()
}

fn progress(loads: &mut [Load<'_>]) -> Result<()> {
    loads.iter_mut().try_for_each(Load::progress)
}

fn finish(loads: Vec<Load<'_>>) -> Result<u64> {
    loads.into_iter().map(Load::finish).sum()
}

/// Rounds in which each topic's partitions lead on every broker.
const MOVES_MIN: i32 = 6;
