//! Takes a command line apart.

use super::table::{Arity, LONG, LongOption, SYNONYMS, short_arity};
use super::{CommandLine, Item, SEPARATOR, looks_like_option};
use crate::text;

/// Where options may stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Anywhere in front of `--`, as is usual with GNU.
    #[default]
    Permute,
    /// Only in front of the first operand: what `POSIXLY_CORRECT` in the environment asks for.
    Posix,
}

/// Why words are not a command line of stap.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// The last word is an option that needs a value.
    #[error("Missing argument to {0}")]
    MissingValue(String),
    /// A long option with `=`, which takes no value.
    #[error("{0} does not take an argument")]
    UnexpectedValue(String),
    /// A dash behind the first letter of a word of short options. It is no letter, and on its own it
    /// would turn into a separator.
    #[error("{0} has a dash among its letters, and there is no such option")]
    StrayDash(String),
    /// The beginning of several long options.
    #[error("{given} could be {}; write the option in full", candidates.join(" or "))]
    Ambiguous {
        /// What was written, without a value.
        given: String,
        /// What it could be.
        candidates: Vec<String>,
    },
}

/// Takes `arguments` apart, options anywhere in front of `--`. They do not include the program's
/// name.
pub fn parse(arguments: &[Vec<u8>]) -> Result<CommandLine, OptionError> {
    parse_ordered(arguments, Order::Permute)
}

/// Takes `arguments` apart, with options where `order` allows them.
pub fn parse_ordered(arguments: &[Vec<u8>], order: Order) -> Result<CommandLine, OptionError> {
    parse_with(arguments, order, &[])
}

/// The same for a program that has options besides stap's. Long options in `own` take a value, attached or
/// as the next word; they become [`Item::Unknown`] with the value attached.
pub fn parse_with(
    arguments: &[Vec<u8>],
    order: Order,
    own: &[&str],
) -> Result<CommandLine, OptionError> {
    let mut line = CommandLine::default();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if word == SEPARATOR {
            line.after_separator = words.cloned().collect();
            break;
        }
        if !looks_like_option(word) {
            line.items.push(Item::Operand(word.clone()));
            if order == Order::Posix {
                line.items.extend(words.cloned().map(Item::Operand));
                break;
            }
        } else if own.iter().any(|own| is_word_of(word, own)) {
            let missing = || OptionError::MissingValue(text::escape(word));
            let value = words.next().ok_or_else(missing)?;
            let attached = [&word[..], b"=", value].concat();
            line.items.push(Item::Unknown(attached));
        } else if let Some(long) = word.strip_prefix(SEPARATOR) {
            line.items
                .push(parse_long(word, long, || words.next().cloned())?);
        } else {
            parse_bundle(word, &mut line.items, || words.next().cloned())?;
        }
    }
    Ok(line)
}

fn is_word_of(word: &[u8], long: &str) -> bool {
    word.strip_prefix(SEPARATOR) == Some(long.as_bytes())
}

/// `-vvp4`: letters without values, up to one that takes the rest of the word, or the next one.
fn parse_bundle(
    word: &[u8],
    items: &mut Vec<Item>,
    next_word: impl FnOnce() -> Option<Vec<u8>>,
) -> Result<(), OptionError> {
    let mut letters = &word[1..];
    while let Some((letter, rest)) = letters.split_first() {
        letters = rest;
        match short_arity(*letter) {
            None if *letter == b'-' => return Err(OptionError::StrayDash(text::escape(word))),
            None => items.push(Item::Unknown(vec![b'-', *letter])),
            Some(Arity::Required) => {
                let letter = char::from(*letter);
                let attached = (!rest.is_empty()).then(|| rest.to_vec());
                let value = attached.or_else(next_word);
                let value = value.ok_or_else(|| OptionError::MissingValue(format!("-{letter}")))?;
                items.push(Item::Short {
                    letter,
                    value: Some(value),
                });
                return Ok(());
            }
            Some(_) => items.push(Item::Short {
                letter: char::from(*letter),
                value: None,
            }),
        }
    }
    Ok(())
}

/// `word` is the whole word and `long` what is behind its dashes.
fn parse_long(
    word: &[u8],
    long: &[u8],
    next_word: impl FnOnce() -> Option<Vec<u8>>,
) -> Result<Item, OptionError> {
    let equals = long.iter().position(|byte| *byte == b'=');
    let (given, attached) = match equals {
        Some(at) => (&long[..at], Some(long[at + 1..].to_vec())),
        None => (long, None),
    };
    let Some(LongOption { name, arity }) = resolve(given)? else {
        return Ok(Item::Unknown(word.to_vec()));
    };
    let value = match (arity, attached) {
        (Arity::None, Some(_)) => return Err(OptionError::UnexpectedValue(format!("--{name}"))),
        (Arity::Required, None) => {
            let missing = || OptionError::MissingValue(format!("--{name}"));
            Some(next_word().ok_or_else(missing)?)
        }
        (_, attached) => attached,
    };
    Ok(Item::Long { name, value })
}

/// Finds the option that `given` names or abbreviates.
fn resolve(given: &[u8]) -> Result<Option<LongOption>, OptionError> {
    if let Some(exact) = LONG.iter().find(|option| option.name.as_bytes() == given) {
        return Ok(Some(*exact));
    }
    let begins = |option: &&LongOption| option.name.as_bytes().starts_with(given);
    let candidates: Vec<_> = LONG.iter().filter(begins).collect();
    let are_synonyms = candidates
        .iter()
        .all(|option| SYNONYMS.contains(&option.name));
    match candidates.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(**only)),
        [first, ..] if are_synonyms => Ok(Some(**first)),
        several => Err(OptionError::Ambiguous {
            given: format!("--{}", text::escape(given)),
            candidates: several
                .iter()
                .map(|option| format!("--{}", option.name))
                .collect(),
        }),
    }
}
