//! Who may read what: the check of the `Host` header, and the token off loopback.

use std::net::IpAddr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::http::uri::Authority;
use hyper::{Request, Version};
use secrecy::{ExposeSecret, SecretString};

/// What stands between a request and the pages.
#[derive(Debug)]
pub(super) struct Guard {
    loopback: bool,
    hosts: Vec<String>,
    token: Option<SecretString>,
}

/// Why a request is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// No `Host`, several, or one that is no address.
    BadHost,
    /// A name that this server does not go by.
    UnknownHost,
    /// A token is needed and none is configured.
    NoToken,
    /// Something is to be changed, which needs a token wherever it comes from, and none is configured.
    NoTokenToChange,
    /// A token is needed and this is not it.
    WrongToken,
}

impl Guard {
    /// `bound` is the address that is listened on; `hosts` are further names of it.
    pub(super) fn new(bound: IpAddr, hosts: &[String], token: Option<SecretString>) -> Self {
        Self { loopback: is_loopback(bound), hosts: hosts.to_vec(), token }
    }

    /// On loopback a page in a browser could reach this server through a name of its own that resolves to
    /// 127.0.0.1 (DNS rebinding), so only known names pass. The port is not looked at: forwarded ports differ.
    pub(super) fn check_host<B>(&self, request: &Request<B>) -> Result<(), Denied> {
        if !self.loopback {
            return Ok(());
        }
        if let Some(authority) = request.uri().authority() {
            self.known(authority.host())?;
        }
        let mut hosts = request.headers().get_all(HOST).iter();
        let Some(host) = hosts.next() else {
            // Old probes speak HTTP/1.0 without a host; browsers do not.
            return if request.version() == Version::HTTP_10 { Ok(()) } else { Err(Denied::BadHost) };
        };
        if hosts.next().is_some() {
            return Err(Denied::BadHost);
        }
        let authority = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
        self.known(authority.as_ref().ok_or(Denied::BadHost)?.host())
    }

    fn known(&self, host: &str) -> Result<(), Denied> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let known = match bare.parse::<IpAddr>() {
            Ok(address) => is_loopback(address),
            Err(_) => {
                let name = bare.strip_suffix('.').unwrap_or(bare);
                name.eq_ignore_ascii_case("localhost")
                    || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
            }
        };
        if known { Ok(()) } else { Err(Denied::UnknownHost) }
    }

    /// Whoever reaches the loopback address may read; from elsewhere all but the probes and the metrics
    /// needs the token.
    pub(super) fn check_token<B>(&self, request: &Request<B>) -> Result<(), Denied> {
        if self.loopback {
            return Ok(());
        }
        is_bearer(request, self.token.as_ref().ok_or(Denied::NoToken)?)
    }

    /// Whatever changes something needs the token, on loopback too: other users of the machine, and pages in
    /// their browsers, reach it there.
    pub(super) fn check_change<B>(&self, request: &Request<B>) -> Result<(), Denied> {
        is_bearer(request, self.token.as_ref().ok_or(Denied::NoTokenToChange)?)
    }
}

/// Whether the request brings the token.
fn is_bearer<B>(request: &Request<B>, token: &SecretString) -> Result<(), Denied> {
    let given = request.headers().get(AUTHORIZATION).map_or(&[][..], |value| value.as_bytes());
    let (scheme, given) = given.split_at_checked(b"Bearer ".len()).ok_or(Denied::WrongToken)?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"Bearer ");
    let is_equal = verify_slices_are_equal(given, token.expose_secret().as_bytes()).is_ok();
    if is_bearer && is_equal { Ok(()) } else { Err(Denied::WrongToken) }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, headers: &[(&str, &str)], version: Version) -> Request<()> {
        let builder = Request::builder().uri(uri).version(version);
        headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value)).body(()).unwrap()
    }

    fn host(guard: &Guard, host: &str) -> Result<(), Denied> {
        guard.check_host(&request("/", &[("host", host)], Version::HTTP_11))
    }

    #[test]
    fn a_browser_cannot_be_led_here_by_a_name_of_its_own() {
        let guard = Guard::new([127, 0, 0, 1].into(), &["gw.example.com".into()], None);
        for known in [
            "localhost",
            "LOCALHOST:8080",
            "localhost.",
            "127.0.0.1:9910",
            "127.8.8.8",
            "[::1]:9910",
            "gw.example.com",
        ] {
            assert_eq!(host(&guard, known), Ok(()), "{known}");
        }
        for unknown in
            ["evil.example", "localhost.evil.example", "10.0.0.1", "[::2]:9910", "0.0.0.0", "169.254.169.254"]
        {
            assert_eq!(host(&guard, unknown), Err(Denied::UnknownHost), "{unknown}");
        }
        for bad in ["", "a b", "http://localhost/"] {
            assert_eq!(host(&guard, bad), Err(Denied::BadHost), "{bad}");
        }
        let twice = request("/", &[("host", "localhost"), ("host", "evil.example")], Version::HTTP_11);
        assert_eq!(guard.check_host(&twice), Err(Denied::BadHost));
        let absolute = request("http://evil.example/", &[("host", "localhost")], Version::HTTP_11);
        assert_eq!(guard.check_host(&absolute), Err(Denied::UnknownHost));
        assert_eq!(guard.check_host(&request("/", &[], Version::HTTP_11)), Err(Denied::BadHost));
        assert_eq!(guard.check_host(&request("/", &[], Version::HTTP_10)), Ok(()));
    }

    #[test]
    fn off_loopback_any_host_passes_and_the_token_counts() {
        let guard = |token: Option<&str>| Guard::new([0, 0, 0, 0].into(), &[], token.map(SecretString::from));
        assert_eq!(host(&guard(None), "pod-7.example"), Ok(()));
        let with = |value: &str| request("/", &[("authorization", value)], Version::HTTP_11);
        assert_eq!(guard(None).check_token(&with("Bearer s3cret")), Err(Denied::NoToken));
        let guard = guard(Some("s3cret"));
        assert_eq!(guard.check_token(&with("Bearer s3cret")), Ok(()));
        assert_eq!(guard.check_token(&with("bearer s3cret")), Ok(()));
        for wrong in ["Bearer s3cre", "Bearer s3cretx", "Bearer ", "Bearer", "s3cret", "Basic s3cret", ""] {
            assert_eq!(guard.check_token(&with(wrong)), Err(Denied::WrongToken), "{wrong}");
        }
        assert_eq!(guard.check_change(&with("Bearer s3cret")), Ok(()));
        let loopback = Guard::new("::ffff:127.0.0.1".parse().unwrap(), &[], Some("s3cret".into()));
        assert_eq!(loopback.check_change(&with("")), Err(Denied::WrongToken), "but not change anything");
        let loopback = Guard::new("::ffff:127.0.0.1".parse().unwrap(), &[], None);
        assert_eq!(loopback.check_change(&with("Bearer ")), Err(Denied::NoTokenToChange));
        assert_eq!(loopback.check_token(&with("")), Ok(()), "whoever reaches loopback may read");
    }
}
