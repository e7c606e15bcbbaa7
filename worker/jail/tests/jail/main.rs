//! The promises of a jail, each tried on the built program: as root with a slot's uid, and as an
//! ordinary user.
#![cfg(test)]

mod attacks;
mod harness;
mod life;
mod outcome;
mod setup;
mod view;
