//! Each patch: no upstream address is left, what was patched once stays, a padded frame keeps its length.

use gatehouse::kafka::api::{self, Api, Patch, Response};
use gatehouse::patch::stream::{self, Step, Stream};
use gatehouse::patch::{self, Context};

use super::routes;

/// Length and correlation id.
const START: usize = 8;

/// Which response, its version, the window, then the frame from the header's tags on.
pub(crate) fn check(data: &[u8]) {
    let [which, version, window, rest @ ..] = data else { return };
    let patched: Vec<_> = api::APIS.iter().filter(|a| a.response != Response::Forward).collect();
    let api = patched[usize::from(*which) % patched.len()];
    let version = i16::from(*version) % (api.newest + 1);
    let Some(patch) = api.patch(version) else { return };
    let frame = [&(rest.len() as i32 + 4).to_be_bytes()[..], &[0, 0, 0, 7], rest].concat();
    whole(patch, api, version, &frame);
    if patch == Patch::Metadata {
        prefix(api, version, &frame);
    }
    streamed(patch, api, version, (&frame, usize::from(*window).max(1)));
}

fn whole(patch: Patch, api: &Api, version: i16, frame: &[u8]) {
    let routes = routes();
    let mut context = Context::new(&routes, false);
    let Ok(out) = patch::whole(patch, api, version, frame, &mut context) else { return };
    assert_eq!(out.is_some(), context.changed);
    let out = out.unwrap_or_else(|| frame.to_vec());
    assert_eq!(i32::from_be_bytes([out[0], out[1], out[2], out[3]]) as usize, out.len() - 4);
    assert_eq!(out[4..START], frame[4..START]);
    let mut context = Context::new(&routes, false);
    let again = patch::whole(patch, api, version, &out, &mut context);
    assert_eq!(again, Ok(None), "what was patched once is patched again");
    for broker in &context.learned {
        let ours = routes.advertised(broker.node);
        let theirs = (broker.address.host.as_str().into(), broker.address.port);
        assert_eq!(ours, Some(theirs), "an upstream address is left");
    }
    assert!(context.unroutable.is_empty());
}

fn prefix(api: &Api, version: i16, frame: &[u8]) {
    let routes = routes();
    let mut context = Context::new(&routes, false);
    let whole = patch::whole(Patch::Metadata, api, version, frame, &mut context);
    for window in [frame.len() / 2, frame.len()] {
        let mut context = Context::new(&routes, false);
        let bytes = frame.len() as u64;
        match patch::metadata_prefix(api, version, &frame[..window], bytes, &mut context) {
            Ok(Some((taken, start))) => {
                assert!(taken <= window);
                let out = [&start, &frame[taken..]].concat();
                let expected = whole.clone().map(|out| out.unwrap_or_else(|| frame.to_vec()));
                assert_eq!(Ok(out), expected);
            }
            Ok(None) => assert!(window < frame.len(), "it wants more than the frame"),
            Err(error) => assert_eq!(whole, Err(error)),
        }
    }
}

fn streamed(patch: Patch, api: &'static Api, version: i16, (frame, window): (&[u8], usize)) {
    let Some(pieces) = walk(patch, api, version, (frame, window)) else { return };
    assert_eq!(Some(&pieces), walk(patch, api, version, (frame, frame.len())).as_ref());
    let Ok((out, padded)) = pieces else { return };
    assert_eq!(out.len(), frame.len());
    assert!(padded || out == frame);
    // What came out carries no address: nothing is emptied again, nothing is learned.
    let again = walk(patch, api, version, (&out, window));
    assert_eq!(again, Some(Ok((out.clone(), false))));
    let routes = routes();
    let mut context = Context::new(&routes, false);
    if patch::whole(patch, api, version, &out, &mut context).is_ok() {
        assert!(context.learned.is_empty() && context.unroutable.is_empty());
    }
}

type Streamed = Result<(Vec<u8>, bool), patch::Error>;

fn walk(patch: Patch, api: &'static Api, version: i16, (frame, window): (&[u8], usize)) -> Option<Streamed> {
    let (start, rest) = frame.split_at(START);
    let mut out = start.to_vec();
    let mut walk = Stream::new(patch, api, version, rest.len() as u64)?;
    let (mut position, mut shown) = (0, window);
    loop {
        let left = &rest[position..];
        let at_hand = left.len().min(shown);
        let bytes = match walk.step(&left[..at_hand]) {
            Ok(Step::Pass(bytes)) => {
                let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
                out.extend(&left[..bytes]);
                bytes
            }
            Ok(Step::Pad(bytes)) => {
                assert!(bytes.len() <= at_hand);
                out.extend(&bytes);
                bytes.len()
            }
            Ok(Step::Need(bytes)) => {
                assert!(bytes > at_hand && bytes <= left.len() && bytes <= stream::NEED_MAX);
                shown = bytes;
                continue;
            }
            Ok(Step::Done) => {
                assert_eq!(position, rest.len());
                return Some(Ok((out, walk.padded())));
            }
            Err(error) => return Some(Err(error)),
        };
        assert!(bytes > 0);
        position += bytes;
        shown = window;
    }
}
