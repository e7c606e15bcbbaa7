//! Builds the program that runs in jails, and leaves it where the library takes it up.
//!
//! A root may hold a C library that is older than the one of the machine that we are built on, so the
//! program is linked statically. Cargo gives all programs of a build the same flags, and only this one
//! is to be static; it has no dependencies, so the compiler is called for it here.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=src");
    let variable = |name: &str| env::var_os(name).unwrap_or_default();
    let program = PathBuf::from(variable("OUT_DIR")).join("stap-kbuild");
    let built = [STATIC, DYNAMIC]
        .iter()
        .any(|flags| compile(&program, flags, &variable));
    assert!(built, "{} cannot be built", program.display());
}

/// Whether the compiler succeeded; it says itself why it did not.
fn compile(program: &PathBuf, flags: &[&str], variable: &dyn Fn(&str) -> OsString) -> bool {
    let mut compiler = Command::new(variable("RUSTC"));
    compiler
        .args(["--crate-name", "stap_kbuild", "--crate-type", "bin"])
        .args(["--edition", "2024", "--cap-lints", "allow"])
        .args([
            "-C",
            "opt-level=2",
            "-C",
            "panic=abort",
            "-C",
            "strip=symbols",
        ])
        .args(flags)
        .arg("--target")
        .arg(variable("TARGET"))
        .arg("-o")
        .arg(program)
        .arg("src/program.rs");
    let linker = variable("RUSTC_LINKER");
    if !linker.is_empty() {
        let mut option = OsString::from("linker=");
        option.push(linker);
        compiler.arg("-C").arg(option);
    }
    let succeeded = compiler.status().is_ok_and(|status| status.success());
    if !succeeded {
        println!("cargo:warning=stap-kbuild cannot be linked with {flags:?}");
    }
    succeeded
}

const STATIC: &[&str] = &["-C", "target-feature=+crt-static"];
/// Where there is no static C library. It then runs in roots that are as new as this machine; in
/// others, a warm-up finds that it does not, and pass 4 takes the ordinary way.
const DYNAMIC: &[&str] = &[];
