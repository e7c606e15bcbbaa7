//! What the values of options mean.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use stap_protocol::job::ReleaseChoice;
use stap_protocol::target::{KernelRelease, TargetName};

use super::OptionError;

/// Anything with a text form that is read as it is, such as a number or an address.
pub(super) fn number<N: std::str::FromStr>(
    option: &str,
    value: &OsStr,
    expected: &'static str,
) -> Result<N, OptionError> {
    value
        .to_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| bad_value(option, value, expected))
}

/// `RELEASE:ARCH`, or a release of this host's architecture.
pub(super) fn target(option: &str, value: &OsStr) -> Result<TargetName, OptionError> {
    let bad = || bad_value(option, value, "a kernel release, or RELEASE:ARCH");
    let text = value.to_str().ok_or_else(bad)?;
    let host = rustix::system::uname();
    let host = host.machine().to_string_lossy();
    let (release, arch) = text.split_once(':').unwrap_or((text, &host));
    let (release, arch) = (release.parse(), arch.parse());
    match (release, arch) {
        (Ok(release), Ok(arch)) => Ok(TargetName { release, arch }),
        _ => Err(bad()),
    }
}

/// A path is a build tree, as it is for stap's own `-r`.
pub(super) fn release(option: &str, value: OsString) -> Result<ReleaseChoice, OptionError> {
    if value.as_bytes().starts_with(b"/") {
        return Ok(ReleaseChoice::BuildTree(value.into()));
    }
    let bad = bad_value(
        option,
        &value,
        "a kernel release or the path of a build tree",
    );
    let release: KernelRelease = value
        .to_str()
        .and_then(|text| text.parse().ok())
        .ok_or(bad)?;
    Ok(ReleaseChoice::Release(release.into()))
}

/// The error for a value that is not what an option takes.
pub(super) fn bad_value(option: &str, value: &OsStr, expected: &'static str) -> OptionError {
    OptionError::BadValue {
        option: option.to_owned(),
        value: value.to_string_lossy().into_owned(),
        expected,
    }
}
