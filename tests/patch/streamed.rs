//! Responses too large to hold: the walk that empties `NodeEndpoints` at equal length, in any fragments.

use gatehouse::kafka::api::Patch;
use gatehouse::patch::Error;
use gatehouse::patch::stream::{NEED_MAX, Step, Stream};
use proptest::prelude::*;

use crate::dice::Dice;
use crate::leaks;
use crate::message::{Message, api_of, every_version};
use crate::random::{Naming, response};

/// Length and correlation id, which the walk never sees.
const HEAD: usize = 8;

/// What goes out for a frame that comes in windows of at most `window` bytes, and whether a list was emptied.
pub(crate) fn streamed(
    patch: Patch,
    version: i16,
    frame: &[u8],
    window: usize,
) -> Result<(Vec<u8>, bool), Error> {
    let (mut out, rest) = (frame[..HEAD].to_vec(), &frame[HEAD..]);
    let mut walk = Stream::new(patch, api_of(patch), version, rest.len() as u64).unwrap();
    let (mut position, mut shown) = (0, window);
    loop {
        let at_hand = &rest[position..];
        match walk.step(&at_hand[..at_hand.len().min(shown)])? {
            Step::Pass(bytes) => {
                assert!(bytes > 0 && bytes <= at_hand.len() as u64, "{bytes} of {}", at_hand.len());
                out.extend(&at_hand[..bytes as usize]);
                position += bytes as usize;
                shown = window;
            }
            Step::Pad(bytes) => {
                assert!(!bytes.is_empty() && bytes.len() <= at_hand.len().min(shown));
                out.extend(&bytes);
                position += bytes.len();
                shown = window;
            }
            Step::Need(bytes) => {
                assert!(bytes > at_hand.len().min(shown) && bytes <= NEED_MAX, "needs {bytes}");
                assert!(bytes <= at_hand.len(), "needs bytes of the next frame");
                shown = bytes;
            }
            Step::Done => {
                assert_eq!(position, rest.len());
                return Ok((out, walk.padded()));
            }
        }
    }
}

/// The versions whose response ends in `NodeEndpoints`.
fn tailed() -> Vec<(Patch, i16)> {
    let tailed =
        |patch| matches!(patch, Patch::Produce | Patch::Fetch | Patch::ShareFetch | Patch::ShareAcknowledge);
    every_version().into_iter().filter(|(patch, _)| tailed(*patch)).collect()
}

/// The response with an empty list and without the tags of its body, where padding stands.
fn without_endpoints(mut message: Message) -> Message {
    macro_rules! empty {
        ($m:expr) => {{
            $m.node_endpoints.clear();
            $m.unknown_tagged_fields.clear();
        }};
    }
    match &mut message {
        Message::Produce(m) => empty!(m),
        Message::Fetch(m) => empty!(m),
        Message::ShareFetch(m) => empty!(m),
        Message::ShareAcknowledge(m) => empty!(m),
        Message::ApiVersions(_)
        | Message::Metadata(_)
        | Message::FindCoordinator(_)
        | Message::DescribeCluster(_)
        | Message::DescribeQuorum(_) => {}
    }
    message
}

fn endpoints(message: &Message) -> usize {
    match message {
        Message::Produce(m) => m.node_endpoints.len(),
        Message::Fetch(m) => m.node_endpoints.len(),
        Message::ShareFetch(m) => m.node_endpoints.len(),
        Message::ShareAcknowledge(m) => m.node_endpoints.len(),
        Message::ApiVersions(_)
        | Message::Metadata(_)
        | Message::FindCoordinator(_)
        | Message::DescribeCluster(_)
        | Message::DescribeQuorum(_) => 0,
    }
}

#[test]
fn a_streamed_response_keeps_its_length_loses_its_endpoints_and_nothing_else() {
    for (patch, version) in tailed() {
        let mut emptied = 0;
        for seed in 0..150 {
            let case = format!("{patch:?} {version}, seed {seed}");
            let original = response(&mut Dice::new(seed), patch, version, Naming::Upstream);
            let frame = original.frame(version);
            let (out, padded) = streamed(patch, version, &frame, 4096).unwrap();
            assert_eq!(out.len(), frame.len(), "{case}");
            assert!(!leaks(&out), "{case}: an upstream name is left");
            assert_eq!(padded, endpoints(&original) > 0, "{case}");
            if !padded {
                assert_eq!(out, frame, "{case}");
            }
            let received = Message::read(patch, version, &out).unwrap_or_else(|e| panic!("{case}: {e}"));
            assert_eq!(endpoints(&received), 0, "{case}");
            assert_eq!(without_endpoints(received), without_endpoints(original), "{case}");
            emptied += u32::from(padded);
        }
        assert_eq!(emptied > 50, patch.since() <= version, "{patch:?} {version}: {emptied} lists");
    }
}

proptest! {
    #[test]
    fn any_fragmentation_gives_the_same_bytes(seed: u64, kind in 0..tailed().len(), window in 1_usize..40) {
        let (patch, version) = tailed()[kind];
        let frame = response(&mut Dice::new(seed), patch, version, Naming::Upstream).frame(version);
        let whole = streamed(patch, version, &frame, frame.len());
        prop_assert_eq!(&whole, &streamed(patch, version, &frame, window));
        prop_assert_eq!(whole.map(|(out, _)| out.len()), Ok(frame.len()));
    }
}
