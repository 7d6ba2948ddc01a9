//! Asks one broker once what it is and what it knows: for whoever looks at a cluster without following it.

use super::discovery::{brokers, cluster_id};
use super::exchange::{Connection, Error, Offered};
use crate::cluster::Broker;
use crate::sasl;
use crate::tls::stream::Transport;

/// What to ask.
#[derive(Clone, Debug)]
pub struct Questions {
    /// The client id of the requests.
    pub client_id: String,
    /// The login that comes first.
    pub credential: Option<sasl::Credential>,
    /// Whether to ask for the brokers of the cluster, which takes a login wherever clients need one. The versions
    /// are told to everybody.
    pub brokers: bool,
}

/// What a broker said.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// What it can be asked.
    pub offered: Vec<Offered>,
    /// The brokers of its cluster that have a valid id, host and port; none where nobody asked.
    pub brokers: Vec<Broker>,
    /// The id of its cluster, if it told.
    pub cluster_id: Option<String>,
}

/// Logs in, asks, and hangs up. Each request has 10 seconds. Cancel safe.
///
/// # Errors
/// [`Error`]: the broker does not answer, refuses the login, or knows no broker.
pub async fn survey(stream: Transport, questions: &Questions) -> Result<Answers, Error> {
    let credential = questions.credential.as_ref();
    let (mut connection, offered) = Connection::introduced(stream, &questions.client_id, credential).await?;
    if !questions.brokers {
        return Ok(Answers { offered, ..Answers::default() });
    }
    let answer = connection.metadata().await?;
    let brokers: Vec<Broker> = brokers(&answer).collect();
    if brokers.is_empty() {
        return Err(Error::NoBrokers);
    }
    Ok(Answers { offered, brokers, cluster_id: cluster_id(&answer) })
}
