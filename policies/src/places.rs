//! Where in a policy file a rule stands.

use crate::document::Document;
use crate::fault::PolicyError;

/// The lines of a policy file, by what they say.
#[derive(Debug)]
pub struct Places<'a>(Document<'a>);

impl<'a> Places<'a> {
    /// Reads the text of a policy.
    ///
    /// # Errors
    ///
    /// When it is no TOML.
    pub fn of(text: &'a str) -> Result<Self, PolicyError> {
        Document::parse(text).map(Self)
    }

    /// The line of a field such as `limits.memory`, counted from 1.
    #[must_use]
    pub fn line(&self, field: &str) -> Option<usize> {
        self.0.line(field)
    }

    /// The line of a word in the list that a field holds, such as `-g` in `options.allow`.
    #[must_use]
    pub fn line_in(&self, field: &str, word: &str) -> Option<usize> {
        self.0.line_in(field, word)
    }
}
