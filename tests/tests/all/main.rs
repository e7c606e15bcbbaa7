//! Every promise of the service, tested on the built programs.
#![forbid(unsafe_code)]

#[cfg(test)]
mod standins;
