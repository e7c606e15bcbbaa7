//! `interop-matrix [--promised] FILE`: writes what the tests of interoperation found into a document, or what they insist
//! on, to be read before a run.
#![forbid(unsafe_code)]

use std::fs;

use anyhow::Context as _;
use stap_tests::interop::document;
use stap_tests::lab;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let is_promise = arguments.next_if(|word| word == "--promised").is_some();
    let file = arguments
        .next()
        .context("which document? interop-matrix [--promised] FILE")?;
    let text = fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
    let matrix = match is_promise {
        true => document::promised(),
        false => document::found(&lab::kept())?,
    };
    fs::write(&file, document::put_into(&text, &matrix)?)?;
    Ok(())
}
