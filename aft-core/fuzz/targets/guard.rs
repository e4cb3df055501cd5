#![no_main]

use aft_fuzz as _;

libfuzzer_sys::fuzz_target!(|data: &[u8]| aft_core::fuzzing::decode_guard(data));
