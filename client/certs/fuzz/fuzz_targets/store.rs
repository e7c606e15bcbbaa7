//! What lies where an NSS store is expected. The body is in the crate, so that the ordinary tests replay
//! the corpus.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _is_store: bool = stap_certs::fuzzing::store(bytes);
});
