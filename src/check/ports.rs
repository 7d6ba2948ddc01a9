//! The ports that the file names: free, held by the gateway that runs, or somebody else's.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use secrecy::ExposeSecret as _;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout_at;

use super::Time;
use super::report::Line;
use crate::admin;
use crate::config::Listener;
use crate::config::codes::Code;
use crate::listen;

/// The longest answer of an admin address that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// Ports of one listener that are told one by one.
const TOLD_MAX: usize = 3;

/// What is at the admin address of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Admin {
    /// The file has none.
    Off,
    /// Nobody.
    Free,
    /// A gateway that binds these.
    Gateway(Vec<SocketAddr>),
    /// A gateway that does not tell what it binds.
    Silent,
    /// Somebody else.
    Taken,
    /// It cannot be bound, and that is why.
    Refused(String),
}

impl Admin {
    /// Looks there. Asks for nothing but what it reads.
    pub(super) async fn look(options: &admin::Options, time: Time) -> Self {
        let Some(address) = options.bind else { return Self::Off };
        match admin::bind(options).await {
            Ok(_free) => Self::Free,
            Err(admin::Error::Bind { source, .. }) if source.kind() != io::ErrorKind::AddrInUse => {
                Self::Refused(source.to_string())
            }
            Err(admin::Error::Bind { .. }) => match timeout_at(time.end, ask(address, options)).await {
                Ok(Ok(answer)) => Self::of(&answer),
                Ok(Err(_)) | Err(_) => Self::Taken,
            },
        }
    }

    fn of(answer: &[u8]) -> Self {
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let (head, body) = answer.split_at(end.map_or(answer.len(), |end| end + 4));
        let status = head.get(9..12).unwrap_or_default();
        let document: Value = serde_json::from_slice(body).unwrap_or_default();
        match (status, document.get("listeners").and_then(Value::as_array)) {
            (b"200", Some(listeners)) => Self::Gateway(listeners.iter().flat_map(bound).collect()),
            (b"401" | b"403" | b"421", None) if document.get("title").is_some() => Self::Silent,
            _ => Self::Taken,
        }
    }

    /// The line about the address itself; none where there is no address.
    pub(super) fn line(&self, options: &admin::Options) -> Option<Line> {
        let address = options.bind?;
        Some(match self {
            Self::Off => return None,
            Self::Free => Line::ok(format!("{address} is free")),
            Self::Gateway(_) | Self::Silent => Line::ok(format!("{address}: a gateway runs here")),
            Self::Taken => taken(address),
            Self::Refused(why) => refused(address, why),
        })
    }

    /// The lines about the ports of a listener. Each is bound for a moment.
    pub(super) fn ports(&self, listener: &Listener) -> Vec<Line> {
        let options = &listener.listen;
        let told = |state: &str| {
            let first: Vec<_> =
                options.binds.iter().map(|bind| SocketAddr::new(bind.ip, options.port)).collect();
            let first: Vec<_> = first.iter().map(ToString::to_string).collect();
            let brokers = options.routes.bindings().count();
            let first = first.join(", ");
            match brokers {
                0 => format!(
                    "{first} {}",
                    if options.binds.len() == 1 { format!("is {state}") } else { format!("are {state}") }
                ),
                1 => format!("{first} and the port of 1 broker are {state}"),
                brokers => format!("{first} and the ports of {brokers} brokers are {state}"),
            }
        };
        let errors = listen::unavailable(options);
        if errors.is_empty() {
            return vec![Line::ok(told("free"))];
        }
        let own: &[SocketAddr] = if let Self::Gateway(own) = self { own } else { &[] };
        let faults: Vec<_> = errors
            .iter()
            .filter(|error| {
                !(error.source.kind() == io::ErrorKind::AddrInUse && own.contains(&error.address))
            })
            .collect();
        if faults.is_empty() {
            return vec![Line::ok(told("held by the gateway that runs"))];
        }
        let mut lines: Vec<Line> = faults.iter().take(TOLD_MAX).map(|error| self.fault(error)).collect();
        if let (Some(last), more @ 1..) = (lines.last_mut(), faults.len().saturating_sub(TOLD_MAX)) {
            last.subject = format!("{}, and so are {more} more", last.subject);
        }
        lines
    }

    fn fault(&self, error: &listen::Error) -> Line {
        let address = error.address;
        match (error.source.kind(), self) {
            (io::ErrorKind::AddrInUse, Self::Off | Self::Silent) => {
                let hint = "if that is the gateway, all is well; with `admin.bind` and `admin.token` this check can tell";
                Line::warn(Code::PortTaken, format!("{address} is taken")).hint(hint)
            }
            (io::ErrorKind::AddrInUse, _) => taken(address),
            (_, _) => refused(address, &error.source.to_string()),
        }
    }
}

fn taken(address: SocketAddr) -> Line {
    let hint = format!("`ss -ltnp 'sport = :{}'` shows by whom", address.port());
    Line::fail(Code::PortTaken, format!("{address} is taken")).hint(hint)
}

fn refused(address: SocketAddr, why: &str) -> Line {
    let hint = if address.port() < 1024 {
        "ports below 1024 take the capability CAP_NET_BIND_SERVICE"
    } else {
        "is the address one of this machine's? `ip address` lists them"
    };
    Line::fail(Code::PortRefused, format!("{address} cannot be bound: {why}")).hint(hint)
}

/// Asks the admin address what its gateway binds.
async fn ask(address: SocketAddr, options: &admin::Options) -> io::Result<Vec<u8>> {
    let reached = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), address.port()),
        IpAddr::V4(_) | IpAddr::V6(_) => address,
    };
    // On loopback none is needed, and whoever listens there need not be a gateway.
    let token = options.token.as_ref().filter(|_| !address.ip().is_loopback());
    let token = token.map(|token| format!("Authorization: Bearer {}\r\n", token.expose_secret()));
    let request = format!(
        "GET /api/v1/listeners HTTP/1.1\r\nHost: {reached}\r\n{}Connection: close\r\n\r\n",
        token.unwrap_or_default()
    );
    let mut stream = TcpStream::connect(reached).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(answer)
}

/// What one listener of a running gateway binds.
fn bound(listener: &Value) -> Vec<SocketAddr> {
    let list = |name: &str| listener.get(name).and_then(Value::as_array).into_iter().flatten();
    let bootstrap: Vec<SocketAddr> = list("bind").filter_map(|bind| bind.as_str()?.parse().ok()).collect();
    let mut bound = bootstrap.clone();
    for range in list("ranges") {
        let number = |name: &str| range.get(name).and_then(Value::as_u64);
        let (Some(first), Some(last), Some(port)) =
            (number("first_node"), number("last_node"), number("bind"))
        else {
            continue;
        };
        let ports = (port..=port.saturating_add(last.saturating_sub(first)))
            .map_while(|port| u16::try_from(port).ok());
        for port in ports {
            bound.extend(bootstrap.iter().map(|address| SocketAddr::new(address.ip(), port)));
        }
    }
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_told_from_others_by_its_answer() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{ \"listeners\": [ { \"name\": \"a\",
            \"bind\": [\"127.0.0.1:9092\", \"[::1]:9092\"],
            \"ranges\": [ { \"first_node\": 0, \"last_node\": 1, \"bind\": 9093 }, { \"first_node\": 7, \"last_node\": 7, \"bind\": null } ] } ] }";
        let expected =
            ["127.0.0.1:9092", "[::1]:9092", "127.0.0.1:9093", "[::1]:9093", "127.0.0.1:9094", "[::1]:9094"];
        assert_eq!(
            Admin::of(answer),
            Admin::Gateway(expected.map(|address| address.parse().unwrap()).into())
        );
        let denied = b"HTTP/1.1 401 Unauthorized\r\n\r\n{\"title\":\"a token is needed\"}";
        assert_eq!(Admin::of(denied), Admin::Silent);
        for other in
            [&b""[..], b"HTTP/1.1 200 OK\r\n\r\nhello", b"SSH-2.0-OpenSSH", b"HTTP/1.1 404 x\r\n\r\n{}"]
        {
            assert_eq!(Admin::of(other), Admin::Taken);
        }
    }
}
