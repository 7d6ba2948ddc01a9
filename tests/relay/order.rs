//! The order and the number of frames, with windows of any size.

use gatehouse::relay::violation::Violation;

use crate::connection;
use crate::frames::{metadata_v1, metadata_v1_routed, request, response};

#[test]
fn the_topics_of_a_rewritten_metadata_response_stream_and_the_next_response_follows() {
    for window in [1, 3, 30, 4096] {
        let mut shell = connection();
        let requests =
            [request(3, 1, 1, &[0; 4]), request(12, 0, 2, &[7; 30]), request(3, 1, 3, &[0; 4])].concat();
        shell.client(&requests, window);
        let heartbeat = response(2, &[0, 0]);
        let sent = [metadata_v1(1, 10_000), heartbeat.clone(), metadata_v1(3, 1)].concat();
        for piece in sent.chunks(777) {
            shell.broker(piece, window);
        }
        let expected = [metadata_v1_routed(1, 10_000), heartbeat, metadata_v1_routed(3, 1)].concat();
        assert_eq!(shell.responses.violation, None);
        assert_eq!(shell.responses.output, expected, "window {window}");
    }
}

#[test]
fn the_head_of_a_request_is_judged_before_any_of_it_passes() {
    let mut shell = connection();
    let unknown = request(0, 14, 1, &[0; 400]);
    for piece in unknown.chunks(1) {
        shell.client(piece, 4096);
        assert!(shell.requests.output.is_empty());
    }
    assert_eq!(shell.requests.violation.as_ref().map(Violation::reason), Some("unknown_version"));
}

#[test]
fn no_more_requests_are_read_than_may_be_in_flight() {
    let mut shell = connection();
    let heartbeat = request(12, 0, 1, &[7; 30]);
    shell.client(&heartbeat.repeat(200), 4096);
    assert_eq!(shell.core.in_flight().len(), 128);
    assert_eq!(shell.requests.output.len(), 128 * heartbeat.len());
    shell.broker(&response(1, &[0, 0]).repeat(5), 4096);
    assert_eq!(shell.requests.output.len(), 133 * heartbeat.len());
}

#[test]
fn a_broker_that_was_asked_nothing_says_nothing() {
    let mut shell = connection();
    shell.broker(&response(1, &[0, 0]), 4096);
    assert_eq!(shell.responses.violation, Some(Violation::UnexpectedResponse));
    assert!(shell.responses.output.is_empty());
}

#[test]
fn while_it_lingers_only_requests_without_a_response_pass() {
    let mut shell = connection();
    let fire = request(0, 9, 1, &crate::frames::produce_body(9, 0, 60));
    let asked = request(0, 9, 2, &crate::frames::produce_body(9, -1, 60));
    shell.core.linger();
    shell.client(&[asked.clone(), fire.clone(), request(18, 99, 3, &[]), asked, fire.clone()].concat(), 8);
    assert_eq!(shell.requests.output, [fire.clone(), fire].concat());
    assert!(shell.core.in_flight().is_empty() && shell.responses.output.is_empty());
}
