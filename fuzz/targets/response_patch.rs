//! Fuzzes what `checks::response_patch` holds true.

#![no_main]

#[path = "../checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::response_patch::check(data));
