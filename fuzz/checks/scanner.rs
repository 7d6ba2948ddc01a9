//! The walkers and the scanner of requests: the same bytes give the same events, however they come.

use gatehouse::kafka::shape;
use gatehouse::kafka::walk::{Field, NEED_MAX, Step, Walker};

use super::core;
use super::shell::Shell;

const SHAPES: [&[Field]; 10] = [
    shape::RESPONSE_HEADER,
    shape::PRODUCE_RESPONSE,
    shape::FETCH_RESPONSE,
    shape::SHARE_FETCH_RESPONSE,
    shape::SHARE_ACKNOWLEDGE_RESPONSE,
    shape::DESCRIBE_QUORUM_RESPONSE,
    shape::METADATA_RESPONSE,
    shape::API_VERSIONS_RESPONSE,
    shape::SASL_HANDSHAKE_RESPONSE,
    shape::SASL_AUTHENTICATE_RESPONSE,
];

/// Shape, version with the flexible bit, window, bytes.
pub(crate) fn check(data: &[u8]) {
    let [shape, version, window, message @ ..] = data else { return };
    let fields = SHAPES[usize::from(*shape) % SHAPES.len()];
    let (version, flexible) = (i16::from(version & 0x1f), version & 0x80 != 0);
    let window = usize::from(*window).max(1);
    let whole = walk(fields, version, flexible, (message, message.len().max(1)));
    assert_eq!(whole, walk(fields, version, flexible, (message, window)));
    requests(message, window);
}

/// Where a walk stops, and the position after each step.
#[derive(Debug, PartialEq)]
struct Walked {
    positions: Vec<u64>,
    end: End,
}

#[derive(Debug, PartialEq)]
enum End {
    Done,
    Short,
    Malformed(String),
}

fn walk(fields: &'static [Field], version: i16, flexible: bool, (message, window): (&[u8], usize)) -> Walked {
    let mut walker = Walker::new(fields, version, flexible);
    let (mut positions, mut position, mut shown) = (Vec::new(), 0_u64, window);
    let end = loop {
        let rest = usize::try_from(position).ok().and_then(|at| message.get(at..));
        let Some(rest) = rest else { break End::Short };
        match walker.step(&rest[..rest.len().min(shown)]) {
            Ok(Step::Skip(bytes)) => {
                assert!(bytes > 0, "a step that goes nowhere");
                position += bytes;
                positions.push(position);
                shown = window;
            }
            Ok(Step::Need(bytes)) => {
                assert!(bytes <= NEED_MAX && bytes > rest.len().min(shown), "{bytes} of {}", rest.len());
                if bytes > rest.len() {
                    break End::Short;
                }
                shown = bytes;
            }
            Ok(Step::Done) => break End::Done,
            Err(error) => break End::Malformed(error.to_string()),
        }
        assert!(positions.len() <= message.len() + 1, "more steps than bytes");
    };
    Walked { positions, end }
}

fn requests(bytes: &[u8], window: usize) {
    let (mut whole, mut pieces) = (Shell::new(core(false)), Shell::new(core(false)));
    whole.client(bytes, bytes.len());
    for piece in bytes.chunks(window) {
        pieces.client(piece, window);
    }
    assert_eq!(whole.requests.output, pieces.requests.output);
    assert_eq!(whole.requests.violation, pieces.requests.violation);
    assert_eq!(whole.responses.output, pieces.responses.output);
    assert_eq!(whole.core.in_flight().len(), pieces.core.in_flight().len());
}
