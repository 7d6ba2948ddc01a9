//! Certificates and revocation lists: whatever they say, names are bounded, and nothing but an answer comes out.

use std::sync::LazyLock;

use gatehouse::logging::printable;
use gatehouse::tls::inspect;
use gatehouse::tls::principal::NAME_BYTES_MAX;
use gatehouse::tls::rules::Rules;

static RULES: LazyLock<Option<Rules>> =
    LazyLock::new(|| Rules::parse("RULE:^CN=(.*?)(,.*)?$/$1@$2/L, RULE:[^,]*/<$0>/U, DEFAULT").ok());

/// `data` is a file: DER or PEM.
pub(crate) fn check(data: &[u8]) {
    let _ = inspect::read(data);
    let Some(certificate) = inspect::certificate(data) else { return };
    for name in [&certificate.subject, &certificate.issuer] {
        assert!(name.len() <= NAME_BYTES_MAX);
        assert!(!printable::signed_name(name).contains(char::is_control));
        let Some(rules) = &*RULES else { panic!("these are rules") };
        if let Ok(principal) = rules.apply(name) {
            assert!(principal.len() <= NAME_BYTES_MAX);
        }
    }
    for host in ["kafka.example.com", "b0.kafka.example.com", "10.0.0.1", "::1", "", "."] {
        let _ = certificate.covers(host);
    }
}
