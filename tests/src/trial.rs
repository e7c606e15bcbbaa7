//! Named checks of a program that runs where a test cannot, such as in a guest, and what it says of
//! them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::anyhow;
use serde_json::{Value, json};

/// Makes a check and says what came of it. A wait in vain panics, and must not take the results of
/// others with it. What a check returns is shown as `seen`.
pub fn result<T: Into<Value>>(name: &str, check: impl FnOnce() -> anyhow::Result<T>) -> Value {
    let found = catch_unwind(AssertUnwindSafe(check));
    let found = found.unwrap_or_else(|_| Err(anyhow!("it panicked; stderr says why")));
    match found {
        Ok(seen) => json!({ "check": name, "holds": true, "seen": seen.into() }),
        Err(error) => json!({ "check": name, "holds": false, "why": format!("{error:#}") }),
    }
}

/// Those of some results whose check does not hold.
#[must_use]
pub fn broken(results: &[Value]) -> Vec<&Value> {
    let broken = |result: &&Value| result["holds"] != true;
    results.iter().filter(broken).collect()
}
