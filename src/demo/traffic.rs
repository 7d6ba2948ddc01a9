//! The demo's own clients: for each partition one that writes slowly and one that reads.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Records;
use super::client::{Client, Error};
use crate::tls::client::Connector;

/// How long a writer rests after a record: three of them write two records in a second.
const REST: Duration = Duration::from_millis(1_500);

/// How long a client rests after a failure.
const REST_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Clients that run.
pub(super) struct Traffic {
    records: watch::Sender<Records>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Traffic {
    /// Starts to write to and read from every partition of a topic, through a gateway on localhost.
    pub(super) fn start(door: &Door, topic: &'static str, partitions: i32, runtime: &Handle) -> Self {
        let traffic = Self {
            records: watch::Sender::new(Records::default()),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        for partition in 0..partitions {
            for role in [Role::Writer, Role::Reader] {
                let place = Place { door: door.clone(), topic, partition };
                let (records, stop) = (traffic.records.clone(), traffic.stop.clone());
                let task = async move {
                    stop.run_until_cancelled(keep_on(&place, role, &records)).await;
                };
                traffic.tasks.spawn_on(task, runtime);
            }
        }
        traffic
    }

    /// How many records were written and read.
    pub(super) fn records(&self) -> Records {
        *self.records.borrow()
    }

    /// Waits until so much was written and read.
    pub(super) async fn until(&self, condition: impl FnMut(&Records) -> bool) {
        // The sender lives in self, so this cannot fail.
        let _ = self.records.subscribe().wait_for(condition).await;
    }

    /// Stops, and waits until all connections are closed.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Where the gateway is on localhost.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) port: u16,
    /// `None` is plaintext.
    pub(super) tls: Option<Arc<Connector>>,
}

struct Place {
    door: Door,
    topic: &'static str,
    partition: i32,
}

#[derive(Clone, Copy)]
enum Role {
    Writer,
    Reader,
}

/// Does what its role is, from the start again after each failure: a leader may move.
async fn keep_on(place: &Place, role: Role, records: &watch::Sender<Records>) {
    let mut offset = 0;
    loop {
        let failed = match role {
            Role::Writer => write(place, records).await,
            Role::Reader => read(place, &mut offset, records).await,
        };
        if let Err(error) = failed {
            tracing::debug!(
                partition = place.partition,
                error = &error as &dyn std::error::Error,
                "demo traffic"
            );
        }
        tokio::time::sleep(REST_AFTER_FAILURE).await;
    }
}

/// A connection to the leader of a partition, as the gateway tells it.
async fn leader(place: &Place) -> Result<Client, Error> {
    let tls = place.door.tls.as_deref();
    let mut first = Client::connect("localhost", place.door.port, tls).await?;
    let (host, port) = first.leader(place.topic, place.partition).await?;
    Client::connect(&host, port, tls).await
}

async fn write(place: &Place, records: &watch::Sender<Records>) -> Result<(), Error> {
    let mut client = leader(place).await?;
    loop {
        let written = records.borrow().written;
        let value = format!("record {written} of the demo, partition {}", place.partition);
        client.produce(place.topic, place.partition, value).await?;
        records.send_modify(|records| records.written += 1);
        tokio::time::sleep(REST).await;
    }
}

async fn read(place: &Place, offset: &mut i64, records: &watch::Sender<Records>) -> Result<(), Error> {
    let mut client = leader(place).await?;
    loop {
        let next = client.fetch(place.topic, place.partition, *offset).await?;
        let came = u64::try_from(next - *offset).unwrap_or_default();
        records.send_modify(|records| records.read += came);
        *offset = next;
    }
}
