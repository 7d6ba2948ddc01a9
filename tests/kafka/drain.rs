//! One of two gateways behind a balancer stops under load: nobody loses or doubles a record.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    Result,
    cluster::{Cluster, NODES, bootstrap},
    gateway::{Gateway, PORT, door, quoted},
    lab::{DOOR, FIRST, Lab, SECOND},
    load::{Load, PLAIN},
    poll::{self, LIMIT},
    relay::Relay,
    suite::no_leaks,
};

/// A drain of the gateway itself.
pub(crate) fn run(lab: &Lab, _cluster: &mut Cluster<'_>) -> Result<String> {
    let first = Gateway::start_with(lab, "gateway-first", &first())?;
    let second = Gateway::start_with(lab, "gateway-second", &second())?;
    let records = hand_over(lab, first)?;
    second.stop()?;
    no_leaks(lab)?;
    Ok(format!("{records} records from idempotent and plain producers, none lost, none doubled"))
}

/// Stops the first of two gateways under load and gives the number of records that all got through. The balancer
/// leaves it as soon as it says that it is not ready, as any balancer does.
pub(crate) fn hand_over(lab: &Lab, mut first: Gateway<'_>) -> Result<u64> {
    let moved = Arc::new(AtomicBool::new(false));
    let _balancer = balancer(lab, &moved)?;
    let mut loads = vec![
        Load::start(lab, "java-4.4", "drained-idempotent", &door())?,
        Load::start_with(lab, "java-4.4", "drained-plain", &door(), &[PLAIN.to_owned()])?,
        Load::start(lab, "franz-go", "drained-franz-go", &door())?,
    ];
    first.terminate()?;
    poll::until_true("the first gateway to be unready", LIMIT, || Ok(!first.ready()))?;
    moved.store(true, Ordering::Relaxed);
    first.wait(LIMIT)?;
    loads.iter_mut().try_for_each(Load::progress)?;
    loads.into_iter().map(Load::finish).sum()
}

/// The configuration of the first gateway.
pub(crate) fn first() -> String {
    configuration(FIRST, "127.0.0.1:9911")
}

/// The configuration of the second.
pub(crate) fn second() -> String {
    configuration(SECOND, "127.0.0.1:9912")
}

fn balancer(lab: &Lab, moved: &Arc<AtomicBool>) -> Result<Vec<Relay>> {
    let ports = std::iter::once(PORT).chain(NODES.iter().zip(PORT + 2..).map(|(_, port)| port));
    let relay = |port| {
        let moved = Arc::clone(moved);
        let target = move || format!("{}:{port}", if moved.load(Ordering::Relaxed) { SECOND } else { FIRST });
        Relay::start(lab, format!("{DOOR}:{port}"), target)
    };
    ports.map(relay).collect()
}

fn configuration(bind: &str, admin: &str) -> String {
    format!(
        "clusters:\n  main: {{ bootstrap: [{}] }}\nlisteners:\n  external:\n    bind: {bind}:{PORT}\n    advertise: {DOOR}\n\
         admin: {{ bind: {admin} }}\nshutdown: {{ ready_delay: 1s, drain_timeout: 30s, hard_stop_after: 60s }}\n",
        quoted(&bootstrap())
    )
}
