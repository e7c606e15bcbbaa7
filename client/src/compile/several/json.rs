//! What became of each target, for programs. The form is documented; members are added, never changed.

use serde::Serialize;
use stap_protocol::reply::Reply;

use super::{Row, table};

#[derive(Serialize)]
struct Document<'a> {
    format: u32,
    ok: bool,
    /// Who was asked.
    server: &'a str,
    /// Why the server took nothing of the request.
    refusal: Option<String>,
    targets: Vec<Target<'a>>,
}

#[derive(Serialize)]
struct Target<'a> {
    release: &'a str,
    arch: &'a str,
    ok: bool,
    /// Who answered.
    server: &'a str,
    /// stap's exit status.
    status: Option<i32>,
    seconds: Option<f64>,
    /// Below the current directory.
    module: Option<&'a str>,
    signature: Option<&'a str>,
    /// In one line.
    error: Option<&'a str>,
    /// `hit`, `miss`, `joined` or `off`, if the server says so.
    store: Option<&'a str>,
    stdout: String,
    stderr: String,
}

/// One document, with a newline at its end.
pub(super) fn of(server: &str, rows: &[Row]) -> String {
    text(&Document {
        format: FORMAT,
        ok: rows.iter().all(|row| row.error.is_none()),
        server,
        refusal: None,
        targets: rows.iter().map(target).collect(),
    })
}

/// The same for a request that was refused as a whole.
pub(super) fn refused(server: &str, reply: &Reply) -> String {
    text(&Document {
        format: FORMAT,
        ok: false,
        server,
        refusal: Some(table::first_line(&reply.stderr)),
        targets: Vec::new(),
    })
}

fn target(row: &Row) -> Target<'_> {
    let reply = row.reply.as_ref().ok();
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Target {
        release: row.target.release.as_str(),
        arch: row.target.arch.as_str(),
        ok: row.error.is_none(),
        server: &row.server,
        status: reply.map(|reply| reply.rc),
        seconds: row.took.map(|took| took.as_secs_f64()),
        module: row.saved.first().map(String::as_str),
        signature: row.saved.get(1).map(String::as_str),
        error: row.error.as_deref(),
        store: reply.and_then(|reply| Some(reply.origin?.word())),
        stdout: reply.map(|reply| lossy(&reply.stdout)).unwrap_or_default(),
        stderr: reply.map(|reply| lossy(&reply.stderr)).unwrap_or_default(),
    }
}

fn text(document: &Document<'_>) -> String {
    let mut text = serde_json::to_string(document).expect("strings and numbers can be written");
    text.push('\n');
    text
}

const FORMAT: u32 = 1;
