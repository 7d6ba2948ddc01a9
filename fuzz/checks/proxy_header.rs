//! PROXY headers: any bytes are an address, a check of the balancer's own, or a fault.

use gatehouse::proxy_header::{Origin, parse};

/// Reading is total, and what was read holds if nothing but the last byte is missing.
pub(crate) fn check(bytes: &[u8]) {
    if let Ok(origin) = parse(bytes) {
        assert!(bytes.len() >= 15, "a header of {} bytes", bytes.len());
        if let Origin::Client(address) = origin {
            assert_eq!(address.ip(), address.ip().to_canonical());
        }
        let (_, cut) = bytes.split_last().unwrap();
        assert!(parse(cut).is_err(), "a header that lacks its end");
        assert!(parse(&[bytes, b"\n"].concat()).is_err(), "bytes behind the end");
    }
}
