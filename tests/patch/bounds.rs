//! Hostile responses: no panic, no leak, memory in proportion to what came in.

use gatehouse::kafka::api::Patch;
use gatehouse::kafka::shape;
use gatehouse::kafka::walk::{self, Field};
use gatehouse::kafka::wire::Error;
use gatehouse::patch::{self, Context};
use proptest::prelude::*;

use crate::dice::Dice;
use crate::message::{api_of, every_version};
use crate::random::{Naming, response};
use crate::{leaks, patched, routes};

/// Patches a frame in every way and holds what comes of it against the promises.
fn survive(patch: Patch, version: i16, frame: &[u8]) -> Result<(), TestCaseError> {
    let mut result = None;
    let allocated = allocation_counter::measure(|| result = Some(patched(patch, version, frame)));
    let most = 4 * frame.len() as u64 + 64 * 1024;
    prop_assert!(allocated.bytes_max <= most, "{} bytes for {}", allocated.bytes_max, frame.len());
    if let Some(Ok((out, changed))) = result {
        if api_of(patch).patch(version).is_none() {
            return Ok(());
        }
        let length = i32::from_be_bytes([out[0], out[1], out[2], out[3]]);
        prop_assert!(!changed || length as usize == out.len() - 4, "its length is {}", length);
        let routes = routes();
        let mut context = Context::new(&routes, false);
        let again = patch::whole(patch, api_of(patch), version, &out, &mut context);
        prop_assert_eq!(again, Ok(None));
        prop_assert!(
            context.learned.iter().all(|b| b.address.host.as_str() == routes.bootstrap().unwrap().0)
        );
        prop_assert!(!context.changed);
    }
    Ok(())
}

/// A frame of a response with `edits` bytes changed, or cut.
fn mutated(seed: u64, patch: Patch, version: i16, edits: &[(usize, u8)], cut: usize) -> Vec<u8> {
    let mut frame = response(&mut Dice::new(seed), patch, version, Naming::Upstream).frame(version);
    for (at, byte) in edits {
        let at = 8 + at % (frame.len() - 8);
        frame[at] = *byte;
    }
    let keep = frame.len() - cut.min(frame.len() - 8);
    frame.truncate(keep);
    frame
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn mutated_responses_are_patched_or_refused(
        seed: u64, kind in 0..every_version().len(),
        edits in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..6), cut in 0_usize..30,
    ) {
        let (patch, version) = every_version()[kind];
        survive(patch, version, &mutated(seed, patch, version, &edits, cut))?;
    }

    #[test]
    fn random_bytes_are_patched_or_refused(
        kind in 0..every_version().len(), bytes in proptest::collection::vec(any::<u8>(), 8..400)
    ) {
        let (patch, version) = every_version()[kind];
        survive(patch, version, &bytes)?;
    }

    #[test]
    fn no_upstream_name_is_in_a_response_that_passes(seed: u64, kind in 0..every_version().len()) {
        let (patch, version) = every_version()[kind];
        let frame = response(&mut Dice::new(seed), patch, version, Naming::Upstream).frame(version);
        prop_assert!(!leaks(&patched(patch, version, &frame).unwrap().0));
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn trap_22_a_metadata_prefix_in_any_window_gives_what_the_whole_response_gives(seed: u64, version in 0_i16..=13) {
        let frame = response(&mut Dice::new(seed), Patch::Metadata, version, Naming::Upstream).frame(version);
        let (whole, _) = patched(Patch::Metadata, version, &frame).unwrap();
        let routes = routes();
        let mut answers = 0;
        for window in 0..=frame.len() {
            let mut context = Context::new(&routes, false);
            let prefix = patch::metadata_prefix(
                api_of(Patch::Metadata), version, &frame[..window], frame.len() as u64, &mut context,
            );
            match prefix.unwrap() {
                None => prop_assert_eq!(answers, 0, "a longer window knows less"),
                Some((taken, start)) => {
                    answers += 1;
                    prop_assert!(taken <= window);
                    let rest = &frame[taken..];
                    prop_assert_eq!(&[&start, rest].concat(), &whole);
                }
            }
        }
        prop_assert!(answers > 0);
    }
}

/// Found by the fuzzer: the tags of the header claim more than the frame holds, and nothing was refused.
#[test]
fn a_header_that_runs_past_its_frame_is_refused_and_no_longer_window_is_asked_for() {
    let frame = [&[0, 0, 0, 8][..], &[0, 0, 0, 1], &[9, 3, 6, 9]].concat();
    let routes = routes();
    for window in 0..=frame.len() {
        let mut context = Context::new(&routes, false);
        let bytes = frame.len() as u64;
        let prefix =
            patch::metadata_prefix(api_of(Patch::Metadata), 9, &frame[..window], bytes, &mut context);
        match prefix {
            Ok(None) => assert!(window < frame.len()),
            Ok(Some(_)) => panic!("a response without a broker list"),
            Err(error) => assert!(matches!(error, patch::Error::Malformed(_)) && window == frame.len()),
        }
    }
}

/// A count that claims billions of elements of fixed size.
#[test]
fn trap_21_a_claimed_count_costs_neither_memory_nor_time() {
    let claims: [(&'static [Field], Vec<u8>); 3] = [
        (INTEGERS, vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0]),
        (shape::API_VERSIONS_RESPONSE, [vec![0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f], vec![0; 40]].concat()),
        (shape::FETCH_RESPONSE, [vec![0; 10], vec![0xff, 0xff, 0xff, 0xff, 0x0f], vec![0; 99]].concat()),
    ];
    for (fields, bytes) in claims {
        let mut walker = walk::Walker::new(fields, 13, true);
        let (mut position, mut steps) = (0_u64, 0);
        let allocated = allocation_counter::measure(|| {
            loop {
                let window = bytes.get(position as usize..).unwrap_or_default();
                match walker.step(window) {
                    Ok(walk::Step::Skip(skip)) if skip <= window.len() as u64 => position += skip,
                    // A step that leaves the message ends the walk.
                    Ok(walk::Step::Skip(_) | walk::Step::Need(_) | walk::Step::Done)
                    | Err(Error::Malformed(_)) => break,
                    Err(Error::Short) => panic!("a walker is never short"),
                }
                steps += 1;
            }
        });
        assert_eq!(allocated.count_total, 0);
        assert!(steps <= bytes.len(), "{steps} steps");
    }
    let (patch, version) = (Patch::Metadata, 9);
    let mut frame = vec![0, 0, 0, 60, 0, 0, 0, 1, 0, 0, 0, 0, 0];
    frame.extend([0xff, 0xff, 0xff, 0xff, 0x0f]);
    frame.resize(64, 0);
    assert_eq!(patched(patch, version, &frame), Err(patch::Error::TooManyNodes(0xffff_fffe)));
}

const INTEGERS: &[Field] = &[
    walk::field(walk::Kind::Array(&[walk::field(walk::Kind::Fixed(4))])),
    walk::field(walk::Kind::Fixed(2)),
];
