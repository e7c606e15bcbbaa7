//! Values that can be read and hardly be meant.
//!
//! Each of them is allowed: a policy is the operator's word. They are told when a policy is checked.

use crate::layers::Demand;
use crate::policy::Policy;

/// What the judgement has to know of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its memory in bytes, where that is known.
    pub memory: Option<u64>,
    /// Its processors.
    pub processors: u64,
    /// Jobs that run at the same time.
    pub slots: u64,
}

/// What is doubtful, by the field that it is about.
pub(crate) fn of(policy: &Policy, host: &Host) -> Vec<(&'static str, String)> {
    let mut doubts = Vec::new();
    of_limits(policy, host, &mut doubts);
    of_requests(policy, &mut doubts);
    of_layers(policy, &mut doubts);
    doubts
}

fn of_limits(policy: &Policy, host: &Host, doubts: &mut Vec<(&'static str, String)>) {
    let limits = policy.limits();
    let (memory, workspace) = (limits.memory, limits.workspace);
    if workspace.bytes() > memory.bytes() {
        doubts.push((
            "limits.workspace",
            format!("a workspace is in memory, and {workspace} is more than `memory`, {memory}; a job meets that first"),
        ));
    }
    if limits.result_bytes.bytes() > workspace.bytes() {
        let results = limits.result_bytes;
        doubts.push((
            "limits.result-bytes",
            format!("results are taken from the workspace, and {results} is more than `workspace`, {workspace}"),
        ));
    }
    if limits.file.bytes() > workspace.bytes() {
        let file = limits.file;
        doubts.push((
            "limits.file",
            format!("files are in the workspace, and {file} is more than `workspace`, {workspace}"),
        ));
    }
    let percent = limits.cpu_percent.get().min(host.processors * 100);
    let most = limits.wall.duration().as_secs().saturating_mul(percent) / 100;
    if limits.cpu.duration().as_secs() > most {
        let (cpu, wall) = (limits.cpu, limits.wall);
        doubts.push((
            "limits.cpu",
            format!(
                "no job can use {cpu} of processor time: within `wall`, {wall}, at {percent} percent of a processor, \
                 it gets {most} s"
            ),
        ));
    }
    let all = memory.bytes().saturating_mul(host.slots);
    if let Some(ram) = host.memory.filter(|ram| all > *ram) {
        let (slots, ram) = (host.slots, ram >> 20);
        doubts.push((
            "limits.memory",
            format!(
                "{slots} jobs at a time may use {memory} each, and this host has {ram} MiB; give fewer slots \
                 (--max-threads) or less memory"
            ),
        ));
    }
}

fn of_requests(policy: &Policy, doubts: &mut Vec<(&'static str, String)>) {
    let (request, limits) = (policy.request(), policy.limits());
    let (unpacked, workspace) = (request.unpacked, limits.workspace);
    if request.compressed.bytes() > unpacked.bytes() {
        let compressed = request.compressed;
        doubts.push((
            "request.compressed",
            format!("{compressed} packed is more than `unpacked`, {unpacked}; packing makes requests smaller"),
        ));
    }
    if unpacked.bytes() > workspace.bytes() {
        doubts.push((
            "request.unpacked",
            format!("a request is unpacked into the workspace, and {unpacked} is more than `workspace`, {workspace}"),
        ));
    }
    if request.files.get() > limits.workspace_files.get() {
        let (files, most) = (request.files, limits.workspace_files);
        doubts.push((
            "request.files",
            format!("a request's files are in the workspace, and {files} is more than `workspace-files`, {most}"),
        ));
    }
    let admission = policy.admission();
    if admission.connections_per_peer.get() > admission.connections.get() {
        let (one, all) = (admission.connections_per_peer, admission.connections);
        doubts.push((
            "admission.connections-per-peer",
            format!(
                "{one} is more than `connections`, {all}, so that one peer can take all of them"
            ),
        ));
    }
}

fn of_layers(policy: &Policy, doubts: &mut Vec<(&'static str, String)>) {
    let layers = policy.layers();
    let off = |demand: Demand| demand == Demand::Off;
    if off(layers.mount) && off(layers.landlock) {
        doubts.push((
            "layers.mount",
            "with `mount` and `landlock` off nothing hides the server's files from jobs; no server starts".to_owned(),
        ));
    }
    if off(layers.pid) && off(layers.cgroup) && off(layers.landlock) {
        doubts.push((
            "layers.pid",
            "with `pid`, `cgroup` and `landlock` off nothing ends a job for certain; no server starts".to_owned(),
        ));
    }
    let resting = [
        ("layers.proc", layers.proc, "mount", layers.mount),
        ("layers.proc", layers.proc, "pid", layers.pid),
        (
            "layers.landlock",
            layers.landlock,
            "no-new-privs",
            layers.no_new_privs,
        ),
        (
            "layers.seccomp",
            layers.seccomp,
            "no-new-privs",
            layers.no_new_privs,
        ),
    ];
    for (field, demand, needed, of_needed) in resting {
        if demand == Demand::Require && off(of_needed) {
            doubts.push((
                field,
                format!("it rests on `{needed}`, which is off; no server starts"),
            ));
        }
    }
}
