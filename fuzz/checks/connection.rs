//! The whole core: two streams, interleaved, with a drain. No byte is invented and the order is kept.

use gatehouse::kafka::api;
use gatehouse::kafka::header::{self, RequestHeader};

use super::core;
use super::shell::Shell;

/// The key of ApiVersions and of SaslHandshake.
const API_VERSIONS: i16 = 18;
const SASL_HANDSHAKE: i16 = 17;

/// Options, then records of `control, length, bytes`: the control says who sends, in which window, or
/// that a drain begins.
pub(crate) fn check(data: &[u8]) {
    let Some((options, mut rest)) = data.split_first() else { return };
    let mut shell = Shell::new(core(options & 1 != 0));
    let mut lingering = false;
    while let [control, length, tail @ ..] = rest {
        let (bytes, after) = tail.split_at(tail.len().min(usize::from(*length)));
        let window = usize::from(control >> 3) * 8 + 1;
        match control & 7 {
            0..=2 => shell.client(bytes, window),
            3..=5 => shell.broker(bytes, window),
            6 => shell.core.shrink(),
            _ => {
                shell.core.linger();
                lingering = true;
            }
        }
        rest = after;
    }
    let owed = requests(&shell, lingering);
    if let Some(owed) = owed.filter(|_| !lingering) {
        responses(&shell, &owed);
    }
}

/// What the client is owed: the answer to this request, by the broker or by the gateway.
struct Owed {
    header: RequestHeader,
    by_gateway: bool,
}

/// The broker was sent the client's frames, in order, without those that the gateway answers or drops.
/// `None` where raw tokens were among them, which have no header to judge by.
fn requests(shell: &Shell, lingering: bool) -> Option<Vec<Owed>> {
    let mut sent = shell.requests.output.as_slice();
    let (mut owed, mut raw) = (Vec::new(), false);
    for frame in frames(&shell.requests.input[..shell.requests.walked]) {
        let header = frame.get(4..).and_then(|payload| RequestHeader::read(payload).ok());
        let is_next = !sent.is_empty() && sent.starts_with(&frame[..frame.len().min(sent.len())]);
        if is_next {
            sent = &sent[frame.len().min(sent.len())..];
        } else {
            let answered = header.is_some_and(|h| {
                h.key == API_VERSIONS && !h.api().is_some_and(|a| (0..=a.newest).contains(&h.version))
            });
            assert!(answered || lingering, "a request was lost: {frame:?}");
        }
        match header {
            Some(header) if !raw && (!is_next || expects_response(header, &frame[4..])) => {
                owed.push(Owed { header, by_gateway: !is_next });
            }
            Some(_) | None => {}
        }
        raw |= header.is_none_or(|h| h.key == SASL_HANDSHAKE && h.version == 0);
    }
    assert!(sent.is_empty(), "the broker was sent what the client did not send: {sent:?}");
    (!raw).then_some(owed)
}

fn expects_response(header: RequestHeader, payload: &[u8]) -> bool {
    header.key != 0 || header::produce_acks(payload, header.version) != Ok(0)
}

/// The client was sent the answers in the order of its requests; what no patch touches, byte for byte.
fn responses(shell: &Shell, owed: &[Owed]) {
    let mut input = frames(&shell.responses.input[..shell.responses.walked]);
    let mut owed = owed.iter();
    for frame in frames(&shell.responses.output) {
        let expected = owed.next();
        let from_broker = expected.filter(|owed| !owed.by_gateway).and_then(|_| input.next());
        let Some(expected) = expected else { panic!("nobody asked for {frame:?}") };
        if let Some(id) = frame.get(4..8) {
            assert_eq!(id, expected.header.correlation_id.0.to_be_bytes(), "a response out of order");
        }
        if expected.by_gateway {
            continue;
        }
        let Some(from_broker) = from_broker else { panic!("the broker did not send {frame:?}") };
        let header = expected.header;
        let patched = api::find(header.key).and_then(|api| api.patch(header.version)).is_some();
        assert!(patched || frame == from_broker, "{frame:?} was {from_broker:?}");
    }
}

/// The frames of a stream; the last may be cut off.
fn frames(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = stream;
    std::iter::from_fn(move || {
        let end = match rest.first_chunk() {
            None if rest.is_empty() => return None,
            None => rest.len(),
            Some(length) => {
                let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
                rest.len().min(4 + length)
            }
        };
        let (frame, after) = rest.split_at(end);
        rest = after;
        Some(frame)
    })
}
