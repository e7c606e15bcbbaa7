//! Numbers with a unit and a range, so that a policy cannot hold one that makes no sense.
//!
//! The range is part of the type and is checked while the file is read, where the fault can still be
//! shown under the offending word.

use std::fmt;
use std::num::ParseIntError;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// A time between `MIN` and `MAX` seconds, written `300 s`, `5 min` or `1 h`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time<const MIN: u64, const MAX: u64>(u64);

/// A size between `MIN` and `MAX` bytes, written `512 B`, `64 KiB`, `16 MiB` or `1 GiB`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size<const MIN: u64, const MAX: u64>(u64);

/// A number of things between `MIN` and `MAX`, written as a plain number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Time<MIN, MAX> {
    /// The time.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl<const MIN: u64, const MAX: u64> Size<MIN, MAX> {
    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl<const MIN: u64, const MAX: u64> Count<MIN, MAX> {
    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl<const MIN: u64, const MAX: u64> fmt::Display for Time<MIN, MAX> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        with_unit(formatter, self.0, &TIME_UNITS[..1])
    }
}

impl<const MIN: u64, const MAX: u64> fmt::Display for Size<MIN, MAX> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        with_unit(formatter, self.0, &SIZE_UNITS)
    }
}

impl<const MIN: u64, const MAX: u64> fmt::Display for Count<MIN, MAX> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// What people read is also what a log shows; the range is in the type and would only be in the way.
macro_rules! debug_like_display {
    ($($name:ident)*) => {$(
        impl<const MIN: u64, const MAX: u64> fmt::Debug for $name<MIN, MAX> {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, formatter)
            }
        }
    )*};
}

debug_like_display! { Time Size Count }

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Time<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a time such as \"300 s\", \"5 min\" or \"1 h\"";
        let seconds = deserializer.deserialize_str(Quantity {
            units: &TIME_UNITS,
            expected,
        })?;
        within(seconds, MIN, MAX, |value| Self(value).to_string()).map(Self)
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Size<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a size such as \"512 B\", \"64 KiB\", \"16 MiB\" or \"1 GiB\"";
        let bytes = deserializer.deserialize_str(Quantity {
            units: &SIZE_UNITS,
            expected,
        })?;
        within(bytes, MIN, MAX, |value| Self(value).to_string()).map(Self)
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Count<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let count = u64::deserialize(deserializer)?;
        within(count, MIN, MAX, |value| value.to_string()).map(Self)
    }
}

/// Reads `<number> <unit>`.
struct Quantity {
    units: &'static [(&'static str, u64)],
    expected: &'static str,
}

impl Visitor<'_> for Quantity {
    type Value = u64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
        parsed(text, self.units).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

fn parsed(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.trim_end_matches(|character: char| !character.is_ascii_digit());
    let unit = text[digits.len()..].trim_start();
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    let number: Result<u64, ParseIntError> = digits.parse();
    number.ok()?.checked_mul(*factor)
}

fn within<E: Error>(
    value: u64,
    min: u64,
    max: u64,
    shown: impl Fn(u64) -> String,
) -> Result<u64, E> {
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    let (value, min, max) = (shown(value), shown(min), shown(max));
    Err(E::custom(format_args!(
        "{value} is out of range; it must be between {min} and {max}"
    )))
}

/// Uses the largest unit that divides the value, so that what was written is what is shown.
fn with_unit(formatter: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, u64)]) -> fmt::Result {
    let divides = |(_, factor): &&(&str, u64)| value != 0 && value.is_multiple_of(*factor);
    let (unit, factor) = units.iter().rev().find(divides).unwrap_or(&units[0]);
    write!(formatter, "{} {unit}", value / factor)
}

const TIME_UNITS: [(&str, u64); 3] = [("s", 1), ("min", 60), ("h", 3600)];
const SIZE_UNITS: [(&str, u64); 4] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_without_a_known_unit_is_no_quantity() {
        for text in [
            "",
            "300",
            "s",
            "3 00 s",
            "-1 s",
            "1.5 h",
            "1 d",
            "1 s s",
            "\u{661} s",
        ] {
            assert_eq!(parsed(text, &TIME_UNITS), None, "{text:?} was accepted");
        }
        assert_eq!(
            parsed("18446744073709551615 GiB", &SIZE_UNITS),
            None,
            "an overflow"
        );
    }

    #[test]
    fn a_quantity_prints_as_it_is_written() {
        for text in ["1 B", "1023 B", "64 KiB", "16 MiB", "1 GiB", "1025 MiB"] {
            let bytes = parsed(text, &SIZE_UNITS).unwrap();
            assert_eq!(Size::<0, { u64::MAX }>(bytes).to_string(), text);
        }
        assert_eq!(
            Time::<0, 9999>(parsed("5 min", &TIME_UNITS).unwrap()).to_string(),
            "300 s"
        );
    }
}
