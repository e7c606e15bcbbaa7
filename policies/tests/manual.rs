//! The manual says what the program does: every field, its range, and its value in each class.

use std::collections::BTreeMap;

use stap_policy::{Policy, builtin};
use toml::{Table, Value};

const MANUAL: &str = include_str!("../../docs/policies.md");

/// The cells of every row of the section about a part of the policy, by the field in the first cell.
fn rows(section: &str) -> (Vec<String>, BTreeMap<String, Vec<String>>) {
    let heading = format!("## `[{section}]`");
    let lines = MANUAL.lines().skip_while(|line| *line != heading).skip(1);
    let table = lines
        .take_while(|line| !line.starts_with("## "))
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'));
    let cells = |row: &str| {
        row.split('|')
            .map(|cell| cell.trim().to_owned())
            .collect::<Vec<_>>()
    };
    let mut head = Vec::new();
    let mut rows = BTreeMap::new();
    for row in table.map(cells) {
        match row[0]
            .strip_prefix('`')
            .and_then(|name| name.strip_suffix('`'))
        {
            Some(field) => {
                assert!(
                    rows.insert(field.to_owned(), row.clone()).is_none(),
                    "{field} is told twice"
                );
            }
            None if row[0] == "field" => head = row,
            None => {}
        }
    }
    (head, rows)
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(words) if words.len() > 8 => "a list".to_owned(),
        Value::Array(words) => {
            let words: Vec<_> = words.iter().filter_map(Value::as_str).collect();
            words.join(" ")
        }
        other => other.to_string(),
    }
}

fn sections(class: &str) -> Table {
    let text = builtin::text(class).expect("it is built in");
    text.parse().expect("it can be read")
}

/// What the program says of a value that is far out of range.
fn range(field: &str, value: &Value) -> Option<String> {
    let out = match value {
        Value::Integer(_) => "99999999999999".to_owned(),
        Value::String(text) if text.ends_with(" s") => "\"99999999999999 s\"".to_owned(),
        Value::String(text) if text.ends_with('B') => "\"99999999999999 B\"".to_owned(),
        _ => return None,
    };
    let changed = builtin::SHARED_HOST.lines().map(|line| {
        let key = line.split_whitespace().next();
        if key == Some(field) {
            format!("{field} = {out}")
        } else {
            line.to_owned()
        }
    });
    let text = changed.collect::<Vec<_>>().join("\n");
    let fault = Policy::parse(&text).expect_err("it is out of range");
    let (_, range) = fault.reason().split_once("it must be between ")?;
    Some(range.replacen(" and ", " to ", 1))
}

#[test]
fn every_field_is_in_the_manual_with_its_range_and_its_value_in_each_class() {
    let mut fields = 0;
    for (section, value) in sections("shared-host") {
        let Value::Table(section_fields) = value else {
            continue;
        };
        let (head, mut rows) = rows(&section);
        let column = |name: &str| head.iter().position(|cell| cell == name);
        for (field, value) in &section_fields {
            let row = rows
                .remove(field)
                .unwrap_or_else(|| panic!("the manual lacks {section}.{field}"));
            for (class, _) in builtin::ALL {
                let column =
                    column(class).unwrap_or_else(|| panic!("{section} has no column {class}"));
                let value = shown(&sections(class)[&section][field]);
                assert_eq!(row[column], value, "{section}.{field} in {class}");
            }
            if let Some(column) = column("range")
                && let Some(range) = range(field, value)
            {
                assert_eq!(row[column], range, "the range of {section}.{field}");
            }
            assert!(
                row.last()
                    .is_some_and(|cell| field == "on-flood" || !cell.is_empty()),
                "{field}"
            );
            fields += 1;
        }
        assert!(
            rows.is_empty(),
            "the manual has fields that [{section}] has not: {rows:?}"
        );
    }
    assert!(fields > 40, "{fields} fields");
}
