#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| aft_core::fuzzing::decode_decision(data));
