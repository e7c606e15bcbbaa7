//! The assembly of the small object that says which module it is in.
//!
//! Half of a second of parsing headers gives three kilobytes that differ between modules in the name
//! and in numbers that count its letters. So the assembly is made once for two names of different
//! lengths. Whatever differs between the two must be the name, or a number that grows or shrinks with
//! it; otherwise nothing is kept. A module whose description in C is another one is compiled.

/// A description in C, and its assembly for a module of any name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// What `modpost` wrote, whole.
    source: String,
    /// With the places of names and numbers marked.
    assembly: String,
}

impl Description {
    /// Makes it of what two modules gave; `None` when they differ otherwise than by their names.
    #[must_use]
    pub fn of(source: &str, one: (&str, &str), other: (&str, &str)) -> Option<Self> {
        let (name, text) = one;
        let (other_name, other_text) = other;
        let is_odd = |text: &str| text.contains(|c: char| c.is_control() && !"\t\n".contains(c));
        let are_alike = text.lines().count() == other_text.lines().count();
        if !are_alike || [source, text, other_text].into_iter().any(is_odd) {
            return None;
        }
        let mut assembly = String::with_capacity(text.len());
        for (line, other_line) in text.lines().zip(other_text.lines()) {
            let line = line.replace(name, NAME);
            let other_line = other_line.replace(other_name, NAME);
            let lengths = (name.len(), other_name.len());
            assembly.push_str(&joined(&line, &other_line, lengths)?);
            assembly.push('\n');
        }
        let source = source.to_owned();
        Some(Self { source, assembly })
    }

    /// Takes what [`Self::source`] and [`Self::marked`] gave.
    #[must_use]
    pub fn from_parts(source: String, assembly: String) -> Self {
        Self { source, assembly }
    }

    /// The description in C that this is the assembly of.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The assembly with its marks.
    #[must_use]
    pub fn marked(&self) -> &str {
        &self.assembly
    }

    /// The assembly for a module; `None` when a number would not be one.
    #[must_use]
    pub fn fill(&self, name: &str) -> Option<String> {
        let mut filled = String::with_capacity(self.assembly.len());
        for (index, part) in self.assembly.split(NUMBER).enumerate() {
            if index % 2 == 0 {
                filled.push_str(part);
                continue;
            }
            let (sign, base) = part.split_at_checked(1)?;
            let base: usize = base.parse().ok()?;
            let number = match sign {
                "+" => base.checked_add(name.len())?,
                "-" => base.checked_sub(name.len())?,
                _ => return None,
            };
            filled.push_str(&number.to_string());
        }
        Some(filled.replace(NAME, name))
    }
}

/// One line with a mark where the two differ.
fn joined(line: &str, other: &str, (length, other_length): (usize, usize)) -> Option<String> {
    if line == other {
        return Some(line.to_owned());
    }
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let same = line
        .bytes()
        .zip(other.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    // Back to where the number begins.
    let digits = line.bytes().take(same).collect::<Vec<_>>();
    let start = same
        - digits
            .iter()
            .rev()
            .take_while(|byte| is_digit(byte))
            .count();
    let number = |text: &str| -> Option<(i64, String)> {
        let rest = text.get(start..)?;
        let end = rest.bytes().take_while(is_digit).count();
        Some((rest.get(..end)?.parse().ok()?, rest.get(end..)?.to_owned()))
    };
    let ((value, rest), (other_value, other_rest)) = (number(line)?, number(other)?);
    if rest != other_rest {
        return None;
    }
    let (length, other_length) = (
        i64::try_from(length).ok()?,
        i64::try_from(other_length).ok()?,
    );
    let (grown, longer) = (other_value - value, other_length - length);
    let (sign, base) = match grown {
        grown if grown == longer => ('+', value - length),
        grown if grown == -longer => ('-', value + length),
        _ => return None,
    };
    let base = usize::try_from(base).ok()?;
    Some(format!(
        "{}{NUMBER}{sign}{base}{NUMBER}{rest}",
        line.get(..start)?
    ))
}

const NAME: &str = "\u{1}";
const NUMBER: &str = "\u{3}";

#[cfg(test)]
mod tests {
    use super::*;

    fn assembly(name: &str) -> String {
        let (size, pad) = (6 + name.len(), 56 - name.len() - 1);
        format!(
            "\t.file\t\"{name}.mod.c\"\n\t.size\tid_7, {size}\nid_7:\n\t.string\t\"name={name}\"\n\
             \t.string\t\"{name}\"\n\t.zero\t{pad}\n\t.align 8\n"
        )
    }

    fn description() -> Option<Description> {
        let (one, other) = (assembly("recording"), assembly("recorded_again"));
        Description::of("C\n", ("recording", &one), ("recorded_again", &other))
    }

    #[test]
    fn the_assembly_of_any_name_is_what_the_compiler_gives_for_it() {
        let description = description().unwrap();
        for name in ["x", "stap_0123456789abcdef", "eight_by"] {
            assert_eq!(description.fill(name), Some(assembly(name)), "{name}");
        }
        assert_eq!(description.fill(&"x".repeat(60)), None);
        let parts = (
            description.source().to_owned(),
            description.marked().to_owned(),
        );
        assert_eq!(Description::from_parts(parts.0, parts.1), description);
    }

    #[test]
    fn what_differs_by_more_than_the_name_is_not_kept() {
        let one = assembly("recording");
        for other in [
            assembly("recorded_again").replace("align 8", "align 9"),
            assembly("recorded_again").replace("id_7:", "id_8:"),
            assembly("recorded_again") + "\t.text\n",
            assembly("recorded_again").replace("\t.align", "\t.Align"),
        ] {
            let of = Description::of("C\n", ("recording", &one), ("recorded_again", &other));
            assert_eq!(of, None, "{other}");
        }
        let marked = Description::of("C\u{1}", ("recording", &one), ("recording", &one));
        assert_eq!(marked, None);
    }
}
