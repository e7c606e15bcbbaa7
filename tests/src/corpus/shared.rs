//! What processes of one user share by name: memory, semaphores, a message queue and a key. They lie
//! around as the job's user made them, and are taken away whatever becomes of the run.

use anyhow::ensure;

use super::{Situation, Verdict, bench};

/// All of them.
#[derive(Debug)]
pub(super) struct Shared {
    situation: Situation,
    /// The orders that take away what was made so far.
    left: Vec<[String; 2]>,
}

impl Shared {
    /// Makes them; the queue and the key are called `unique`.
    pub(super) fn make(situation: &Situation, unique: &str) -> anyhow::Result<Self> {
        let mut shared = Self {
            situation: situation.clone(),
            left: Vec::new(),
        };
        for (thing, name) in [
            ("shared-memory", SYSTEM_V),
            ("semaphores", SYSTEM_V),
            ("queue", unique),
            ("key", unique),
        ] {
            shared.order(&[format!("make-{thing}"), name.to_owned()])?;
            let removal = [format!("remove-{thing}"), name.to_owned()];
            shared.left.push(removal);
        }
        Ok(shared)
    }

    /// Takes all of them away, also those after one that resists, which is named.
    pub(super) fn remove(&mut self) -> anyhow::Result<()> {
        let left = std::mem::take(&mut self.left);
        let removed: Vec<_> = left.iter().map(|removal| self.order(removal)).collect();
        removed.into_iter().collect()
    }

    fn order(&self, words: &[String; 2]) -> anyhow::Result<()> {
        let verdict = bench::bare(&self.situation, self.situation.job_uid(), words)?;
        ensure!(
            matches!(verdict, Verdict::Escaped { .. }),
            "preparing with {words:?}: {verdict:?}"
        );
        Ok(())
    }
}

impl Drop for Shared {
    /// After an error that has been reported; what resists now is seen by whoever compares the machine.
    fn drop(&mut self) {
        drop(self.remove());
    }
}

/// The key of System V objects.
pub(super) const SYSTEM_V: &str = "1465909249";
