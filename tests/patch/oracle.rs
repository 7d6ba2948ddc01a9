//! Encode with `kafka-protocol`, patch, decode with `kafka-protocol`, compare.

use crate::dice::Dice;
use crate::expected::expected;
use crate::message::{Message, every_version};
use crate::random::{Naming, response};
use crate::{leaks, patched, routes};

const SEEDS: u64 = 150;

#[test]
fn every_version_of_every_patched_response_holds_our_addresses_and_is_otherwise_as_it_was() {
    let versions = every_version();
    assert_eq!(versions.len(), 14 + 7 + 3 + 5 + 7 + 2 + 2 + 3 + 6, "{versions:?}");
    for (patch, version) in versions {
        let mut changes = 0;
        for seed in 0..SEEDS {
            let case = format!("{patch:?} {version}, seed {seed}");
            let original = response(&mut Dice::new(seed), patch, version, Naming::Upstream);
            let frame = original.frame(version);
            let (out, changed) = patched(patch, version, &frame).unwrap_or_else(|e| panic!("{case}: {e}"));
            let received = Message::read(patch, version, &out).unwrap_or_else(|e| panic!("{case}: {e}"));
            assert_eq!(received, expected(original, &routes()), "{case}");
            assert!(!leaks(&out), "{case}: an upstream name is left");
            assert_eq!(changed, out != frame, "{case}: changed = {changed}");
            changes += u64::from(changed);
        }
        // Below these versions the responses carry no address.
        let carries = gatehouse::kafka::api::Patch::since(patch) <= version;
        assert_eq!(changes > SEEDS / 3, carries, "{patch:?} {version}: {changes} responses were changed");
    }
}

#[test]
fn routes_that_lead_to_what_a_response_says_leave_every_byte() {
    for (patch, version) in every_version() {
        for seed in 0..SEEDS {
            let frame = response(&mut Dice::new(seed), patch, version, Naming::Routed).frame(version);
            let out = patched(patch, version, &frame);
            assert_eq!(out, Ok((frame, false)), "{patch:?} {version}, seed {seed}");
        }
    }
}

#[test]
fn what_was_rewritten_once_is_not_rewritten_again() {
    for (patch, version) in every_version() {
        for seed in 0..SEEDS {
            let frame = response(&mut Dice::new(seed), patch, version, Naming::Upstream).frame(version);
            let (once, _) = patched(patch, version, &frame).unwrap();
            assert_eq!(patched(patch, version, &once), Ok((once, false)), "{patch:?} {version}, seed {seed}");
        }
    }
}
