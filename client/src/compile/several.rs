//! Several targets: one request, one result for each, a table of what became of them.
//!
//! A server that does not know of such requests refuses them at once, and is then asked for each target
//! by itself, in the order of the command line.

mod json;
mod place;
mod table;

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use stap_protocol::reply::{Answer, Replies, Reply, ReplyError, ReplyLimits};
use stap_protocol::request::{MachineOwnerKeys, SEVERAL};
use stap_protocol::target::{TargetName, TargetPattern};

use super::choice::{Choice, NoAnswer};
use super::command_line::{LastPass, Plan};
use super::exchange::{self, Attempts};
use super::package::Package;
use super::wanted::Wanted;
use super::{Asked, ClientError, one, packaged, replay, tell_end};
use crate::diagnostics::print_result;

/// Why several targets cannot be asked for together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SeveralError {
    #[error(
        "{server} builds for one target in a request, and does not say which '{pattern}' means\n\
         Name each target with -r RELEASE[:ARCH], or use another server"
    )]
    OnlyNames { server: String, pattern: String },
    #[error("the results cannot be shown: {0}")]
    Output(#[source] io::Error),
}

/// What became of one target.
#[derive(Debug)]
struct Row {
    target: TargetName,
    server: String,
    took: Option<Duration>,
    /// The reply, or why there is none.
    reply: Result<Reply, String>,
    /// Where the module is, and its signature.
    saved: Vec<String>,
    /// What is wrong, in one line.
    error: Option<String>,
}

/// What a server said.
enum Said {
    Rows(Vec<Row>),
    /// It took nothing of the request.
    Refused(Reply),
}

/// Has a server do passes 1 to 4 for every target that is wanted.
pub(super) async fn compile(asked: &Asked<'_>, wanted: &Wanted) -> Result<(), ClientError> {
    let diagnostics = asked.diagnostics;
    if asked.plan.last_pass == LastPass::Run {
        diagnostics.warning("several targets force last-pass 4.");
    }
    let plan = Plan {
        last_pass: asked.plan.last_pass.min(LastPass::Module),
        ..asked.plan.clone()
    };
    for option in &plan.left_out {
        one::tell_left_out(&plan, option, diagnostics);
    }
    // The hosts that will load these modules are others, and their keys are not known.
    let keys = MachineOwnerKeys::NotAsked;
    let package = packaged(asked, &plan, wanted, keys).await?;
    if plan.verbosity > 0 {
        diagnostics.plain("Using a compile server.");
    }
    let (server, said) = ask(asked, &plan, wanted, &package).await?;
    let mut rows = match said {
        Said::Rows(rows) => rows,
        Said::Refused(reply) => {
            replay::print_streams(&reply, &plan)?;
            if plan.json {
                show(&json::refused(&server, &reply))?;
            }
            return Err(ClientError::Compile);
        }
    };
    for row in &mut rows {
        row.finish(&plan)?;
    }
    if plan.json {
        show(&json::of(&server, &rows))?;
    }
    diagnostics.plain(table::of(&rows));
    if plan.verbosity > 0 {
        tell_end(&server, None, asked.start, diagnostics);
    }
    match rows.iter().filter(|row| row.error.is_some()).count() {
        0 => Ok(()),
        failed => Err(ClientError::Some {
            failed,
            targets: rows.len(),
        }),
    }
}

fn show(text: &str) -> Result<(), ClientError> {
    print_result(text.as_bytes()).map_err(|error| SeveralError::Output(error).into())
}

async fn ask(
    asked: &Asked<'_>,
    plan: &Plan,
    wanted: &Wanted,
    package: &Package,
) -> Result<(String, Said), ClientError> {
    let packed = package.request.encode();
    let answer = answer(asked, plan, wanted, &packed).await;
    let answer = answer.map_err(|(error, attempts)| ClientError::NoAnswer { error, attempts })?;
    if let Some(warning) = &answer.warning {
        asked.diagnostics.warning(warning);
    }
    if plan.keep {
        replay::keep_exchange(asked.scratch, &package.request, &packed, &answer.reply)
            .map_err(ClientError::Keep)?;
    }
    let server = answer.server;
    let said = match Replies::decode(&answer.reply, &ReplyLimits::for_several()) {
        Ok(Answer::Several(replies)) => rows_of(&replies, &server, plan, asked)?,
        Ok(Answer::One(reply)) if reply.rc != 0 && !names_nothing(&reply) => Said::Refused(reply),
        // Stock servers have no other answer for a kernel that they do not know.
        Ok(Answer::One(_)) | Err(ReplyError::Missing("rc")) => {
            Said::Rows(one_by_one(asked, plan, wanted, package, &server).await?)
        }
        Err(error) => return Err(ClientError::Reply { error, server }),
    };
    Ok((server, said))
}

/// Whether a server has looked for the kernel that stands for several, and not found it.
fn names_nothing(reply: &Reply) -> bool {
    let mut windows = reply.stderr.windows(SEVERAL.len());
    windows.any(|window| window == SEVERAL.as_bytes())
}

fn rows_of(
    replies: &Replies,
    server: &str,
    plan: &Plan,
    asked: &Asked<'_>,
) -> Result<Said, ClientError> {
    if plan.keep {
        for (number, one) in (1..).zip(replies.each()) {
            let below = Path::new("server").join(format!("{number}"));
            replay::keep_reply(asked.scratch, &below, &one.reply).map_err(ClientError::Keep)?;
        }
    }
    if replies.each().is_empty() {
        return Ok(Said::Refused(replies.whole().clone()));
    }
    let row = |one: &stap_protocol::reply::OfTarget| {
        Row::new(&one.target, server, one.took, Ok(one.reply.clone()))
    };
    Ok(Said::Rows(replies.each().iter().map(row).collect()))
}

async fn answer(
    asked: &Asked<'_>,
    plan: &Plan,
    wanted: &Wanted,
    packed: &[u8],
) -> Result<exchange::Answer, (NoAnswer, Attempts)> {
    let choice = Choice {
        host: asked.host,
        wanted,
        keys: &MachineOwnerKeys::NotAsked,
        databases: asked.databases,
        request: packed,
        max_reply: ReplyLimits::for_several().compressed,
        display: asked.display,
        attempts: Attempts::default(),
    };
    choice.shown(&plan.servers).await
}

/// Asks for each target by itself. Not even a missing answer stops the others.
async fn one_by_one(
    asked: &Asked<'_>,
    plan: &Plan,
    wanted: &Wanted,
    package: &Package,
    server: &str,
) -> Result<Vec<Row>, ClientError> {
    let targets = names(wanted, server)?;
    if plan.verbosity > 0 {
        asked.diagnostics.plain(format_args!(
            "{server} builds for one target in a request: asking {} times.",
            targets.len()
        ));
    }
    let mut rows = Vec::new();
    for target in targets {
        let is_foreign = target.arch != asked.host.target.arch;
        let request = package.for_one(&target, is_foreign);
        let packed = request.map_err(super::PackageError::from)?.encode();
        let wanted = Wanted::One(target.clone());
        let began = Instant::now();
        let (server, reply) = match answer(asked, plan, &wanted, &packed).await {
            Ok(answer) => {
                let reply = Reply::decode(&answer.reply, &ReplyLimits::default());
                (answer.server, reply.map_err(|error| error.to_string()))
            }
            Err((error, attempts)) => {
                let tried = attempts.lines().iter();
                tried.for_each(|line| asked.diagnostics.plain(line));
                (server.to_owned(), Err(error.to_string()))
            }
        };
        rows.push(Row::new(&target, &server, Some(began.elapsed()), reply));
    }
    Ok(rows)
}

/// Without a wildcard, a pattern is the name of a target.
fn names(wanted: &Wanted, server: &str) -> Result<Vec<TargetName>, SeveralError> {
    let patterns = match wanted {
        Wanted::One(target) => return Ok(vec![target.clone()]),
        Wanted::Several(patterns) => patterns,
    };
    let mut names = Vec::new();
    for pattern in patterns {
        let name = pattern.single().and_then(|one| {
            let (release, arch) = (one.release, one.arch?);
            Some(TargetName { release, arch })
        });
        let name = name.ok_or_else(|| SeveralError::OnlyNames {
            server: server.to_owned(),
            pattern: pattern.to_string(),
        })?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

impl Row {
    fn new(
        target: &TargetName,
        server: &str,
        took: Option<Duration>,
        reply: Result<Reply, String>,
    ) -> Self {
        Self {
            target: target.clone(),
            server: server.to_owned(),
            took,
            reply,
            saved: Vec::new(),
            error: None,
        }
    }

    /// `RELEASE:ARCH`, as the command line takes it.
    fn label(&self) -> String {
        TargetPattern::exactly(&self.target).to_string()
    }

    /// Shows what stap said, and saves the module.
    fn finish(&mut self, plan: &Plan) -> Result<(), ClientError> {
        let reply = match &self.reply {
            Ok(reply) => reply,
            Err(error) => {
                self.error = Some(table::first_line(error.as_bytes()));
                return Ok(());
            }
        };
        let title = format!("==> {} <==\n", self.label());
        if !plan.json {
            let stdout = replay::own_output(reply, plan);
            if !stdout.is_empty() {
                replay::print_output(&[title.as_bytes(), &stdout].concat())?;
            }
        }
        if !reply.stderr.is_empty() {
            replay::print_words(&[title.as_bytes(), &reply.stderr].concat())?;
        }
        if reply.rc != 0 {
            self.error = Some(table::first_error(&reply.stderr));
            return Ok(());
        }
        let saved = replay::module_files(reply, plan)
            .map_err(|error| error.to_string())
            .and_then(|files| place::save(&self.target, plan, &files));
        match saved {
            Ok(saved) => self.saved = saved,
            Err(error) => self.error = Some(table::first_line(error.as_bytes())),
        }
        if let (Some(module), false) = (self.saved.first(), plan.json) {
            show(&format!("{module}\n"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
