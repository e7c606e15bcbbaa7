//! The built tools, run as a user runs them: arguments in, streams and exit status out.
//!
//! Where a server is needed, a stand-in speaks the real protocol over the real transport and answers
//! what the test wants. `staprun` and `stap-serverd` are small shell scripts, because these tests
//! are about what our tools do with them.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test that they cannot help"
)]

mod arguments;
mod authorize;
mod replies;
mod requests;
mod run;
mod several;
mod stand_in;
mod start;
mod stop;
mod waiting;
mod world;
