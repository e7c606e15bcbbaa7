//! A certificate file of a stranger. The body is in the crate, so that the ordinary tests replay the
//! corpus.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    stap_certs::fuzzing::certificate(bytes);
});
