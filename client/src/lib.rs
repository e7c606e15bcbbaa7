//! The documented tools: stap-client and its five companions.
#![forbid(unsafe_code)]
