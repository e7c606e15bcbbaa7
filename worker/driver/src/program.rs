//! The program of this crate; see the library. It is built by the build script.
#![forbid(unsafe_code)]

mod description;
mod invocation;
mod makefile;
mod precompiled;
mod recipe;
mod replay;
mod shim;
mod spent;
mod symbols;
mod template;

use std::process::ExitCode;

fn main() -> ExitCode {
    shim::main()
}
