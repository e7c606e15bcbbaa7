//! What a kernel build tree says about itself.

use std::io;
use std::path::{Path, PathBuf};

use stap_protocol::signing::SignatureHash;
use stap_protocol::target::{Arch, KernelRelease, TargetNameError};

use super::root::Root;

/// A build tree that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Inside the root, without links.
    pub path: PathBuf,
    /// From `include/config/kernel.release`, unless the variables of the tree say otherwise.
    pub release: KernelRelease,
    /// From `.config`.
    pub arch: Arch,
    /// The compiler that kbuild will start, inside the root.
    pub compiler: PathBuf,
    /// From `.config`.
    pub signature_hash: SignatureHash,
}

/// Why a build tree is of no use, and what would help.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// `build` is missing or a link to nothing.
    #[error("its build tree is not there; install the kernel headers of this release in the root")]
    Dangling {
        /// How the kernel refused the path.
        source: io::Error,
    },
    /// A file without which nothing can be built.
    #[error("{file} cannot be read ({source}); install the kernel headers of this release again")]
    Unreadable {
        /// Relative to the tree.
        file: &'static str,
        /// Why.
        source: io::Error,
    },
    /// `include/config/kernel.release` holds no release.
    #[error("include/config/kernel.release holds no kernel release: {0}")]
    Release(#[from] TargetNameError),
    /// None of the architectures that we can tell.
    #[error(".config names no architecture that is supported here")]
    Arch,
    /// Modules must be built by the compiler of the kernel.
    #[error("its compiler {0} is not in the root; install the package that provides it")]
    Compiler(String),
}

impl Tree {
    /// Reads the tree at `path` inside the root.
    ///
    /// # Errors
    ///
    /// When no module can be built with it.
    pub fn read(root: &Root, path: &Path) -> Result<Self, TreeError> {
        let dangling = |source| TreeError::Dangling { source };
        let path = root.resolve(path).map_err(dangling)?;
        let variables = text(root, &path, VARIABLES_FILE, MAX_VARIABLES).unwrap_or_default();
        let written = text(root, &path, RELEASE_FILE, MAX_RELEASE)?;
        let release = release_of(&variables, &written)?;
        let config = text(root, &path, CONFIG_FILE, MAX_CONFIG)?;
        let arch = arch_of(&config).ok_or(TreeError::Arch)?;
        let compiler = compiler_of(root, &variables, &config)?;
        Ok(Self {
            path,
            release,
            arch,
            compiler,
            signature_hash: signature_hash_of(&config),
        })
    }

    /// Whether the compiler makes code for the tree's architecture on any machine: it is named after it, or
    /// is one that takes the machine as an option.
    #[must_use]
    pub fn has_cross_compiler(&self) -> bool {
        let name = self
            .compiler
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let triplet = TRIPLETS
            .iter()
            .find(|(arch, _)| *arch == self.arch.as_str());
        name.starts_with("clang") || triplet.is_some_and(|(_, prefix)| name.starts_with(prefix))
    }
}

fn text(root: &Root, tree: &Path, file: &'static str, max: usize) -> Result<String, TreeError> {
    let unreadable = |source| TreeError::Unreadable { file, source };
    let content = root.read(&tree.join(file), max).map_err(unreadable)?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}

/// kbuild builds for the release that a tree's variables override: Debian 12 leaves that of the source in the file.
fn release_of(variables: &str, written: &str) -> Result<KernelRelease, TargetNameError> {
    let overridden = assigned(variables, "KERNELRELEASE").and_then(|release| release.parse().ok());
    overridden.map_or_else(|| written.trim().parse(), Ok)
}

fn arch_of(config: &str) -> Option<Arch> {
    let is_set = |option: &str| {
        config
            .lines()
            .any(|line| line.strip_suffix("=y") == Some(option))
    };
    let (_, machine) = ARCHITECTURES.iter().find(|(option, _)| is_set(option))?;
    machine.parse().ok()
}

/// A kernel that names none, or one that we cannot make, gets the usual one.
fn signature_hash_of(config: &str) -> SignatureHash {
    let named = config.lines().find_map(|line| {
        let value = line.strip_prefix("CONFIG_MODULE_SIG_HASH=\"")?;
        SignatureHash::from_word(value.strip_suffix('"')?)
    });
    named.unwrap_or_default()
}

/// Debian's trees name their compiler in `.kernelvariables`; everywhere else kbuild starts `gcc` (or
/// `clang` where the kernel was built by it) unless it is told otherwise.
fn compiler_of(root: &Root, variables: &str, config: &str) -> Result<PathBuf, TreeError> {
    let named = named_by_variables(variables);
    let candidates = match &named {
        Some(name) => vec![name.as_str()],
        None => vec![
            built_by(config)
                .filter(|name| name.starts_with("clang"))
                .unwrap_or("gcc"),
        ],
    };
    let found = candidates.iter().find_map(|name| program(root, name));
    found.ok_or_else(|| TreeError::Compiler(candidates.join(" or ")))
}

fn named_by_variables(variables: &str) -> Option<String> {
    let prefix = assigned(variables, "CROSS_COMPILE").unwrap_or_default();
    let command = assigned(variables, "CC")?.split_whitespace().last()?;
    let name = command.replace("$(CROSS_COMPILE)", prefix);
    name.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte))
        .then_some(name)
}

/// The value of a make variable in a file of plain assignments. What a condition guards is not for this host: Debian sets
/// a prefix so for cross compiling.
fn assigned<'a>(variables: &'a str, wanted: &str) -> Option<&'a str> {
    let mut conditions = 0_usize;
    variables.lines().find_map(|line| {
        match line.split_whitespace().next().unwrap_or_default() {
            "ifeq" | "ifneq" | "ifdef" | "ifndef" => conditions += 1,
            "endif" => conditions = conditions.saturating_sub(1),
            _ => (),
        }
        if conditions > 0 {
            return None;
        }
        let (name, value) = line.split_once('=')?;
        let name = name.trim_end_matches([':', '?', '+']).trim();
        let name = name.strip_prefix("override").map_or(name, str::trim_start);
        (name == wanted).then(|| value.trim())
    })
}

fn built_by(config: &str) -> Option<&str> {
    let line = config
        .lines()
        .find_map(|line| line.strip_prefix("CONFIG_CC_VERSION_TEXT=\""))?;
    line.split([' ', '"']).next()
}

/// Looks for a program where the jail's `PATH` will.
pub fn program(root: &Root, name: &str) -> Option<PathBuf> {
    PROGRAM_DIRECTORIES.iter().find_map(|directory| {
        let path = Path::new(directory).join(name);
        root.file(&path).is_ok().then_some(path)
    })
}

/// The directories of the jail's `PATH`, in its order.
pub const PROGRAM_DIRECTORIES: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// What marks an architecture in `.config`, and how the kernel spells it.
const ARCHITECTURES: [(&str, &str); 8] = [
    ("CONFIG_X86_64", "x86_64"),
    ("CONFIG_X86_32", "i386"),
    ("CONFIG_ARM64", "arm64"),
    ("CONFIG_ARM", "arm"),
    ("CONFIG_S390", "s390"),
    ("CONFIG_PPC", "powerpc"),
    ("CONFIG_RISCV", "riscv"),
    ("CONFIG_MIPS", "mips"),
];

/// How the names of the compilers for an architecture begin.
const TRIPLETS: [(&str, &str); 8] = [
    ("x86_64", "x86_64-linux-gnu-"),
    ("i386", "i686-linux-gnu-"),
    ("arm64", "aarch64-linux-gnu-"),
    ("arm", "arm-linux-gnueabi"),
    ("s390", "s390x-linux-gnu-"),
    ("powerpc", "powerpc64le-linux-gnu-"),
    ("riscv", "riscv64-linux-gnu-"),
    ("mips", "mips"),
];

/// The file that says for which kernel a tree is.
pub const RELEASE_FILE: &str = "include/config/kernel.release";
/// The kernel's configuration.
pub const CONFIG_FILE: &str = ".config";
const VARIABLES_FILE: &str = ".kernelvariables";
const MAX_RELEASE: usize = 256;
/// Ten times the configuration of a distribution's kernel.
pub const MAX_CONFIG: usize = 4 << 20;
const MAX_VARIABLES: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_that_is_overridden_counts() {
        let release = |variables| release_of(variables, "6.1.176\n").unwrap().to_string();
        assert_eq!(
            release("override KERNELRELEASE = 6.1.0-50-amd64\n"),
            "6.1.0-50-amd64"
        );
        assert_eq!(release("override ARCH = x86\n"), "6.1.176");
        assert_eq!(release("KERNELRELEASE = $(shell uname -r)\n"), "6.1.176");
    }

    #[test]
    fn what_a_condition_guards_does_not_name_the_compiler() {
        let variables = "CC = $(if $(DEBIAN_KERNEL_USE_CCACHE),$(CCACHE)) $(CROSS_COMPILE)gcc-12\n\
             ifneq ($(DEB_BUILD_ARCH),$(DEB_HOST_ARCH))\n\
             override CROSS_COMPILE = $(DEB_HOST_GNU_TYPE)-\n\
             endif\n\
             DEBIAN_KERNEL_NO_CC_VERSION_CHECK = y\n";
        assert_eq!(named_by_variables(variables).as_deref(), Some("gcc-12"));
        let behind = format!("{variables}override CROSS_COMPILE = x86_64-linux-gnu-\n");
        assert_eq!(
            named_by_variables(&behind).as_deref(),
            Some("x86_64-linux-gnu-gcc-12")
        );
    }

    #[test]
    fn the_compiler_of_a_debian_tree_is_the_one_that_its_variables_name() {
        let variables = "override ARCH = x86\n\
             CC = $(if $(DEBIAN_KERNEL_USE_CCACHE),$(CCACHE)) $(CROSS_COMPILE)gcc-16\n\
             override CROSS_COMPILE = x86_64-linux-gnu-\n";
        assert_eq!(
            named_by_variables(variables).as_deref(),
            Some("x86_64-linux-gnu-gcc-16")
        );
        assert_eq!(named_by_variables("CC = gcc`touch x`"), None);
        assert_eq!(named_by_variables("CC_FLAGS = -g\n"), None);
    }

    #[test]
    fn the_architecture_is_the_one_that_is_configured() {
        let arch = |config: &str| arch_of(config).map(|arch| arch.as_str().to_owned());
        assert_eq!(
            arch("CONFIG_64BIT=y\nCONFIG_X86_64=y\n").as_deref(),
            Some("x86_64")
        );
        assert_eq!(arch("CONFIG_ARM64=y\n").as_deref(), Some("arm64"));
        assert_eq!(
            arch("# CONFIG_X86_64 is not set\nCONFIG_ARM_AMBA=y\n"),
            None
        );
    }

    #[test]
    fn modules_are_signed_with_the_digest_of_the_kernel_s_own() {
        let hash = |config: &str| signature_hash_of(config).to_string();
        assert_eq!(
            hash("CONFIG_MODULE_SIG=y\nCONFIG_MODULE_SIG_HASH=\"sha256\"\n"),
            "sha256"
        );
        assert_eq!(hash("CONFIG_MODULE_SIG_HASH=\"sha3-512\"\n"), "sha512");
        assert_eq!(hash("# CONFIG_MODULE_SIG is not set\n"), "sha512");
    }

    #[test]
    fn a_kernel_built_by_clang_wants_clang() {
        assert_eq!(
            built_by("CONFIG_CC_VERSION_TEXT=\"clang version 19.1\"\nCONFIG_X=y\n"),
            Some("clang")
        );
        assert_eq!(built_by("CONFIG_X=y\n"), None);
    }
}
