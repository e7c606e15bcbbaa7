//! What a job can tell of the kernel that it runs on.

use std::fs;
use std::io;

use stap_protocol::target::TargetName;

/// Names the running kernel; for a target that is this very kernel, and only where jobs see it, also
/// this boot and the modules that are loaded, since its list of symbols is made of them.
pub(super) fn told(target: &TargetName, is_shown: bool) -> io::Result<Vec<u8>> {
    let running = rustix::system::uname();
    let mut told = Vec::new();
    for text in [running.release(), running.version(), running.machine()] {
        told.extend_from_slice(text.to_bytes_with_nul());
    }
    if is_shown && running.release().to_bytes() == target.release.as_str().as_bytes() {
        told.extend(fs::read("/proc/sys/kernel/random/boot_id")?);
        // A kernel without loadable modules has no such list.
        let modules = fs::read_to_string("/proc/modules").unwrap_or_default();
        for line in modules.lines() {
            told.extend_from_slice(line.split(' ').next().unwrap_or_default().as_bytes());
            told.push(b'\n');
        }
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_kernel_that_jobs_see_counts_with_its_boot() {
        let running = rustix::system::uname();
        let release = running.release().to_str().unwrap().parse().unwrap();
        let arch = "x86_64".parse().unwrap();
        let own = TargetName { release, arch };
        let other = TargetName {
            release: "1.2.3".parse().unwrap(),
            ..own.clone()
        };
        let hidden = told(&own, false).unwrap();
        assert_eq!(told(&other, true).unwrap(), hidden);
        let boot = fs::read("/proc/sys/kernel/random/boot_id").unwrap();
        let shown = told(&own, true).unwrap();
        assert!(shown.windows(boot.len()).any(|part| part == boot));
    }
}
