//! A Debian system of its own in a guest, with our programs in its payload.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::command::Invocation;
use crate::finished::Finished;
use crate::requirement;
use crate::root;
use crate::wait;
use crate::world::{PATH, PROGRAMS};

/// A root that `deploy/target-root --system` has made; see [`requirement`] for how it is named.
#[derive(Debug)]
pub struct System {
    root: PathBuf,
    release: String,
    payload: PathBuf,
}

impl System {
    /// Prepares a machine in which `program` can run parts of itself. None when this machine has no
    /// such root.
    ///
    /// # Panics
    /// When a program has not been built.
    #[must_use]
    pub fn prepare(program: &Path) -> Option<Self> {
        let root = requirement::system_root()?;
        let release = cloud_kernel(&root);
        let profile = program.parent().expect("a program is in a directory");
        let payload = profile.join(format!("guest-payload-{}", std::process::id()));
        let system = Self {
            root,
            release,
            payload,
        };
        system.pack(profile, program);
        Some(system)
    }

    /// The checkout's folders where `deploy/install` expects them, and all programs.
    fn pack(&self, profile: &Path, program: &Path) {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let programs = self.payload.join("programs");
        fs::create_dir_all(&programs).expect("cargo's own directory is writable");
        let everybody = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&self.payload, everybody).expect("it is ours");
        let own = program.file_name().expect("a program has a name");
        let built = PROGRAMS.iter().chain(CORPUS).map(Path::new);
        for from in built.chain([Path::new(own)]).map(|name| profile.join(name)) {
            let name = from.file_name().expect("a program has a name");
            fs::copy(&from, programs.join(name))
                .unwrap_or_else(|error| panic!("{}: {error}: run tests/run", from.display()));
        }
        let checkout = package.parent().expect("tests are part of a checkout");
        for folder in ["deploy", "policies", "tests/standins"] {
            let mut copy = Command::new("cp");
            copy.arg("-r").arg(checkout.join(folder)).arg(&self.payload);
            let status = copy.status().expect("cp is part of every system");
            assert!(status.success(), "copying {folder}: {status}");
        }
    }

    /// Boots it, has the program run one of its parts, and returns the results that it printed, one
    /// a line.
    ///
    /// # Panics
    /// When there was no machine, or a result is none.
    #[must_use]
    pub fn run(&self, program: &str, part: &str) -> (Finished, Vec<Value>) {
        let guest = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy/guest");
        let finished = Invocation::new(guest)
            .args(["--system", "--timeout", TIMEOUT, "--kernel", &self.release])
            .arg("--root")
            .arg(&self.root)
            .arg("--payload")
            .arg(&self.payload)
            .args(["--run", "env", &format!("{}={SLOWNESS}", wait::SLOWNESS)])
            .arg(format!("/run/guest/payload/programs/{program}"))
            .arg(part)
            .env("PATH", PATH)
            .deadline(DEADLINE)
            .run();
        let said = finished.out();
        let results = said.lines().map(|line| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {finished}"))
        });
        let results = results.collect();
        (finished, results)
    }
}

impl Drop for System {
    fn drop(&mut self) {
        // What is left there is in cargo's own directory, and `cargo clean` takes it away.
        drop(fs::remove_dir_all(&self.payload));
    }
}

/// The kernel that has the drivers of a machine like this built in.
fn cloud_kernel(root: &Path) -> String {
    let mut releases = root::releases_of(root).into_iter();
    let cloud = releases.find(|release| release.contains("-cloud-"));
    cloud.expect("deploy/target-root takes two flavours")
}

/// The hostile corpus, and the attacks that it starts.
const CORPUS: &[&str] = &["hostile-corpus", "hostile-stap"];
/// How much slower an emulated processor is, by the machine's own clock: that goes slowly too while
/// others are busy on the real one.
const SLOWNESS: u32 = 10;
/// In seconds, for all that a machine does.
const TIMEOUT: &str = "3000";
const DEADLINE: Duration = Duration::from_secs(3060);
