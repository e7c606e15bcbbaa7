//! What the numbers were measured on.

use std::fs;
use std::path::Path;

use stap_tests::root;
use stap_tests::world::TARGET_ROOT;

/// Prints the machine, because numbers without one mean nothing.
pub(crate) fn describe() {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let model = read("/proc/cpuinfo");
    let model = model
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model);
    let kernel = read("/proc/sys/kernel/osrelease");
    println!(
        "Machine: {processors} processors ({model}), Linux {}",
        kernel.trim()
    );
    println!("Target: {}, distribution {}", target(), distribution());
    println!("Load before: {}", load());
}

/// The kernel that everything here is compiled for.
pub(crate) fn target() -> String {
    root::releases().swap_remove(0)
}

/// The load averages, which say how quiet the machine was.
pub(crate) fn load() -> String {
    let averages = read("/proc/loadavg");
    averages.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn distribution() -> String {
    let file = Path::new(TARGET_ROOT).join("etc/os-release");
    let text = fs::read_to_string(file).unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("unknown").trim_matches('"').to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
