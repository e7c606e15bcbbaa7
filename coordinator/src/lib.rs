//! stap-serverd: accepts compile requests, checks them, and hands them to the worker.
#![forbid(unsafe_code)]
