//! One broker: dialled as the gateway would, asked what it is, and told in a line.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::Time;
use super::fault::{self, Fault};
use super::releases;
use super::report::{Line, days};
use crate::cluster::Broker;
use crate::config::codes::Code;
use crate::connect::{self, Dialer};
use crate::kafka::NodeId;
use crate::net::HostPort;
use crate::tls::client::Connector;
use crate::tls::stream::{Stream, Transport};
use crate::tls::{Version, inspect, lifetime};
use crate::topology::exchange;
use crate::topology::survey::{Answers, Questions, survey};

/// How the brokers of one cluster are asked.
pub(super) struct Asking {
    pub(super) dialer: Dialer,
    /// `None` is plaintext.
    pub(super) tls: Option<Arc<Connector>>,
    /// The same, but it takes any certificate: to see what is wrong with one that was refused. Nothing is sent
    /// over it.
    pub(super) lenient: Option<Arc<Connector>>,
    /// Whether `tls` shows a certificate.
    pub(super) shows: bool,
    pub(super) questions: Questions,
    pub(super) time: Time,
    /// Brokers that are asked at once.
    pub(super) turns: Arc<Semaphore>,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Asked {
    result: Result<Met, Fault>,
}

/// A broker that answered.
#[derive(Debug)]
struct Met {
    facts: Vec<String>,
    /// Whether its certificate does.
    ends_soon: bool,
    answers: Answers,
}

impl Asking {
    /// Asks a broker. Ends with the time of the whole check.
    pub(super) async fn ask(self: Arc<Self>, address: HostPort) -> Asked {
        let result = match timeout_at(self.time.end, self.meet(&address)).await {
            Ok(result) => result,
            Err(_) => Err(Fault::late(self.time.given)),
        };
        Asked { result: result.map_err(|fault| if self.shows { fault } else { fault.of_nobody() }) }
    }

    async fn meet(&self, address: &HostPort) -> Result<Met, Fault> {
        // It is never closed.
        let _turn = self.turns.acquire().await;
        let begin = Instant::now();
        let connected = match self.dialer.dial(address, self.tls.as_deref()).await {
            Ok(connected) => connected,
            Err(error) => return Err(self.explain(address, &error).await),
        };
        let mut facts = Vec::new();
        if address.host.ip().is_none() {
            facts.push(connected.peer.ip().to_string());
        }
        facts.push(format!("{:.1} ms", begin.elapsed().as_secs_f64() * 1e3));
        let mut ends_soon = false;
        if let Transport::Tls(stream) = &connected.stream {
            facts.push(handshake(stream));
            if let Some(shown) =
                stream.peer_certificates().first().and_then(|first| inspect::certificate(first))
            {
                facts.push(format!("certificate {}", left(shown.not_after)));
                ends_soon = lifetime::ends_soon(shown.not_before, shown.not_after, SystemTime::now());
            }
        }
        let asked = survey(connected.stream, &self.questions).await;
        let answers = asked.map_err(|error| self.explain_answer(&error))?;
        facts.extend(self.questions.credential.as_ref().map(|login| login.mechanism.to_string()));
        facts.extend(releases::of(&answers.offered));
        Ok(Met { facts, ends_soon, answers })
    }

    fn explain_answer(&self, error: &exchange::Error) -> Fault {
        fault::of_exchange(error, self.tls.is_some())
    }

    /// Of a certificate that nobody here trusts, a person wants to know who signed it.
    async fn explain(&self, address: &HostPort, error: &connect::Error) -> Fault {
        let mut fault = fault::of_dial(error);
        if fault.code != Code::BrokerUntrusted {
            return fault;
        }
        let Some(lenient) = &self.lenient else { return fault };
        if let Ok(connected) = self.dialer.dial(address, Some(lenient)).await
            && let Transport::Tls(stream) = &connected.stream
            && let Some(last) = stream.peer_certificates().last().and_then(|last| inspect::certificate(last))
        {
            fault.words = format!("certificate is of `{}`, which is not trusted here", last.issuer);
        }
        fault
    }
}

impl Asked {
    /// The line of the broker.
    pub(super) fn line(self, subject: &str, node: Option<NodeId>) -> Line {
        let named = |line: Line| match node {
            Some(node) => line.fact(format!("node {node}")),
            None => line,
        };
        match self.result {
            Err(fault) => fault.line(subject),
            Ok(met) => {
                let line = if met.ends_soon {
                    let hint =
                        "renew the broker's certificate; brokers load it by themselves or by a restart";
                    Line::warn(Code::CertificateEnds, subject).hint(hint)
                } else {
                    Line::ok(subject)
                };
                met.facts.into_iter().fold(named(line), Line::fact)
            }
        }
    }

    /// What the broker said; nothing where it did not answer.
    pub(super) fn answers(&self) -> Option<&Answers> {
        self.result.as_ref().ok().map(|met| &met.answers)
    }

    /// The brokers that it knows.
    pub(super) fn brokers(&self) -> &[Broker] {
        self.answers().map_or(&[], |answers| &answers.brokers)
    }
}

fn handshake(stream: &Stream) -> String {
    let version = match stream.version() {
        Version::Tls12 => "TLS 1.2",
        Version::Tls13 => "TLS 1.3",
    };
    // The name says the version again.
    let cipher = stream.cipher().unwrap_or_default();
    format!("{version} {}", cipher.trim_start_matches("TLS13_").trim_start_matches("TLS_"))
}

/// `61 days left`, `ended 3 days ago`.
pub(super) fn left(end: SystemTime) -> String {
    match end.duration_since(SystemTime::now()) {
        Ok(left) => format!("{} left", days(left)),
        Err(past) => format!("ended {} ago", days(past.duration())),
    }
}
