//! Why a broker is not reached or does not answer, told in a few words, with a code and what to do.

use std::io;
use std::time::{Duration, SystemTime};

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError};

use super::report::{Line, days};
use crate::config::codes::Code;
use crate::connect;
use crate::logging::chain;
use crate::tls::stream;
use crate::topology::exchange;

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: Code,
    pub(super) words: String,
    pub(super) hint: String,
}

impl Fault {
    pub(super) fn new(code: Code, words: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, words: words.into(), hint: hint.into() }
    }

    /// The line of a broker that has it.
    pub(super) fn line(self, subject: &str) -> Line {
        Line::fail(self.code, subject).fact(self.words).hint(self.hint)
    }

    /// The same for a broker that was shown no certificate: some say that the one they did not get is bad.
    pub(super) fn of_nobody(self) -> Self {
        if self.code != Code::GatewayCertificate {
            return self;
        }
        let hint = "the broker wants a certificate and is shown none: `discovery.tls` of the cluster is the gateway's own";
        Self { hint: hint.to_owned(), ..self }
    }

    /// Nothing came before the time was up.
    pub(super) fn late(within: Duration) -> Self {
        let words = format!("no answer within {}", humantime::format_duration(within));
        Self::new(Code::CheckTooLong, words, "`--timeout` gives it more time")
    }
}

/// A broker that was not reached.
pub(super) fn of_dial(error: &connect::Error) -> Fault {
    use connect::Error;
    const LISTENS: &str =
        "does a broker listen there, and does every firewall between let this machine through?";
    match error {
        Error::Resolve { source, .. } => Fault::new(
            Code::BrokerUnresolved,
            format!("the name does not resolve: {source}"),
            "the name is the cluster's or the file's own; it must resolve where the gateway runs",
        ),
        Error::ResolveTimeout { .. } => Fault::new(
            Code::BrokerUnresolved,
            "the resolver does not answer",
            "see /etc/resolv.conf of this machine or container",
        ),
        Error::NoAddress { .. } => Fault::new(
            Code::BrokerUnreachable,
            "it has no address that can be dialled from here",
            "`source_address` and the broker must be of one family, IPv4 or IPv6",
        ),
        Error::Refused { resolved, source, .. } => Fault::new(
            Code::BrokerForbidden,
            format!("may not be dialled at {resolved}: {source}"),
            "`allow` of the cluster lists what it may advertise",
        ),
        Error::Connect { resolved, source, .. } => {
            Fault::new(Code::BrokerUnreachable, format!("{resolved}: {}", plain(source)), LISTENS)
        }
        Error::Timeout { resolved, .. } => {
            Fault::new(Code::BrokerUnreachable, format!("no answer at {resolved}"), LISTENS)
        }
        Error::Name { .. } => Fault::new(
            Code::BrokerName,
            "no certificate can be for such a name",
            "have the broker advertise a DNS name or an address",
        ),
        Error::Tls { source, .. } => of_tls(source),
        Error::TlsTimeout { .. } => not_tls("it accepts connections but does not answer a TLS hello"),
    }
}

fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::TimedOut => "no answer".to_owned(),
        _ => error.to_string(),
    }
}

fn not_tls(words: &str) -> Fault {
    Fault::new(
        Code::BrokerSpeaksNoTls,
        words,
        "is this the port of a TLS listener (SSL or SASL_SSL)? Without `tls:` the cluster is spoken to in the clear",
    )
}

fn of_tls(error: &stream::Error) -> Fault {
    match error {
        stream::Error::Closed => not_tls("the connection was closed at the TLS hello"),
        stream::Error::Io(source) if source.kind() == io::ErrorKind::ConnectionReset => {
            not_tls("the connection was reset at the TLS hello")
        }
        stream::Error::Io(source) => {
            Fault::new(Code::BrokerTls, format!("the TLS handshake broke: {source}"), "try again")
        }
        stream::Error::Tls(fault) => of_rustls(fault, error.reason()),
        stream::Error::Refused { fault, .. } => of_rustls(fault, error.reason()),
    }
}

fn of_rustls(fault: &rustls::Error, reason: &str) -> Fault {
    match fault {
        rustls::Error::InvalidMessage(_) => not_tls("what answers a TLS hello is not TLS"),
        rustls::Error::AlertReceived(alert) => of_alert(*alert),
        rustls::Error::InvalidCertificate(error) => of_certificate(error),
        _ => Fault::new(
            Code::BrokerTls,
            format!("the TLS handshake fails ({reason}): {fault}"),
            "compare versions and cipher suites of both sides: `min_version` here, `ssl.enabled.protocols` there",
        ),
    }
}

fn of_alert(alert: AlertDescription) -> Fault {
    let (code, hint) = match alert {
        AlertDescription::CertificateRequired
        | AlertDescription::NoCertificate
        | AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRevoked
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::AccessDenied => (
            Code::GatewayCertificate,
            "the broker does not take the certificate that it is shown; its log says why, most often that the \
             authority is not in its trust store",
        ),
        _ => (Code::BrokerTls, "the broker ends the handshake with this alert; its log says why"),
    };
    Fault::new(code, format!("the broker says: {alert:?}"), hint)
}

fn of_certificate(error: &CertificateError) -> Fault {
    const RENEW: &str =
        "renew the broker's certificate; if it was renewed, restart the broker or see what it loaded";
    match error {
        CertificateError::ExpiredContext { time, not_after } => {
            let ago = Duration::from_secs(time.as_secs().saturating_sub(not_after.as_secs()));
            Fault::new(
                Code::BrokerCertificateExpired,
                format!("certificate expired {} ago", days(ago)),
                RENEW,
            )
        }
        CertificateError::Expired => Fault::new(Code::BrokerCertificateExpired, "certificate expired", RENEW),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Fault::new(
            Code::BrokerCertificateExpired,
            "certificate not valid yet",
            format!("is a clock wrong? Here it is {}", now()),
        ),
        CertificateError::NotValidForNameContext { presented, .. } => Fault::new(
            Code::BrokerName,
            format!("certificate is for {}", names(presented)),
            "give the broker a certificate for the name that it advertises; `verify: ca` leaves the name out",
        ),
        CertificateError::NotValidForName => Fault::new(
            Code::BrokerName,
            "certificate is for another name",
            "give the broker a certificate for the name that it advertises; `verify: ca` leaves the name out",
        ),
        CertificateError::UnknownIssuer => Fault::new(
            Code::BrokerUntrusted,
            "certificate is of an authority that is not trusted here",
            "`tls.ca` of the cluster names the authority of the brokers",
        ),
        other => Fault::new(
            Code::BrokerTls,
            format!("certificate is refused: {other}"),
            "`openssl s_client -connect HOST:PORT -showcerts` shows what the broker presents",
        ),
    }
}

fn now() -> String {
    let now = Duration::from_secs(UnixTime::now().as_secs());
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + now).to_string()
}

/// webpki writes `DnsName("kafka-0")`.
fn names(presented: &[String]) -> String {
    const SHOWN_MAX: usize = 4;
    let bare = |text: &String| text.split('"').nth(1).unwrap_or(text).to_owned();
    let shown: Vec<String> = presented.iter().take(SHOWN_MAX).map(bare).collect();
    match presented.len().saturating_sub(SHOWN_MAX) {
        _ if shown.is_empty() => "no name at all".to_owned(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A broker that was reached and did not answer as it should.
pub(super) fn of_exchange(error: &exchange::Error, tls: bool) -> Fault {
    use exchange::Error;
    const SPEAKS: &str =
        "is this a port for Kafka clients, and does it speak what the cluster's `tls:` says?";
    match error {
        Error::Dial(error) => of_dial(error),
        Error::Io { source, .. } => match alert(source) {
            Some(alert) => of_alert(alert),
            None => Fault::new(Code::NotKafka, chain(error), SPEAKS),
        },
        Error::Closed { during, .. } if !tls => Fault::new(
            Code::NotKafka,
            format!("it closed the connection at {during}"),
            "it may want TLS (`tls: { ca: FILE }` in the cluster) or a login (`discovery.sasl`)",
        ),
        Error::Closed { during, .. } => Fault::new(
            Code::NotKafka,
            format!("it closed the connection at {during}"),
            "it may want a login (`discovery.sasl`), or be going down",
        ),
        Error::Length { foreign, .. } if foreign.contains("TLS") => Fault::new(
            Code::NotKafka,
            "the port speaks TLS",
            "say so in the cluster: `tls: { ca: FILE }`, or `tls: {}` for the authorities of the system",
        ),
        Error::Timeout { .. }
        | Error::Length { .. }
        | Error::Correlation { .. }
        | Error::Malformed { .. }
        | Error::Undecodable { .. }
        | Error::Version
        | Error::Internal => Fault::new(Code::NotKafka, chain(error), SPEAKS),
        Error::Refused { during: "SaslHandshake" | "SaslAuthenticate", .. }
        | Error::Mechanism { .. }
        | Error::Login(_) => Fault::new(
            Code::Login,
            chain(error),
            "`discovery.sasl` is the gateway's own login; the broker's log says why it was refused",
        ),
        Error::Refused { .. } | Error::TooManyNodes(_) | Error::NoBrokers | Error::OtherCluster { .. } => {
            Fault::new(
                Code::ClusterAnswer,
                chain(error),
                "do all bootstrap addresses lead to one running cluster?",
            )
        }
    }
}

/// In TLS 1.3 a server refuses a client's certificate after the client's handshake is over.
fn alert(error: &io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_certificate_has_are_told_bare() {
        let of = |texts: &[&str]| names(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["DnsName(\"kafka-0\")", "10.0.0.1"]), "kafka-0, 10.0.0.1");
        assert_eq!(of(&["a", "b", "c", "d", "e", "f"]), "a, b, c, d and 2 more");
        assert_eq!(of(&[]), "no name at all");
    }

    #[test]
    fn an_alert_after_the_handshake_is_found_in_the_broken_connection() {
        let refused = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
        let source = io::Error::new(io::ErrorKind::InvalidData, refused);
        let fault = of_exchange(&exchange::Error::Io { during: "ApiVersions", source }, true);
        assert_eq!(fault.code, Code::GatewayCertificate);
        assert!(!fault.hint.contains("discovery.tls"), "{}", fault.hint);
        assert!(fault.of_nobody().hint.contains("discovery.tls"));
    }
}
