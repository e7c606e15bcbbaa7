//! One target: its module is saved or run as `stap` would do it.

use std::path::Path;

use stap_protocol::reply::{Reply, ReplyLimits};
use stap_protocol::request::MachineOwnerKeys;
use stap_protocol::signing::Privilege;
use stap_protocol::target::TargetName;

use super::choice::Choice;
use super::command_line::{LastPass, Plan};
use super::exchange::{Answer, Attempts};
use super::scratch::Scratch;
use super::staprun::Runtime;
use super::wanted::Wanted;
use super::{Asked, ClientError, Compiled, packaged, tell_end};
use super::{firmware, privilege, replay};
use crate::diagnostics::Diagnostics;
use crate::host::Host;

/// Has a server do passes 1 to 4 for `target`.
pub(super) async fn compile(
    asked: &Asked<'_>,
    target: &TargetName,
) -> Result<Compiled, ClientError> {
    let Asked {
        plan,
        host,
        databases,
        scratch,
        diagnostics,
        display,
        start,
    } = *asked;
    let runs_here = plan.last_pass == LastPass::Run && *target == host.target;
    if plan.last_pass == LastPass::Run && !runs_here {
        diagnostics.warning("kernel release/architecture mismatch with host forces last-pass 4.");
    }
    let last_pass = if runs_here {
        LastPass::Run
    } else {
        plan.last_pass.min(LastPass::Module)
    };
    let mut plan = Plan {
        last_pass,
        ..plan.clone()
    };
    for option in &plan.left_out {
        tell_left_out(&plan, option, diagnostics);
    }
    let automatic = ask_for_privilege(&mut plan, runs_here);
    let keys = keys_to_sign_with(&plan, host, target);
    let wanted = Wanted::One(target.clone());
    let package = packaged(asked, &plan, &wanted, keys).await?;
    let packed = package.request.encode();
    if plan.verbosity > 0 {
        diagnostics.plain("Using a compile server.");
        automatic
            .iter()
            .for_each(|privilege| explain(*privilege, diagnostics));
    }

    let limits = ReplyLimits::default();
    let choice = Choice {
        host,
        wanted: &wanted,
        keys: &package.request.machine_owner_keys,
        databases,
        request: &packed,
        max_reply: limits.compressed,
        display,
        attempts: Attempts::default(),
    };
    let answer = choice.shown(&plan.servers).await;
    let answer = answer.map_err(|(error, attempts)| ClientError::NoAnswer { error, attempts })?;
    if let Some(warning) = &answer.warning {
        diagnostics.warning(warning);
    }
    if plan.keep {
        replay::keep_exchange(scratch, &package.request, &packed, &answer.reply)
            .map_err(ClientError::Keep)?;
    }
    let reply = unpacked(&answer, &limits)?;
    let replayed = replayed(&reply, &plan, scratch);
    if replayed.is_err() && plan.verbosity == 0 {
        automatic
            .iter()
            .for_each(|privilege| explain(*privilege, diagnostics));
    }
    let compiled = replayed?;
    if plan.verbosity > 0 {
        tell_end(&answer.server, reply.origin, start, diagnostics);
    }
    Ok(compiled)
}

/// Adds the option that this user needs to load the module.
fn ask_for_privilege(plan: &mut Plan, runs_here: bool) -> Option<Privilege> {
    // staprun asks for a signature; stapbpf does not, and no server signs bpf objects.
    let asks = runs_here && plan.run.runtime == Runtime::Kernel && !plan.names_privilege;
    let needed = privilege::needed().filter(|_| asks)?;
    plan.forwarded
        .push(format!("--privilege={needed}").into_bytes());
    Some(needed)
}

/// Stock clients leave it out and say nothing; then nobody knows why symbols are missing.
pub(super) fn tell_left_out(plan: &Plan, option: &str, diagnostics: &Diagnostics) {
    if !plan.run.no_warnings {
        diagnostics.warning(format_args!(
            "{option} is not sent, because no server takes it from a client\n\
             Name what it would have found with -d FILE"
        ));
    }
}

/// A module for another kernel is loaded by another host, whose keys are not known.
fn keys_to_sign_with(plan: &Plan, host: &Host, target: &TargetName) -> MachineOwnerKeys {
    let is_module = plan.run.runtime == Runtime::Kernel && plan.last_pass >= LastPass::Module;
    if *target == host.target && is_module {
        firmware::machine_owner_keys()
    } else {
        MachineOwnerKeys::NotAsked
    }
}

/// Says why an option was sent that nobody gave.
fn explain(privilege: Privilege, diagnostics: &Diagnostics) {
    diagnostics.plain(format_args!(
        "Using --privilege={privilege}, because you are not in the group stapdev."
    ));
}

fn unpacked(answer: &Answer, limits: &ReplyLimits) -> Result<Reply, ClientError> {
    Reply::decode(&answer.reply, limits).map_err(|error| ClientError::Reply {
        error,
        server: answer.server.clone(),
    })
}

fn replayed(reply: &Reply, plan: &Plan, scratch: &Scratch) -> Result<Compiled, ClientError> {
    if plan.keep {
        replay::keep_reply(scratch, Path::new("server"), reply).map_err(ClientError::Keep)?;
    }
    replay::print_streams(reply, plan)?;
    replay::save_signing_key(reply)?;
    if reply.rc != 0 {
        return Err(ClientError::Compile);
    }
    let module = replay::place_module(reply, plan, scratch)?;
    Ok(match module {
        Some(module) if plan.last_pass == LastPass::Run => Compiled::ToRun(module),
        _ => Compiled::Done,
    })
}
