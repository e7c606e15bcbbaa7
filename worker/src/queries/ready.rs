//! What the jobs of a target are shown.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::Missing;
use super::answer::{Answer, Answers};
use super::listing::{Batch, Object};
use crate::driver::Shown;

/// Answers on a shelf, and where stap looks for them. A copy stays as it is while more are added.
#[derive(Clone, Debug)]
pub struct Ready {
    shown: Shown,
    links: Arc<Vec<(String, String)>>,
    missing: Arc<Vec<Missing>>,
    /// Of all objects.
    bytes: u64,
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
            bytes: 0,
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
        // A batch is looked up again after another has failed, and may have more answers then.
        let is_new = |object: &&Object| {
            self.links
                .iter()
                .all(|(cached, _)| *cached != object.cached)
        };
        let new: Vec<_> = batch.objects.iter().filter(is_new).collect();
        let is_first = new.len() == batch.objects.len();
        let digest = batch.digest();
        let objects = new.iter().map(|object| match answers.get(&object.name) {
            Some(Answer::Object(content)) => content.len() as u64,
            Some(Answer::Refused(_)) | None => 0,
        });
        let bytes = self.bytes + objects.sum::<u64>();
        if bytes > MAX_BYTES {
            let most = MAX_BYTES >> 20;
            return Err(io::Error::other(format!(
                "the answers of one target may have {most} MiB, and these have more"
            )));
        }
        let mut links = self.links.to_vec();
        for object in new {
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
        let more = missing.into_iter().filter(|_| is_first);
        let all = self.missing.iter().cloned().chain(more);
        Ok(Self {
            shown: self.shown.clone(),
            links: Arc::new(links),
            missing: Arc::new(all.collect()),
            bytes,
        })
    }
}

/// Bytes of all answers of a target; a kernel of a distribution has some 100 million.
const MAX_BYTES: u64 = 512 << 20;
/// An empty file.
const REFUSED: &str = "refused";

#[cfg(test)]
mod tests {
    use super::super::listing::Kind;
    use super::*;
    use crate::driver::Shelf;

    /// An answer of so many bytes, and one that is none.
    fn added(ready: &Ready, bytes: usize) -> io::Result<Ready> {
        let answers = [
            ("a.o".to_owned(), Answer::Object(vec![0; bytes])),
            ("b.o".to_owned(), Answer::Refused(String::new())),
        ];
        with(ready, bytes, &Answers::from(answers))
    }

    /// What there is of the answers of a batch.
    fn with(ready: &Ready, bytes: usize, answers: &Answers) -> io::Result<Ready> {
        let object = |name: &str| Object {
            name: name.to_owned(),
            cached: format!("ab/{name}"),
            subject: "h.h".to_owned(),
        };
        let batch = Batch {
            kind: Kind::Tracepoints,
            directory: bytes.to_string(),
            words: vec![bytes.to_string()],
            files: Vec::new(),
            objects: vec![object("a.o"), object("b.o"), object("c.o")],
        };
        ready.with(&batch, answers, Vec::new())
    }

    #[test]
    fn each_answer_has_a_link_and_a_target_has_a_bound() {
        let parent = tempfile::tempdir().unwrap();
        let shelf = Shelf::below(parent.path().to_owned());
        let nothing = Ready::nothing(shelf.put(&[]).unwrap()).unwrap();
        let ready = added(&nothing, 5).unwrap();
        let [(first, object), (second, refused)] = ready.links() else {
            panic!("{:?}", ready.links());
        };
        assert_eq!([first.as_str(), second], ["ab/a.o", "ab/b.o"]);
        let length = |file: &str| {
            std::fs::metadata(ready.directory().join(file))
                .unwrap()
                .len()
        };
        assert_eq!((length(object), length(refused)), (5, 0));
        assert!(nothing.links().is_empty(), "a copy has changed");
        // As after a failure, when everything is looked up again.
        let again = added(&ready, 5).unwrap();
        assert_eq!((again.links().len(), again.bytes), (2, ready.bytes));
        let late = Answers::from([("c.o".to_owned(), Answer::Object(vec![0; 3]))]);
        let whole = with(&ready, 5, &late).unwrap();
        assert_eq!((whole.links().len(), whole.bytes), (3, ready.bytes + 3));
        let full = Ready {
            bytes: MAX_BYTES - 4,
            ..nothing
        };
        added(&full, 4).unwrap();
        let refusal = added(&full, 5).expect_err("it has no bound").to_string();
        assert!(refusal.contains("512 MiB"), "{refusal}");
    }
}
