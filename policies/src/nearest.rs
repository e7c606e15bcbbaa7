//! What somebody probably meant to write.

/// Returns the name that is most like `word`, if any is so like it that it may be a slip.
pub(crate) fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(MAX_WORD + 1).collect();
    if word.len() > MAX_WORD {
        return None;
    }
    let tolerated = (word.len() / 3).max(1);
    names
        .map(|name| (distance(&word, &name.chars().collect::<Vec<_>>()), name))
        .filter(|(distance, _)| *distance <= tolerated)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// How many letters have to be added, left out or changed to get from one word to the other.
fn distance(one: &[char], other: &[char]) -> usize {
    let mut above: Vec<usize> = (0..=other.len()).collect();
    for (row, letter) in one.iter().enumerate() {
        let mut diagonal = row;
        above[0] = row + 1;
        for (column, wanted) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != wanted);
            diagonal = above[column + 1];
            above[column + 1] = changed.min(above[column] + 1).min(diagonal + 1);
        }
    }
    above[other.len()]
}

/// Longer than any name that we know.
const MAX_WORD: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_understood_and_another_word_is_not() {
        let names = ["memory", "wall", "workspace", "workspace-files"];
        for (word, meant) in [
            ("wal", Some("wall")),
            ("memroy", Some("memory")),
            ("work-space", Some("workspace")),
            ("workspace_files", Some("workspace-files")),
            ("swap", None),
            ("", None),
            (&"m".repeat(1000), None),
        ] {
            assert_eq!(nearest(word, names.into_iter()), meant, "{word}");
        }
    }
}
