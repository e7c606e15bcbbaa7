#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| stap_driver::fuzzing::recording(bytes));
