//! The corpus as a table of Markdown, for the documentation.

use anyhow::Context as _;

use super::{Case, Family, Who};

/// Writes one table for each family.
#[must_use]
pub fn of(cases: &[Case]) -> String {
    let mut text = String::new();
    for family in Family::ALL {
        let members: Vec<_> = cases.iter().filter(|case| case.family == family).collect();
        if members.is_empty() {
            continue;
        }
        text.push_str(&head(family, members.len()));
        for case in members {
            text.push_str(&row(case));
        }
    }
    text
}

/// Replaces what is between the marks in a text.
///
/// # Errors
/// When it has none.
pub fn put_into(text: &str, cases: &[Case]) -> anyhow::Result<String> {
    put_between(text, BEGIN, &of(cases))
}

/// Replaces what is between a mark and the next end of what this program writes.
pub(crate) fn put_between(text: &str, begin: &str, written: &str) -> anyhow::Result<String> {
    let (before, rest) = text
        .split_once(begin)
        .context("the first mark is missing")?;
    let (_, after) = rest.split_once(END).context("the last mark is missing")?;
    Ok(format!("{before}{begin}\n{written}\n{END}{after}"))
}

const BEGIN: &str = "<!-- written by hostile-corpus --table -->";
const END: &str = "<!-- the end of what it wrote -->";

fn head(family: Family, count: usize) -> String {
    format!(
        "\n### {family}: {count} cases\n\n| case | the attacker wants to | held by, each alone where several are named | lesson |\n\
         |---|---|---|---|\n"
    )
}

fn row(case: &Case) -> String {
    let guards: Vec<_> = case
        .guards
        .iter()
        .map(|held| match held.only {
            None => format!("{} (\"{}\")", held.by, held.says),
            Some(Who::Root) => format!("as root {} (\"{}\")", held.by, held.says),
            Some(Who::User) => format!("rootless {} (\"{}\")", held.by, held.says),
        })
        .collect();
    let (guards, lesson) = (guards.join(", "), escaped(case.lesson));
    format!(
        "| {} | {} | {} | {lesson} |\n",
        case.name,
        escaped(&case.goal.to_string()),
        escaped(&guards)
    )
}

fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}
