//! What stap says that its passes took, with `-v`.

use std::ops::Add;
use std::time::Duration;

/// Processor time.
#[derive(Clone, Copy, Default)]
pub(crate) struct Passes {
    /// Parsing, elaboration and translation, with all that stap starts for them.
    pub(crate) first: Duration,
    /// Compilation: all that stap starts for it.
    pub(crate) fourth: Duration,
}

impl Passes {
    /// Reads lines like `Pass 1: parsed user script ... in 130usr/100sys/474real ms.`
    pub(crate) fn read(said: &str) -> Self {
        let mut passes = Self::default();
        for line in said.lines() {
            let Some((pass, rest)) = line
                .strip_prefix("Pass ")
                .and_then(|rest| rest.split_once(':'))
            else {
                continue;
            };
            let sum = match pass {
                "4" => &mut passes.fourth,
                _ => &mut passes.first,
            };
            *sum += used(rest).unwrap_or_else(|| panic!("stap says its times otherwise: {line}"));
        }
        passes
    }
}

fn used(line: &str) -> Option<Duration> {
    let (_, times) = line.rsplit_once(" in ")?;
    let mut parts = times.split('/');
    let user: u64 = parts.next()?.strip_suffix("usr")?.parse().ok()?;
    let system: u64 = parts.next()?.strip_suffix("sys")?.parse().ok()?;
    Some(Duration::from_millis(user + system))
}

impl Add for Passes {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            first: self.first + other.first,
            fourth: self.fourth + other.fourth,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_time_of_each_pass_is_read_and_not_the_wall() {
        let said = "Using a compile server.\n\
            Pass 1: parsed user script and 480 library scripts using 1virt/2res/3shr/4data kb, in 130usr/100sys/474real ms.\n\
            Pass 2: analyzed script: 1 probe, 0 globals using 1virt/2res/3shr/4data kb, in 5usr/6sys/700real ms.\n\
            Pass 3: translated to C into \"/tmp/in here/x_src.c\" using 1virt/2res/3shr/4data kb, in 1usr/1sys/2real ms.\n\
            Pass 4: compiled C into \"x.ko\" in 900usr/300sys/9999real ms.\n";
        let passes = Passes::read(said);
        assert_eq!(passes.first, Duration::from_millis(243));
        assert_eq!(passes.fourth, Duration::from_millis(1200));
    }
}
