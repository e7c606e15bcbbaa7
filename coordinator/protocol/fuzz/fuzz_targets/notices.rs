#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| stap_protocol::fuzzing::notices(bytes));
