//! The traps of the protocol that need the state of a connection, each by its number in `docs/traps.md`.

use gatehouse::kafka::api::{self, Request};
use gatehouse::relay::violation::Violation;

use crate::connection;
use crate::frames::{frame, metadata_v1, metadata_v1_routed, produce_body, request, response};

#[test]
fn trap_1_nothing_is_awaited_for_a_produce_with_acks_0() {
    for version in 0..=13 {
        for window in [1, 7, 4096] {
            let mut shell = connection();
            let produce = request(0, version, 1, &produce_body(version, 0, 500));
            let sent = [produce.clone(), produce, request(3, 1, 2, &[0, 0, 0, 0])].concat();
            shell.client(&sent, window);
            assert_eq!(shell.requests.output, sent, "version {version}");
            assert_eq!(shell.core.in_flight().len(), 1);
            shell.broker(&metadata_v1(2, 20), window);
            assert_eq!(shell.responses.output, metadata_v1_routed(2, 20), "version {version}");
            assert!(shell.core.in_flight().is_empty());
        }
        // Any other acks is answered, a wrong one with an error.
        for acks in [-1, 1, 2, i16::MIN] {
            let mut shell = connection();
            shell.client(&request(0, version, 1, &produce_body(version, acks, 500)), 64);
            assert_eq!(shell.core.in_flight().len(), 1, "version {version}, acks {acks}");
        }
    }
}

#[test]
fn trap_10_the_broker_sees_the_requests_of_the_client_and_no_other() {
    // As the Java client begins with SASL: one ApiVersions of version 0, then the handshake. A broker
    // closes on a second ApiVersions before the handshake.
    let start = [
        request(18, 0, 1, &[]),
        request(17, 1, 2, b"\x00\x05PLAIN"),
        request(36, 0, 3, b"\x00\x00\x00\x05\x00u\x00pw"),
        request(18, 4, 4, b"\x02j\x021\x00"),
    ];
    let answers = [
        response(1, &[0, 0, 0, 0, 0, 0]),
        response(2, b"\x00\x00\x00\x00\x00\x01\x00\x05PLAIN"),
        response(3, &[0, 0, 0xff, 0xff, 0, 0, 0, 0]),
        response(4, &[0, 0, 1, 0, 0, 0, 0, 0]),
    ];
    let mut shell = connection();
    assert!(shell.requests.output.is_empty());
    for (nth, (request, answer)) in start.iter().zip(&answers).enumerate() {
        shell.client(request, 4096);
        assert_eq!(shell.requests.output, start[..=nth].concat());
        shell.broker(answer, 4096);
        assert_eq!(shell.responses.output, answers[..=nth].concat());
    }
}

#[test]
fn trap_11_raw_tokens_of_sasl_handshake_0_pass_empty_ones_too() {
    for (mechanism, tokens) in [("PLAIN", 1), ("OAUTHBEARER", 1), ("SCRAM-SHA-256", 2), ("SCRAM-SHA-512", 2)]
    {
        for window in [1, 5, 4096] {
            let mut shell = connection();
            let name = [&[0, mechanism.len() as u8], mechanism.as_bytes()].concat();
            let handshake = request(17, 0, 1, &name);
            let answer = response(1, &[0, 0, 0, 0, 0, 0]);
            // A token is no Kafka frame: this one would be a Produce of an unknown version.
            let token = frame(&[0, 0, 0x7f, 0xff, 0, 0, 0, 9, 9]);
            let (mut sent, mut received) = (handshake.clone(), answer.clone());
            // The client does not wait for the answer before it sends its first token.
            shell.client(&[handshake, token.clone()].concat(), window);
            assert_eq!(shell.requests.output, sent, "a token passed before its handshake was accepted");
            shell.broker(&answer, window);
            sent.extend(&token);
            assert_eq!(shell.requests.output, sent);
            for nth in 1..=tokens {
                if nth > 1 {
                    shell.client(&token, window);
                    sent.extend(&token);
                }
                assert_eq!(shell.requests.output, sent);
                // The reply to PLAIN is empty: a length of 0 and nothing more.
                let reply = if nth == tokens { frame(&[]) } else { frame(b"r=nonce") };
                shell.broker(&reply, window);
                received.extend(&reply);
                assert_eq!(shell.responses.output, received);
            }
            // Kafka again.
            shell.client(&request(3, 1, 2, &[0, 0, 0, 0]), window);
            shell.broker(&metadata_v1(2, 3), window);
            received.extend(metadata_v1_routed(2, 3));
            assert_eq!(shell.responses.output, received);
            assert_eq!((shell.requests.violation, shell.responses.violation), (None, None));
        }
    }
}

#[test]
fn trap_11_an_answer_to_sasl_handshake_0_without_an_error_code_closes() {
    let mut shell = connection();
    shell.client(&request(17, 0, 1, b"\x00\x05PLAIN"), 4096);
    shell.broker(&response(1, &[]), 4096);
    assert!(matches!(shell.responses.violation, Some(Violation::Response { api: "SaslHandshake", .. })));
    assert!(shell.responses.output.is_empty());
}

#[test]
fn trap_11_a_mechanism_whose_tokens_cannot_be_counted_is_refused_and_a_refusal_has_no_tokens() {
    let mut shell = connection();
    shell.client(&request(17, 0, 1, b"\x00\x06GSSAPI"), 4096);
    assert_eq!(shell.requests.violation, Some(Violation::HandshakeV0));
    assert!(shell.requests.output.is_empty());

    let mut shell = connection();
    shell.client(&request(17, 0, 1, b"\x00\x05PLAIN"), 4096);
    shell.broker(&response(1, &[0, 33, 0, 0, 0, 0]), 4096);
    // What comes after error 33 is a request, not a token.
    shell.client(&request(3, 1, 2, &[0, 0, 0, 0]), 4096);
    shell.broker(&metadata_v1(2, 0), 4096);
    assert!(shell.responses.output.ends_with(&metadata_v1_routed(2, 0)));
}

#[test]
fn trap_12_requests_that_repeat_a_correlation_id_are_told_apart_by_their_order() {
    // Java gives its SASL requests reserved ids, over and over.
    let id = 0x7fff_fff8;
    let mut shell = connection();
    shell.client(
        &[request(12, 0, id, &[7; 30]), request(3, 1, id, &[0; 4]), request(12, 0, id, &[7; 30])].concat(),
        4096,
    );
    assert_eq!(shell.core.in_flight().len(), 3);
    // The bodies of both heartbeats look like a broker list: only the second response is one.
    let like_metadata = metadata_v1(id, 5);
    for _ in 0..3 {
        shell.broker(&like_metadata, 11);
    }
    let expected = [like_metadata.clone(), metadata_v1_routed(id, 5), like_metadata].concat();
    assert_eq!(shell.responses.output, expected);
    assert_eq!(shell.responses.violation, None);
}

#[test]
fn trap_12_a_response_out_of_order_does_not_pass() {
    let mut shell = connection();
    shell.client(&[request(12, 0, 1, &[7; 30]), request(3, 1, 2, &[0; 4])].concat(), 4096);
    shell.broker(&metadata_v1(2, 5), 4096);
    assert_eq!(shell.responses.violation, Some(Violation::CorrelationId { expected: 1, found: 2 }));
    assert!(shell.responses.output.is_empty());
}

#[test]
fn trap_13_the_node_that_a_client_means_reaches_the_broker_as_it_is() {
    // ApiVersions 5: software name and version, cluster id, node id (KIP-1242).
    let body = b"\x02j\x021\x0aa-cluster\x00\x00\x00\x05\x00";
    let mut shell = connection();
    shell.client(&request(18, 5, 1, body), 3);
    assert_eq!(shell.requests.output, request(18, 5, 1, body));
    // Another broker than the client meant: the client must learn of it.
    let mismatch = response(1, &[0, 129, 1, 0, 0, 0, 0, 0]);
    shell.broker(&mismatch, 3);
    assert_eq!(shell.responses.output, mismatch);
}

#[test]
fn trap_14_a_version_that_the_table_does_not_know_closes_and_never_reaches_the_broker() {
    for api in &api::APIS {
        for version in [api.newest + 1, i16::MAX, -1] {
            let mut shell = connection();
            shell.client(&request(api.key, version, 1, &[0; 40]), 4096);
            assert!(shell.requests.output.is_empty(), "{} {version} passed", api.name);
            match api.request {
                Request::ApiVersions => {
                    // As a broker answers it: error 35 in the layout of version 0, ApiVersions alone.
                    let answer = response(1, &[0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 5]);
                    assert_eq!(shell.responses.output, answer);
                    assert_eq!(shell.requests.violation, None);
                }
                Request::Forward | Request::Produce | Request::SaslHandshake | Request::Refuse => {
                    let Some(violation) = shell.requests.violation else { panic!("{} {version}", api.name) };
                    let word = if api.request == Request::Refuse { "refused_api" } else { "unknown_version" };
                    // An unknown version of a refused API is refused for either reason.
                    assert!([word, "unknown_version"].contains(&violation.reason()), "{violation}");
                }
            }
        }
    }
    let mut shell = connection();
    shell.client(&request(95, 0, 1, &[0; 40]), 4096);
    assert_eq!(shell.requests.violation, Some(Violation::UnknownApi { key: 95, version: 0 }));
}

#[test]
fn trap_14_the_answer_to_an_unknown_api_versions_waits_its_turn() {
    let mut shell = connection();
    shell.client(
        &[request(3, 1, 1, &[0; 4]), request(18, 77, 2, &[]), request(12, 0, 3, &[7; 30])].concat(),
        9,
    );
    assert!(shell.responses.output.is_empty(), "the answer overtook a response");
    let heartbeat = response(3, &[0, 0]);
    shell.broker(&[metadata_v1(1, 8), heartbeat.clone()].concat(), 9);
    let answer = response(2, &[0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 5]);
    assert_eq!(shell.responses.output, [metadata_v1_routed(1, 8), answer, heartbeat].concat());
}

#[test]
fn trap_18_user_endpoints_client_hosts_and_acl_hosts_pass_byte_for_byte() {
    for (key, version) in [(15, 0), (15, 5), (29, 1), (31, 3), (69, 1), (77, 1), (88, 1), (89, 0)] {
        let mut shell = connection();
        let body = b"any body, and in it a host: upstream.inside:9092";
        shell.client(&request(key, version, 1, body), 4096);
        assert_eq!(shell.requests.output, request(key, version, 1, body));
        shell.broker(&response(1, body), 4096);
        assert_eq!(shell.responses.output, response(1, body), "API {key}");
    }
}

#[test]
fn trap_19_a_request_of_an_impossible_length_closes_behind_what_came_before_it() {
    let too_long = (128_i32 << 20).to_be_bytes();
    let tls = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc];
    for (bytes, reason) in [
        (&too_long[..], "request_too_long"),
        (&[0, 0, 0, 0], "request_length"),
        (&[0, 0, 0, 7, 0, 3, 0, 0], "request_length"),
        (&[0xff; 8], "request_length"),
        (&[0x80, 0, 0, 0], "request_length"),
        (&tls, "foreign_protocol"),
        (b"GET / HTTP/1.1\r\n", "foreign_protocol"),
    ] {
        for window in [1, 4096] {
            let mut shell = connection();
            let first = request(3, 1, 1, &[0; 4]);
            shell.client(&[first.clone(), bytes.to_vec()].concat(), window);
            assert_eq!(shell.requests.output, first, "{bytes:?}");
            let violation = shell.requests.violation.as_ref().map(Violation::reason);
            assert_eq!(violation, Some(reason), "{bytes:?}");
        }
    }
}

#[test]
fn trap_19_a_response_of_128_mib_streams_and_impossible_lengths_close() {
    let length = 128 << 20_usize;
    let mut shell = connection();
    // A Fetch of version 11 has no endpoints: all of it passes.
    shell.client(&[request(1, 11, 1, &[0; 60]), request(12, 0, 2, &[7; 30])].concat(), 4096);
    let start = [&(length as i32).to_be_bytes()[..], &1_i32.to_be_bytes()].concat();
    shell.broker(&start, 4096);
    let piece = vec![5; 1 << 20];
    let mut left = length - 4;
    while left > 0 {
        let bytes = left.min(piece.len());
        shell.broker(&piece[..bytes], 1 << 20);
        left -= bytes;
        // Nothing is held: what came has gone out.
        assert_eq!(shell.responses.walked, shell.responses.input.len());
        shell.responses.input.clear();
        shell.responses.walked = 0;
        shell.responses.output.clear();
    }
    assert!(!shell.responses.is_mid_plan());
    shell.broker(&response(2, &[0, 0]), 4096);
    assert_eq!(shell.responses.output, response(2, &[0, 0]));
    for bytes in [[0xff; 8], [0, 0, 0, 3, 0, 0, 0, 1], [0; 8]] {
        let mut shell = connection();
        shell.client(&request(12, 0, 1, &[7; 30]), 4096);
        shell.broker(&bytes, 4096);
        assert_eq!(shell.responses.violation.as_ref().map(Violation::reason), Some("response_length"));
        assert!(shell.responses.output.is_empty());
    }
}
