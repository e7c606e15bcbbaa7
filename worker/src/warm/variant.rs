//! The ways of calling stap that it tells apart in what it finds out.

use stap_protocol::options::{self, CommandLine};

/// stap probes again for guru mode, as it is part of the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Without `-g`.
    Plain,
    /// With it.
    Guru,
}

impl Variant {
    /// The variant that a command line needs; `None` when it never comes to compiling C.
    pub(crate) fn needed_by(arguments: &[Vec<u8>]) -> Option<Self> {
        let command = options::parse(arguments).ok()?;
        command.reaches_pass_4().then(|| Self::of(&command))
    }

    /// That of a command line which was read.
    #[must_use]
    pub fn of(command: &CommandLine) -> Self {
        if command.has_short('g') {
            Self::Guru
        } else {
            Self::Plain
        }
    }

    /// Its name in files and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Guru => "guru",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needed(arguments: &[&str]) -> Option<Variant> {
        let arguments: Vec<_> = arguments
            .iter()
            .map(|word| word.as_bytes().to_vec())
            .collect();
        Variant::needed_by(&arguments)
    }

    #[test]
    fn only_what_compiles_is_warmed_and_guru_mode_apart() {
        let script = "-eprobe begin { exit() }";
        assert_eq!(needed(&["-p4", script]), Some(Variant::Plain));
        assert_eq!(needed(&[script]), Some(Variant::Plain));
        assert_eq!(needed(&["-vg", "-p4", script]), Some(Variant::Guru));
        assert_eq!(needed(&["-p4", "x.stp", "--", "-g"]), Some(Variant::Plain));
        for never in [
            &["-p2", script],
            &["-l", "begin"],
            &["--runtime=bpf", script],
        ] {
            assert_eq!(needed(never), None, "{never:?}");
        }
    }
}
