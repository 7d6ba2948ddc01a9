//! Which networks clients may come from.

use std::net::IpAddr;

use ipnet::IpNet;

/// The client networks that a listener serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// Only these; every network when empty.
    pub allow: Vec<IpNet>,
    /// Not these, whatever is allowed.
    pub deny: Vec<IpNet>,
}

impl Networks {
    /// Whether a client may connect. An IPv4 address that came over a dual-stack socket is IPv4.
    pub fn admit(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        let within = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&client));
        !within(&self.deny) && (self.allow.is_empty() || within(&self.allow))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(allow: &[&str], deny: &[&str]) -> Networks {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Networks { allow: parse(allow), deny: parse(deny) }
    }

    #[test]
    fn a_denied_network_wins_over_an_allowed_one() {
        let networks = networks(&["10.0.0.0/8"], &["10.1.0.0/16"]);
        assert!(networks.admit("10.2.0.1".parse().unwrap()));
        assert!(!networks.admit("10.1.0.1".parse().unwrap()));
        assert!(!networks.admit("192.0.2.1".parse().unwrap()));
        assert!(networks.admit("::ffff:10.2.0.1".parse().unwrap()), "IPv4 over a dual-stack socket");
    }

    #[test]
    fn every_network_is_served_unless_some_are_named() {
        assert!(Networks::default().admit("2001:db8::1".parse().unwrap()));
        assert!(!networks(&[], &["2001:db8::/32"]).admit("2001:db8::1".parse().unwrap()));
    }
}
