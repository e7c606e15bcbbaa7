//! Both ends of a connection, against each other and against peers that do not play fair.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod exchange;
mod hostile_clients;
mod hostile_servers;
mod notices;
mod support;
