//! Host names, ports and networks: values that are checked once and trusted from then on.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Why a text is no host or no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Neither an IP address nor a DNS name.
    #[error("not a host name or an IP address")]
    Host,
    /// No port, or none from 1 to 65535.
    #[error("not HOST:PORT with a port from 1 to 65535")]
    Port,
}

/// A DNS name of at most 253 bytes, or an IP address. It holds nothing that could forge a log line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(Box<str>);

impl Host {
    /// Checks a name as a peer sent it. Labels hold letters, digits, `-` and `_`; one trailing dot is
    /// kept. An IPv6 address comes without brackets.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let text = str::from_utf8(text).map_err(|_| Error::Host)?;
        let label = |l: &str| {
            (1..=63).contains(&l.len())
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_name = text.len() <= 253 && name.split('.').all(label);
        if is_name || text.parse::<IpAddr>().is_ok() { Ok(Self(text.into())) } else { Err(Error::Host) }
    }

    /// The name or address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, where the host is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.0.parse().ok()
    }

    /// Whether it is an address that means every machine, or a group of them: no client can connect to it.
    pub fn is_everybodys(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_unspecified() || ip.is_multicast())
    }

    /// Whether it is a name that can only be a mistaken address: `10.0.0.256`.
    pub fn is_mistaken_address(&self) -> bool {
        let last = self.0.rsplit('.').next().unwrap_or_default();
        self.ip().is_none() && !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host and a port. Written as `host:port`, with brackets around an IPv6 address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// The name or address.
    pub host: Host,
    /// The TCP port.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.0.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for HostPort {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (host, port) = text.rsplit_once(':').ok_or(Error::Port)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(Error::Port)?;
        let host = match host.strip_prefix('[') {
            Some(bracketed) => bracketed.strip_suffix(']').ok_or(Error::Host)?,
            None if host.contains(':') => return Err(Error::Host),
            None => host,
        };
        Ok(Self { host: Host::parse(host.as_bytes())?, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_they_are_read() {
        for text in ["kafka-0.kafka.svc:9092", "10.0.0.1:1", "[::1]:65535", "b_1.example.com.:9092"] {
            assert_eq!(text.parse::<HostPort>().map(|h| h.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in
            ["kafka", "kafka:0", "kafka:65536", "::1:9092", "[::1:9092", "a..b:1", "a b:1", ":1", "a@b:1"]
        {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_peer_cannot_smuggle_bytes_into_a_host() {
        let long = vec![b'a'; 64];
        for bytes in [&b"a\nb"[..], b"a\0b", b"\x1b[31m", b"a%25", b"", &long, "caf\u{e9}".as_bytes()] {
            assert_eq!(Host::parse(bytes), Err(Error::Host), "{bytes:?}");
        }
    }
}
