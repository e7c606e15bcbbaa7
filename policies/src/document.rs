//! A policy file as the tree that it is written as, with the place of every word.
//!
//! What fields a policy has is read off the default class, which names all of them; so there is no
//! second list that could fall behind.

use std::ops::Range;
use std::sync::LazyLock;

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use crate::builtin;
use crate::fault::{Fault, PolicyError};
use crate::nearest::nearest;
use crate::policy::Policy;

/// A text that is TOML.
#[derive(Debug)]
pub(crate) struct Document<'a> {
    text: &'a str,
    tree: DeTable<'a>,
}

impl<'a> Document<'a> {
    /// Reads the tree; what the words in it mean is not looked at.
    pub(crate) fn parse(text: &'a str) -> Result<Self, PolicyError> {
        let (tree, errors) = DeTable::parse_recoverable(text);
        let faults = errors.iter().map(|error| Fault::from_toml(text, error));
        match PolicyError::of(faults.collect()) {
            Some(error) => Err(error),
            None => Ok(Self {
                text,
                tree: tree.into_inner(),
            }),
        }
    }

    /// The policy, or everything that keeps the text from being one.
    pub(crate) fn policy(&self) -> Result<Policy, PolicyError> {
        deserialized(self.tree.clone()).map_err(|error| {
            // The library stops at the first fault; it is told if no other is found.
            let first = Fault::from_toml(self.text, &error);
            PolicyError::of(self.faults()).unwrap_or_else(|| first.into())
        })
    }

    /// A remark on the value of a field such as `limits.memory`.
    pub(crate) fn remark(&self, field: &str, reason: String) -> Fault {
        match self.value(field) {
            Some(value) => Fault::at(self.text, &value.span(), reason),
            None => Fault::whole(reason),
        }
    }

    /// The line of a field such as `options.allow`, counted from 1.
    pub(crate) fn line(&self, field: &str) -> Option<usize> {
        self.line_of(&self.value(field)?.span())
    }

    /// The line of a word in the list that a field holds.
    pub(crate) fn line_in(&self, field: &str, word: &str) -> Option<usize> {
        let words = self.value(field)?.get_ref().as_array()?;
        let found = words
            .iter()
            .find(|value| value.get_ref().as_str() == Some(word))?;
        self.line_of(&found.span())
    }

    fn line_of(&self, span: &Range<usize>) -> Option<usize> {
        Some(self.text.get(..span.start)?.matches('\n').count() + 1)
    }

    fn value(&self, field: &str) -> Option<&Spanned<DeValue<'a>>> {
        let mut names = field.split('.');
        let first = self.tree.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get_ref().as_table()?.get(name))
    }

    fn faults(&self) -> Vec<Fault> {
        let mut faults = self.misnamed(&self.tree, &MODEL, None);
        for (name, value) in known(&self.tree, &MODEL) {
            let section = MODEL.get(name).and_then(|value| value.get_ref().as_table());
            match (section, value.get_ref().as_table()) {
                (Some(section), Some(given)) => {
                    faults.extend(self.misnamed(given, section, Some((name, &value.span()))));
                    for (field, value) in known(given, section) {
                        faults.extend(self.fault_of(value, &[name, field]));
                    }
                }
                _ => faults.extend(self.fault_of(value, &[name])),
            }
        }
        faults
    }

    /// Names that do not exist, and names that are missing; a missing one that somebody most likely
    /// meant to write is told once.
    fn misnamed(
        &self,
        given: &DeTable<'_>,
        wanted: &DeTable<'_>,
        section: Option<(&str, &Range<usize>)>,
    ) -> Vec<Fault> {
        let missing: Vec<_> = names(wanted)
            .filter(|name| !given.contains_key(*name))
            .collect();
        let mut meant = Vec::new();
        let mut faults = Vec::new();
        for (key, _) in given {
            let name = key.get_ref().as_ref();
            if wanted.contains_key(name) {
                continue;
            }
            // A name that is there already was not misspelt.
            let like = nearest(name, missing.iter().copied())
                .or_else(|| nearest(name, names(wanted)))
                .map(|like| format!("; did you mean `{like}`?"));
            meant.extend(nearest(name, missing.iter().copied()));
            let elsewhere = || Some(format!("; it belongs into [{}]", section_with(name)?));
            let hint = elsewhere().or(like).unwrap_or_default();
            let reason = format!("unknown field `{}`{hint}", name.escape_debug());
            faults.push(Fault::at(self.text, &key.span(), reason));
        }
        for name in missing.iter().filter(|name| !meant.contains(name)) {
            faults.push(match section {
                None if is_section(name) => Fault::whole(format!(
                    "missing section [{name}]; copy it from a policy that comes with the program"
                )),
                None => Fault::whole(format!("missing field `{name}`")),
                Some((section, span)) => {
                    let hint = default_of(section, name).unwrap_or_default();
                    let reason = format!("missing field `{name}` in [{section}]{hint}");
                    Fault::at(self.text, span, reason)
                }
            });
        }
        faults
    }

    /// Judges one value in a policy that has no other fault.
    fn fault_of(&self, value: &Spanned<DeValue<'a>>, path: &[&str]) -> Option<Fault> {
        let mut trial: DeTable<'a> = MODEL.clone();
        let mut place = trial.get_mut(path[0])?;
        for name in &path[1..] {
            let DeValue::Table(table) = place.get_mut() else {
                return None;
            };
            place = table.get_mut(*name)?;
        }
        *place = value.clone();
        let error = deserialized(trial).err()?;
        Some(Fault::from_toml(self.text, &error))
    }
}

fn deserialized(tree: DeTable<'_>) -> Result<Policy, toml::de::Error> {
    Policy::deserialize(Deserializer::from(Spanned::new(0..0, tree)))
}

fn names<'t>(table: &'t DeTable<'_>) -> impl Iterator<Item = &'t str> {
    table.keys().map(|key| key.get_ref().as_ref())
}

/// The entries of a table that a policy has, too.
fn known<'t, 'a>(
    given: &'t DeTable<'a>,
    wanted: &'t DeTable<'_>,
) -> impl Iterator<Item = (&'t str, &'t Spanned<DeValue<'a>>)> {
    given
        .iter()
        .map(|(key, value)| (key.get_ref().as_ref(), value))
        .filter(|(name, _)| wanted.contains_key(*name))
}

fn is_section(name: &str) -> bool {
    MODEL
        .get(name)
        .is_some_and(|value| value.get_ref().is_table())
}

/// What the default class says there, for operators whose policy is older than the field.
fn default_of(section: &str, field: &str) -> Option<String> {
    let fields = MODEL.get(section)?.get_ref().as_table()?;
    let written = builtin::SHARED_HOST.get(fields.get(field)?.span())?;
    (written.len() <= LONGEST_DEFAULT)
        .then(|| format!("; the default class has `{field} = {written}`"))
}

/// The section that has a field of this name.
fn section_with(field: &str) -> Option<String> {
    let mut sections = MODEL.iter();
    let (section, _) = sections.find(|(_, value)| {
        let fields = value.get_ref().as_table();
        fields.is_some_and(|fields| fields.contains_key(field))
    })?;
    Some(section.get_ref().to_string())
}

/// Of a value that is shown, in bytes; a list of options is longer.
const LONGEST_DEFAULT: usize = 40;

/// A policy in which every field is named.
static MODEL: LazyLock<DeTable<'static>> = LazyLock::new(|| {
    DeTable::parse(builtin::SHARED_HOST)
        .expect("the tests read the built-in policies")
        .into_inner()
});
