//! Keeping a client-side database in step with the NSS store beside it.
//!
//! Reading needs no program and no right to write: what a client may trust follows from both sides
//! and the record. What follows is written when somebody who may write comes by. Every order of
//! writes here is one that can end anywhere: the record announces what is about to be added, and says
//! what is on both sides only when it is.

use std::collections::BTreeMap;

use super::StoreError;
use super::merge::{Plan, Record, Set, Sides};
use super::programs::{Program, Programs};
use super::record::{MAX_RECORD_BYTES, RECORD};
use super::sqlite::SqliteError;
use super::stage::{Edit, Edited, Stage};
use super::store::Store;
use crate::certificate::{Certificate, Fingerprint};
use crate::client::{FILE_MODE, MAX_CERTIFICATES, file_name};
use crate::directory::{Directory, Lock, read_bounded};
use crate::error::DatabaseError;
use crate::permissions::Kind;

/// What a client may trust.
#[derive(Debug)]
pub(crate) struct View {
    /// The certificates, in a fixed order.
    pub(crate) certificates: Vec<Certificate>,
    /// What went less well.
    pub(crate) warnings: Vec<String>,
    /// Whether our files should change.
    pub(crate) outdated: bool,
}

/// Who follows the store, and with what.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// Programs that may be run.
    pub(crate) programs: &'a Programs,
    /// A certificate that the user has just asked to trust, whatever the store says of it.
    pub(crate) certificate: Option<Fingerprint>,
}

/// Returns what our files and the store trust together.
pub(crate) fn view(directory: &Directory, ours: Vec<Certificate>) -> View {
    let look = match Look::at(directory, &ours, None) {
        Ok(Some(look)) => look,
        Ok(None) => return View::of(ours),
        Err(error) => {
            let warnings = vec![unusable(directory, &error)];
            return View {
                // Without the record, what is missing on one side may have been revoked there.
                certificates: match error {
                    StoreError::Record => on_both_sides(directory, ours),
                    _ => ours,
                },
                warnings,
                outdated: false,
            };
        }
    };
    let mut known = look.known(&ours);
    let trusted = look.plan.trusted();
    View {
        certificates: trusted
            .filter_map(|one| known.remove(one))
            .cloned()
            .collect(),
        warnings: Vec::new(),
        outdated: look.plan.changes_ours(),
    }
}

/// Makes each side what the other became since they were last in step. Returns warnings: the store
/// may be one that cannot be followed or changed, and our own files count all the same.
///
/// # Errors
/// When our own files cannot be written.
pub(crate) fn follow(
    directory: &Directory,
    lock: &Lock,
    ours: &[Certificate],
    wanted: &Wanted<'_>,
) -> Result<Vec<String>, DatabaseError> {
    let look = match Look::at(directory, ours, wanted.certificate) {
        Ok(Some(look)) => look,
        Ok(None)
            if wanted.programs.has(Program::Certutil) && directory.is_own() && !ours.is_empty() =>
        {
            Look::at_nothing(ours)
        }
        Ok(None) => return Ok(Vec::new()),
        Err(error) => return Ok(vec![unusable(directory, &error)]),
    };
    let known = look.known(ours);
    let plan = &look.plan;
    let mut written = look.before.clone();
    let mut remember = |record: Record| -> Result<(), DatabaseError> {
        if written.as_ref() != Some(&record) {
            directory.write(lock, RECORD, FILE_MODE, record.to_text().as_bytes())?;
            written = Some(record);
        }
        Ok(())
    };
    // Nobody's files but this user's are handed to programs with this user's rights.
    let has_program = wanted.programs.has(Program::Certutil);
    let may_edit = plan.changes_theirs() && has_program && directory.is_own();
    if may_edit || !plan.pull.is_empty() {
        // Announced before it happens, so that a crash in between undoes no revocation.
        let in_step = [&plan.keep, &plan.drop_ours, &plan.drop_theirs];
        remember(Record {
            store: look.digest,
            both: in_step.into_iter().flatten().copied().collect(),
            push: if may_edit {
                plan.push.clone()
            } else {
                Set::new()
            },
            pull: plan.pull.clone(),
        })?;
    }
    for one in &plan.pull {
        if let Some(certificate) = known.get(one) {
            directory.write(lock, &file_name(*one), FILE_MODE, certificate.der())?;
        }
    }
    for one in &plan.drop_ours {
        directory.remove(lock, &file_name(*one))?;
    }
    let mut settled = Record {
        store: look.digest,
        both: plan.keep.union(&plan.pull).copied().collect(),
        push: Set::new(),
        pull: Set::new(),
    };
    let edited = may_edit.then(|| look.edit(directory, lock, wanted.programs, &known));
    let warnings = match edited {
        Some(Ok((edited, digest))) => {
            settled.store = digest;
            settled.both.extend(plan.push.intersection(&edited.added));
            edited.warnings
        }
        not_edited => {
            // As long as it is in the store it must not be taken for something new.
            settled.both.extend(&plan.drop_theirs);
            let not_own = (has_program && plan.changes_theirs()).then_some(StoreError::NotOwn);
            let error = not_edited.map_or(not_own, Result::err);
            let line = |error: StoreError| error.warning(directory.path(), OUT_OF_STEP);
            error.map(line).into_iter().collect()
        }
    };
    remember(settled)?;
    Ok(warnings)
}

/// Both sides and what follows from them.
struct Look {
    store: Option<Store>,
    digest: Fingerprint,
    before: Option<Record>,
    plan: Plan,
}

impl Look {
    /// `None` without a store.
    fn at(
        directory: &Directory,
        ours: &[Certificate],
        wanted: Option<Fingerprint>,
    ) -> Result<Option<Self>, StoreError> {
        let Some(store) = Store::read(directory)? else {
            return Ok(None);
        };
        let before = read_record(directory)?;
        let sides = Sides {
            ours: ours.iter().map(Certificate::sha256).collect(),
            theirs: store.contents.trusted().map(Certificate::sha256).collect(),
            distrusted: store.contents.distrusted().collect(),
            store: store.digest,
            wanted,
        };
        let plan = Plan::of(&sides, before.as_ref());
        if plan.trusted().count() > MAX_CERTIFICATES {
            return Err(SqliteError::TooMuch.into());
        }
        Ok(Some(Self {
            digest: store.digest,
            store: Some(store),
            before,
            plan,
        }))
    }

    /// A store that will be made. What a former one had is of no matter: it was removed as a whole,
    /// not certificate by certificate.
    fn at_nothing(ours: &[Certificate]) -> Self {
        Self {
            store: None,
            digest: Fingerprint::of(b""),
            before: None,
            plan: Plan {
                push: ours.iter().map(Certificate::sha256).collect(),
                ..Plan::default()
            },
        }
    }

    /// Every certificate of either side.
    fn known<'c>(&'c self, ours: &'c [Certificate]) -> BTreeMap<Fingerprint, &'c Certificate> {
        let theirs = self.store.iter().flat_map(|store| store.contents.trusted());
        let all = ours.iter().chain(theirs);
        all.map(|one| (one.sha256(), one)).collect()
    }

    /// Changes the store as planned. Returns what it trusts then, and its digest.
    fn edit(
        &self,
        directory: &Directory,
        lock: &Lock,
        programs: &Programs,
        known: &BTreeMap<Fingerprint, &Certificate>,
    ) -> Result<(Edited, Fingerprint), StoreError> {
        let chosen = |set: &Set| -> Vec<&Certificate> {
            set.iter()
                .filter_map(|one| known.get(one).copied())
                .collect()
        };
        let edit = Edit {
            add: chosen(&self.plan.push),
            remove: chosen(&self.plan.drop_theirs),
        };
        let stage = Stage::prepare(directory, lock, programs)?;
        let keys = match &self.store {
            Some(_) => Store::read_keys(directory)?,
            None => Vec::new(),
        };
        let current = self.store.as_ref().map(|store| (store, keys.as_slice()));
        let edited = stage.edit(current, &edit)?;
        let is_added = |one: &&Certificate| edited.added.contains(&one.sha256());
        if edit.remove.is_empty() && !edit.add.iter().any(is_added) {
            return Ok((edited, self.digest));
        }
        let digest = Fingerprint::of(&stage.certificates()?);
        let before = self.store.as_ref().map(|store| store.digest);
        Store::replace(directory, before, &stage.private, FILE_MODE)?;
        Ok((edited, digest))
    }
}

impl View {
    fn of(certificates: Vec<Certificate>) -> Self {
        Self {
            certificates,
            warnings: Vec::new(),
            outdated: false,
        }
    }
}

fn on_both_sides(directory: &Directory, mut ours: Vec<Certificate>) -> Vec<Certificate> {
    let theirs: Set = match Store::read(directory) {
        Ok(Some(store)) => store.contents.trusted().map(Certificate::sha256).collect(),
        Ok(None) | Err(_) => Set::new(),
    };
    ours.retain(|one| theirs.contains(&one.sha256()));
    ours
}

/// Reads the record, if there is one.
fn read_record(directory: &Directory) -> Result<Option<Record>, StoreError> {
    if !directory.has(RECORD)? {
        return Ok(None);
    }
    // Its permissions were judged with those of the store.
    let file = directory.examine_file(RECORD, Kind::ClientStore, None, &mut Vec::new())?;
    let bytes = file
        .and_then(|file| read_bounded(file, &directory.file_path(RECORD), MAX_RECORD_BYTES).ok());
    let record = bytes.and_then(|bytes| Record::parse(&bytes));
    record.map(Some).ok_or(StoreError::Record)
}

fn unusable(directory: &Directory, error: &StoreError) -> String {
    error.warning(
        directory.path(),
        "What stock programs trust is not known, for",
    )
}

const OUT_OF_STEP: &str = "Stock programs still use the old";
