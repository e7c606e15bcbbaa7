//! Every promise of the service, tested on the built programs.
#![forbid(unsafe_code)]

#[cfg(test)]
mod arguments;
#[cfg(test)]
mod authorize;
#[cfg(test)]
mod bpf;
#[cfg(test)]
mod caches;
#[cfg(test)]
mod client;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod cross;
#[cfg(test)]
mod dependencies;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod e2e;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod find;
#[cfg(test)]
mod guest;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod interop;
#[cfg(test)]
mod lies;
#[cfg(test)]
mod listing;
#[cfg(test)]
mod manager;
#[cfg(test)]
mod mdns;
#[cfg(test)]
mod network;
#[cfg(test)]
mod nss;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod run;
#[cfg(test)]
mod several;
#[cfg(test)]
mod signing;
#[cfg(test)]
mod standins;
#[cfg(test)]
mod staprun;
#[cfg(test)]
mod start;
#[cfg(test)]
mod stop;
#[cfg(test)]
mod store;
#[cfg(test)]
mod tracepoints;
#[cfg(test)]
mod trust;
#[cfg(test)]
mod waiting;
