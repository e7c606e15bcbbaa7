//! What the values of options mean.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use stap_protocol::target::TargetPattern;
use stap_protocol::text::escape;

use super::super::staprun::Color;
use super::{CommandLineError, LastPass};

pub(super) fn last_pass(value: &[u8]) -> Result<LastPass, CommandLineError> {
    match number(value) {
        Some(1..=3) => Ok(LastPass::Text),
        Some(4) => Ok(LastPass::Module),
        Some(5) => Ok(LastPass::Run),
        _ => Err(CommandLineError::Pass),
    }
}

pub(super) fn within(
    value: &[u8],
    range: std::ops::RangeInclusive<u32>,
    otherwise: CommandLineError,
) -> Result<OsString, CommandLineError> {
    match number(value) {
        Some(number) if range.contains(&number) => Ok(os(value)),
        _ => Err(otherwise),
    }
}

fn number(value: &[u8]) -> Option<u32> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value)
        .ok()
        .filter(|_| digits)?
        .parse()
        .ok()
}

/// `staprun` takes what follows the module for more options if it looks like them.
pub(super) fn global(value: &[u8]) -> Result<OsString, CommandLineError> {
    let name = value.split(|byte| *byte == b'=').next().unwrap_or_default();
    let starts_well = name
        .first()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
    let goes_on_well = name
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    if starts_well && goes_on_well && name.len() < value.len() {
        Ok(os(value))
    } else {
        Err(CommandLineError::Global(escape(value)))
    }
}

pub(super) fn color(value: Option<&[u8]>) -> Result<Option<Color>, CommandLineError> {
    match value {
        None | Some(b"always") => Ok(Some(Color::Always)),
        Some(b"never") => Ok(Some(Color::Never)),
        Some(b"auto") => Ok(None),
        Some(other) => Err(CommandLineError::Color(escape(other))),
    }
}

pub(super) fn pattern(value: &[u8]) -> Result<TargetPattern, CommandLineError> {
    let text = String::from_utf8_lossy(value);
    text.parse()
        .map_err(|source| CommandLineError::Targets(escape(value), source))
}

/// `--vp ABCDE` adds a digit to the verbosity of each pass.
pub(super) fn pass_5_digit(value: &[u8]) -> Option<usize> {
    let digit = value.get(4).filter(|byte| byte.is_ascii_digit())?;
    Some(usize::from(digit - b'0'))
}

pub(super) fn os(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

/// The kernel's own limit for process ids (PID_MAX_LIMIT).
pub(super) const MAX_PID: u32 = 4 << 20;
