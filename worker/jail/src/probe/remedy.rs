//! What an operator can do about a layer that is missing.

use crate::layer::Layer;

pub(super) fn of(layer: Layer) -> &'static str {
    match layer {
        Layer::SlotUid => {
            "rely on `user` and start the server as an ordinary user, or as root of the host with \
             CAP_SETUID and CAP_SETGID; the root of a user namespace often has no other uid to give"
        }
        Layer::User => {
            "allow user namespaces to this user: user.max_user_namespaces > 0, \
             kernel.unprivileged_userns_clone=1 where it exists, \
             kernel.apparmor_restrict_unprivileged_userns=0 or an AppArmor profile for stap-worker \
             and stap-jail, no RestrictNamespaces= in the systemd unit, no seccomp filter against them in a container"
        }
        Layer::Mount => {
            "needs `user` or root with CAP_SYS_ADMIN, and Linux 5.12 or newer; in a container allow \
             the mount system calls"
        }
        Layer::Pid | Layer::Net | Layer::Ipc | Layer::Uts | Layer::CgroupNamespace => {
            "needs `user` or root with CAP_SYS_ADMIN; in a systemd unit no RestrictNamespaces="
        }
        Layer::Proc => {
            "needs `mount` and `pid`, and a /proc of which nothing is covered: in a systemd unit no \
             ProtectKernelTunables=, ProtectKernelLogs= or ProtectControlGroups=, in a container an \
             unmasked /proc"
        }
        Layer::Rlimits | Layer::Capabilities => {
            "every Linux has this; look for a seccomp filter around the server that forbids it"
        }
        Layer::NoNewPrivs => "every Linux since 3.5 has this; the kernel is not one we know",
        Layer::Landlock => {
            "Linux 5.13 or newer with CONFIG_SECURITY_LANDLOCK=y and `landlock` in the lsm= list of \
             the kernel's command line"
        }
        Layer::Seccomp => {
            "a kernel with CONFIG_SECCOMP_FILTER=y on x86_64, aarch64 or riscv64; for other machines \
             there is no filter yet"
        }
    }
}
