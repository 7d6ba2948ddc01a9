//! Listeners of other shapes: IPv6, both families, and ranges that leave a broker out.

use crate::{
    Result,
    clients::{self, Tool},
    cluster::{Cluster, bootstrap},
    gateway::{Gateway, PORT, door, quoted},
    lab::{DOOR, DOOR_V6, Lab, Side},
    records,
    suite::no_leaks,
    wire,
};

/// A listener on IPv6 alone, and one on both families whose clients come in by either.
pub(crate) fn families(lab: &Lab, _cluster: &mut Cluster<'_>) -> Result<String> {
    let configuration = format!(
        "clusters:\n  main: {{ bootstrap: [{}] }}\nlisteners:\n\
         \x20 six:\n    bind: \"[{DOOR_V6}]:{PORT}\"\n    advertise: \"{DOOR_V6}\"\n\
         \x20 both:\n    bind: \"[::]:{BOTH}\"\n    advertise: {DOOR}\n",
        quoted(&bootstrap())
    );
    let gateway = Gateway::start_with(lab, "gateway-families", &configuration)?;
    let doors = [
        ("six", format!("[{DOOR_V6}]:{PORT}"), DOOR_V6, PORT),
        ("both-by-six", format!("[{DOOR_V6}]:{BOTH}"), DOOR, BOTH),
        ("both-by-four", format!("{DOOR}:{BOTH}"), DOOR, BOTH),
    ];
    for (prefix, bootstrap, host, port) in doors {
        for client in ["java-4.4", "franz-go"] {
            round_trip(lab, client, &format!("{prefix}-{client}"), &bootstrap, (host, port))?;
        }
    }
    gateway.stop()?;
    no_leaks(lab)?;
    Ok("IPv6, both by IPv6, both by IPv4: Java and franz-go".to_owned())
}

fn round_trip(
    lab: &Lab,
    client: &str,
    prefix: &str,
    bootstrap: &str,
    (host, port): (&str, u16),
) -> Result<()> {
    let arguments = [
        format!("bootstrap={bootstrap}"),
        "functions=describe,create,produce,consume".to_owned(),
        format!("prefix={prefix}"),
        format!("count={COUNT}"),
    ];
    for outcome in clients::run(lab, Side::Clients, client, &format!("family-{prefix}"), &arguments)? {
        let done = match outcome.function.as_str() {
            "describe" => (1..=3).all(|node| {
                let address = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
                let port = port + 1 + node;
                [address.as_str(), host]
                    .iter()
                    .any(|address| outcome.detail.contains(&format!("{node}={address}:{port}")))
            }),
            "produce" => outcome.sent == COUNT,
            "consume" => outcome.read == COUNT,
            _ => true,
        };
        if !outcome.ok || !done {
            return Err(format!("{client} at {bootstrap}: {outcome:?}").into());
        }
    }
    Ok(())
}

/// Ranges without broker 3: its partitions look leaderless, all others go on, and the gateway says so.
pub(crate) fn unlisted(lab: &Lab, cluster: &mut Cluster<'_>) -> Result<String> {
    let configuration = format!(
        "clusters:\n  main: {{ bootstrap: [{}] }}\nlisteners:\n  external:\n    bind: {DOOR}:{PORT}\n    advertise: {DOOR}\n    \
         routing: {{ port: {{ ranges: [ {{ nodes: 1-2, bind: {} }} ] }} }}\n",
        quoted(&bootstrap()),
        PORT + 2
    );
    let gateway = Gateway::start_with(lab, "gateway-unlisted", &configuration)?;
    around_the_missing(lab, &Tool::new(lab, &cluster.kafka)?)?;
    let unroutable = gateway.metric("gatehouse_brokers_unroutable", &[])?;
    if (unroutable - 1.0).abs() > f64::EPSILON {
        return Err(format!("gatehouse_brokers_unroutable is {unroutable}").into());
    }
    gateway.stop()?;
    no_leaks(lab)?;
    Ok("2000 records written and read around the missing broker".to_owned())
}

/// Unkeyed records go to the partitions that have a leader, and a group reads them.
fn around_the_missing(lab: &Lab, tool: &Tool<'_>) -> Result<()> {
    lab.inside(Side::Brokers, || wire::create_topic(&bootstrap(), TOPIC, &wire::spread(3, 3), &[]))?;
    let server = format!("bootstrap.servers={}", door());
    let load = [
        "--topic",
        TOPIC,
        "--num-records",
        "2000",
        "--record-size",
        "100",
        "--throughput",
        "-1",
        "--producer-props",
        &server,
    ];
    tool.run(
        Side::Clients,
        "org.apache.kafka.tools.ProducerPerformance",
        &[&load[..], &["batch.size=1000"]].concat(),
        None,
    )?;
    let (leaders, read) = lab.inside(Side::Brokers, || {
        Ok((wire::leaders(&bootstrap(), TOPIC)?, records::read_all(&bootstrap(), TOPIC)?))
    })?;
    let mut total = 0;
    for (partition, records) in read {
        let leader = leaders.get(&partition).ok_or("no leader")?.0;
        if (leader == 3) != records.is_empty() {
            return Err(format!(
                "partition {partition}, led by broker {leader}, has {} records",
                records.len()
            )
            .into());
        }
        total += records.len();
    }
    if total != 2000 {
        return Err(format!("{total} of 2000 records").into());
    }
    let arguments = [
        "--topic",
        TOPIC,
        "--group",
        "unlisted-g",
        "--from-beginning",
        "--max-messages",
        "2000",
        "--timeout-ms",
        "60000",
    ];
    let door = door();
    let consumer = "org.apache.kafka.tools.consumer.ConsoleConsumer";
    let read = tool.run(
        Side::Clients,
        consumer,
        &[&["--bootstrap-server", door.as_str()], &arguments[..]].concat(),
        None,
    )?;
    if read.lines().count() != 2000 {
        return Err(format!("the group read {} of 2000 records", read.lines().count()).into());
    }
    Ok(())
}

const TOPIC: &str = "unlisted";
const BOTH: u16 = 29092;
const COUNT: u64 = 100;
