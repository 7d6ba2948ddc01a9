//! The control of every run: a relay that rewrites nothing must leak, else the trap proves nothing.

use crate::{
    Result,
    clients::Tool,
    cluster::{Cluster, PLAIN_PORT},
    lab::{DOOR, Lab, Side},
    poll::{self, LIMIT},
    relay::Relay,
};

/// Lets a producer of the Java client bootstrap through the relay and waits until its leaked dials are counted.
pub(crate) fn run(lab: &Lab, cluster: &Cluster<'_>) -> Result<String> {
    lab.reset_leaks()?;
    let listen = format!("{DOOR}:{PORT}");
    let relay = Relay::start(lab, listen.clone(), || Cluster::address(1, PLAIN_PORT))?;
    let class = "org.apache.kafka.tools.ProducerPerformance";
    let server = format!("bootstrap.servers={listen}");
    let arguments = [
        "--topic",
        "harness-probe",
        "--num-records",
        "10",
        "--record-size",
        "10",
        "--throughput",
        "-1",
        "--producer-props",
        &server,
    ];
    let mut producer = Tool::new(lab, &cluster.kafka)?.spawn(Side::Clients, class, &arguments, None)?;
    let leaks = poll::until("a leaked dial through the relay that rewrites nothing", LIMIT, || {
        let leaks = lab.leaks()?;
        if leaks == 0 && !producer.running()? {
            return Ok(Some(Err(producer.explain("the producer ended"))));
        }
        Ok((leaks > 0).then_some(Ok(leaks)))
    })??;
    drop(producer);
    drop(relay);
    lab.reset_leaks()?;
    if lab.leaks()? != 0 {
        return Err("the count of leaks did not go back to 0".into());
    }
    Ok(format!("{leaks} leaked dials counted"))
}

const PORT: u16 = 19000;
