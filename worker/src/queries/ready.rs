//! What the jobs of a target are shown.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::Missing;
use super::answer::{Answer, Answers};
use super::listing::Batch;
use crate::driver::Shown;

/// Answers on a shelf, and where stap looks for them. A copy stays as it is while more are added.
#[derive(Clone, Debug)]
pub struct Ready {
    shown: Shown,
    links: Arc<Vec<(String, String)>>,
    missing: Arc<Vec<Missing>>,
}

impl Ready {
    /// Nothing yet, in a directory that may hold the answers of another variant.
    ///
    /// # Errors
    ///
    /// When nothing can be written there.
    pub fn nothing(shown: Shown) -> io::Result<Self> {
        shown.add(REFUSED, b"")?;
        Ok(Self {
            shown,
            links: Arc::default(),
            missing: Arc::default(),
        })
    }

    /// Where they are on this host.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.shown.path()
    }

    /// Paths below stap's cache, each with the name of the file that belongs there.
    #[must_use]
    pub fn links(&self) -> &[(String, String)] {
        &self.links
    }

    /// What the kernel's headers did not give.
    #[must_use]
    pub fn missing(&self) -> &[Missing] {
        &self.missing
    }

    /// Adds the answers of a batch, whose digest tells its files from those of others.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn with(
        &self,
        batch: &Batch,
        answers: &Answers,
        missing: Vec<Missing>,
    ) -> io::Result<Self> {
        let digest = batch.digest();
        let mut links = self.links.to_vec();
        for object in &batch.objects {
            let file = match answers.get(&object.name) {
                Some(Answer::Object(content)) => {
                    let file = format!("{digest}-{}", object.name);
                    self.shown.add(&file, content)?;
                    file
                }
                // stap takes an empty file for a query that does not compile.
                Some(Answer::Refused(_)) if object.name.ends_with(".o") => REFUSED.to_owned(),
                _ => continue,
            };
            links.push((object.cached.clone(), file));
        }
        let all = self.missing.iter().cloned().chain(missing);
        Ok(Self {
            shown: self.shown.clone(),
            links: Arc::new(links),
            missing: Arc::new(all.collect()),
        })
    }
}

/// An empty file.
const REFUSED: &str = "refused";
