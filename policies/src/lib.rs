//! What operators allow: limits, layers, options; read from TOML, checked before use.
//!
//! A policy is a class with a name. Three come with the program and their files lie beside this
//! source: [`STRICT`](builtin::STRICT), [`SHARED_HOST`](builtin::SHARED_HOST), the default, and
//! [`PERSONAL`](builtin::PERSONAL). An operator's own file has the same form and must name every
//! field, so that nothing is in force that cannot be read in one place.
//!
//! This crate only says what is wanted. The coordinator applies [`Request`], [`Options`],
//! [`Admission`] and [`Store`], the signer [`Signing`]; the worker applies [`Layers`], [`Limits`],
//! [`Slots`] and [`Compile`].
#![forbid(unsafe_code)]

pub mod builtin;
mod compile;
mod document;
mod doubts;
mod fault;
mod layers;
mod nearest;
mod options;
mod places;
mod policy;
mod quantity;
mod signing;
mod store;
mod wider;

pub use compile::{Compile, Pass4};
pub use doubts::Host;
pub use fault::{Fault, PolicyError};
pub use layers::{Demand, Layers};
pub use options::{OptionName, Options, Privilege};
pub use places::Places;
pub use policy::{Admission, ClassName, Limits, OnFlood, Policy, Request, Slots};
pub use quantity::{Count, Size, Time};
pub use signing::{Isolation, Signing};
pub use store::{Scope, Store};
pub use wider::{Wider, wider};
