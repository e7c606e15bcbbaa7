//! Replays pass 4: the commands that kbuild was seen to run for a target, without make or a shell.
//!
//! stap lets kbuild build its module, which costs more than the compilation: some thirty questions to
//! the compiler, a shell for every command, and headers that are parsed again and again. What kbuild
//! does in the end depends only on the target, on the flags, and on the Makefile that stap writes. So
//! it is recorded once by a trusted job without a user's input ([`record`]), written down
//! ([`recipe`]), and replayed in every job by a small program ([`shim`], [`replay`]) that make asks
//! before it reads the kernel's Makefile ([`front`]).
//!
//! The program has no rights that the job does not have; the jail assumes arbitrary code there. It
//! leaves everything that it does not know ([`invocation`], [`makefile`]) to make.
#![forbid(unsafe_code)]

pub mod description;
pub mod front;
pub mod fuzzing;
pub mod invocation;
pub mod makefile;
pub mod precompiled;
pub mod recipe;
pub mod record;
pub mod replay;
pub mod shim;
pub mod spent;
pub mod symbols;
pub mod template;
pub mod words;

/// The program, for a jail of this machine's architecture; linked statically where that is possible.
pub const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stap-kbuild"));
