//! Requests for several targets, to servers that have some: this host's kernel, and others of which only
//! the name is known. A stap in the place of stap builds for any.

use std::rc::Rc;

use anyhow::Context as _;
use stap_protocol::reply::{Answer, Replies, ReplyLimits};
use stap_protocol::request::Request;

use super::Field;
use super::service::{Service, request};

/// Starts a server for so many targets, and returns their releases.
///
/// # Errors
/// When it does not start.
pub(super) fn serve(
    field: &Field,
    name: &'static str,
    changes: &[(&str, &str)],
    slots: &str,
    count: usize,
) -> anyhow::Result<(Rc<Service>, Vec<String>)> {
    let releases = releases(count);
    let named: Vec<_> = releases.iter().map(|one| format!("-r{one}")).collect();
    let options: Vec<_> = named.iter().map(String::as_str).chain([slots]).collect();
    Ok((field.serve(name, changes, &options)?, releases))
}

/// This host's kernel first.
pub(super) fn releases(count: usize) -> Vec<String> {
    let host = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let others = (1..).map(|number| format!("0.0.{number}-corpus"));
    std::iter::once(host).chain(others).take(count).collect()
}

/// A request for a job that carries out an order, for each of some targets.
///
/// # Errors
/// When it cannot be written.
pub(super) fn package(order: &str, targets: &[String]) -> anyhow::Result<Vec<u8>> {
    let words = ["-p2", "-e", order].map(|word| word.as_bytes().to_vec());
    let mut parts = request(words.into(), Vec::new())?.into_parts();
    let patterns = targets.iter().map(|target| target.parse());
    parts.targets = patterns.collect::<Result<_, _>>()?;
    Ok(Request::new(parts)?.encode())
}

/// The reply for each target, by its release, with what was said: on stdout, and on stderr.
///
/// # Errors
/// When there is none.
pub(super) fn each(reply: &[u8]) -> anyhow::Result<Vec<(String, [String; 2])>> {
    let Answer::Several(replies) = Replies::decode(reply, &ReplyLimits::for_several())? else {
        anyhow::bail!("it was answered with one reply");
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let each = replies.each().iter().map(|one| {
        let said = [text(&one.reply.stdout), text(&one.reply.stderr)];
        (one.target.release.as_str().to_owned(), said)
    });
    Ok(each.collect())
}

/// The same for one of them.
///
/// # Errors
/// When there is none for it.
pub(super) fn of(reply: &[u8], release: &str) -> anyhow::Result<[String; 2]> {
    let found = each(reply)?.into_iter().find(|(of, _)| of == release);
    Ok(found.context("there is a reply for each target")?.1)
}
