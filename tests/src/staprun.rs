//! The real `staprun` of some release, installed as its package does it, for somebody who may run signed
//! modules only.
//!
//! A setuid program is there for the lab alone: it is in an overlay whose every layer is in the lab's
//! own mount namespace, below a directory that nobody but root enters. Its kernel is this machine's, so
//! it never has the capability to load a module, wherever a test runs.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};

use rustix::mount::MountFlags;

use crate::command::Invocation;
use crate::finished::Finished;
use crate::lab::{Lab, User, set_mode};
use crate::world::{OTHER_ROOT, PATH};

/// Holds the layers and what they make.
const PLACE: &str = "/run/lab/staprun";
/// The root that is changed, as the lab sees it.
const ROOT: &str = "/run/lab/staprun/root";
/// Where `staprun` looks for certificates that it trusts.
const STORE: &str = "/etc/systemtap/staprun";
/// Where modules are, for whoever is in the root.
const MODULES: &str = "/srv";
/// What NSS keeps a store in.
const STORE_FILES: [&str; 3] = ["cert9.db", "key4.db", "pkcs11.txt"];
/// What it kept one in before 2018.
const FORMER_FILES: [&str; 3] = ["cert8.db", "key3.db", "secmod.db"];

/// The `staprun` of [`OTHER_ROOT`], and a member of `stapusr`.
#[derive(Debug)]
pub struct Staprun<'a> {
    lab: &'a Lab,
    user: User,
    /// The number of `stapusr` in that root.
    group: u32,
}

impl<'a> Staprun<'a> {
    /// Installs it for `user`, with an empty store.
    ///
    /// # Panics
    /// When the kernel refuses, or when the root has no `staprun`.
    #[must_use]
    pub fn install(lab: &'a Lab, user: User) -> Self {
        lay_out();
        let program = inside("/usr/bin/staprun");
        let group = group_number("stapusr");
        chown(&program, Some(0), Some(group)).expect("a root with stap has staprun");
        set_mode(&program, 0o4754);
        for directory in [STORE, MODULES] {
            fs::create_dir_all(inside(directory)).expect("it is an overlay");
            set_mode(&inside(directory), 0o755);
        }
        let staprun = Self { lab, user, group };
        staprun.certutil(&["-N", "--empty-password"]);
        staprun.set_store_mode(0o644);
        staprun
    }

    /// Trusts the server with this certificate, the way `docs/signing.md` tells administrators.
    pub fn trust(&self, certificate: &Path) {
        let certificate = certificate.display().to_string();
        let add = ["-A", "-n", "stap-server", "-t", ",,", "-i", &certificate];
        self.certutil(&add);
    }

    /// Makes the store readable, or writable as well, for those whom `mode` says.
    pub fn set_store_mode(&self, mode: u32) {
        for name in STORE_FILES {
            set_mode(&inside(STORE).join(name), mode);
        }
    }

    /// Sets who may add files to the store, and take them away.
    pub fn set_directory_mode(&self, mode: u32) {
        set_mode(&inside(STORE), mode);
    }

    /// Adds empty files with the names of before 2018 to the store.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn add_former_files(&self) {
        for name in FORMER_FILES {
            fs::write(inside(STORE).join(name), "").expect("it is an overlay");
        }
    }

    /// Takes them away.
    ///
    /// # Panics
    /// When they are not there.
    pub fn remove_former_files(&self) {
        for name in FORMER_FILES {
            fs::remove_file(inside(STORE).join(name)).expect("they were added");
        }
    }

    /// Lets the path `sql:/...` lead to `/...` from where the modules are.
    ///
    /// # Panics
    /// When it does so already.
    pub fn add_sql_entry(&self) {
        symlink("/", inside(MODULES).join("sql:")).expect("it is an overlay");
    }

    /// Takes that away.
    ///
    /// # Panics
    /// When it is not there.
    pub fn remove_sql_entry(&self) {
        fs::remove_file(inside(MODULES).join("sql:")).expect("it was added");
    }

    /// Puts a module there under a name of the caller's, and its signature where there is one.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn put(&self, name: &str, module: &[u8], signature: Option<&[u8]>) {
        let module_file = inside(MODULES).join(name);
        fs::write(&module_file, module).expect("it is an overlay");
        if let Some(signature) = signature {
            let signature_file = module_file.with_added_extension("sgn");
            fs::write(signature_file, signature).expect("it is an overlay");
        }
    }

    /// Runs it as its user, so that it says what it does.
    #[must_use]
    pub fn run(&self, module: &str) -> Finished {
        let identity = format!("--userspec={0}:{0}", self.user.id);
        let groups = format!("--groups={}", self.group);
        Invocation::new("setpriv")
            .args(["--bounding-set=-sys_module", "chroot", &identity, &groups])
            .args([ROOT, "env", "--chdir", MODULES])
            .args(["staprun", "-v", "-v", "-v", module])
            .env("PATH", PATH)
            .run()
    }

    /// Changes the store as root of the lab does.
    fn certutil(&self, words: &[&str]) {
        let store = format!("sql:{}", inside(STORE).display());
        let words = words.iter().copied().chain(["-d", &store]);
        self.lab.root().run("certutil", words).exits(0);
    }
}

/// Where something in the root is for the lab.
fn inside(path: &str) -> PathBuf {
    Path::new(ROOT).join(path.trim_start_matches('/'))
}

/// Mounts the overlay, and what a program expects in its root.
fn lay_out() {
    for part in ["upper", "work", "root"] {
        fs::create_dir_all(Path::new(PLACE).join(part)).expect("/run is ours");
    }
    set_mode(Path::new(PLACE), 0o700);
    let layers = format!("lowerdir={OTHER_ROOT},upperdir={PLACE}/upper,workdir={PLACE}/work");
    let layers = CString::new(layers).expect("paths have no NUL");
    let empty = MountFlags::empty();
    rustix::mount::mount("lab", ROOT, "overlay", empty, Some(&*layers)).expect("root may mount");
    rustix::mount::mount("lab", inside("/proc"), "proc", empty, None).expect("root may mount");
    for shared in ["/dev", "/sys"] {
        rustix::mount::mount_bind_recursive(shared, inside(shared)).expect("root may mount");
    }
}

/// The number of a group of the root, which need not be the same one for the lab.
fn group_number(name: &str) -> u32 {
    let groups = fs::read_to_string(inside("/etc/group")).expect("a root has groups");
    let mut fields = groups.lines().map(|line| line.split(':'));
    let group = fields.find_map(|mut fields| (fields.next() == Some(name)).then_some(fields));
    let number = group.and_then(|mut fields| fields.nth(1)?.parse().ok());
    number.unwrap_or_else(|| panic!("{OTHER_ROOT} has no group {name}"))
}
