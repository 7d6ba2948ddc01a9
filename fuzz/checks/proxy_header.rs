//! PROXY headers: any bytes are an address, a check of the balancer's own, or a fault.

use gatehouse::proxy_header::parse;

/// Reading is total, and what was read holds if nothing but the last byte is missing.
pub(crate) fn check(bytes: &[u8]) {
    if let Ok(address) = parse(bytes) {
        assert!(bytes.len() >= 15, "a header of {} bytes", bytes.len());
        assert!(address.is_none_or(|address| address.ip() == address.ip().to_canonical()));
        let (_, cut) = bytes.split_last().unwrap();
        assert!(parse(cut).is_err(), "a header that lacks its end");
        assert!(parse(&[bytes, b"\n"].concat()).is_err(), "bytes behind the end");
    }
}
