//! What a second store in the same directory is told.

use std::cell::RefCell;

use super::*;
use crate::mirror::MirrorError;

/// A second store that remembers what it was told, or refuses to follow.
#[derive(Debug, Default)]
struct Recorder {
    told: RefCell<Vec<String>>,
    refuses: bool,
}

impl Mirror for Recorder {
    fn follow(&self, _database: &Path, change: Change<'_>) -> Result<(), MirrorError> {
        if self.refuses {
            return Err(MirrorError {
                reason: "certutil failed".to_owned(),
            });
        }
        self.told.borrow_mut().push(match change {
            Change::Trusted(certificate) => format!("+{}", certificate.sha256()),
            Change::Distrusted(fingerprint) => format!("-{fingerprint}"),
            Change::ServerPair { .. } => "pair".to_owned(),
        });
        Ok(())
    }
}

#[test]
fn a_second_store_is_told_of_every_change() {
    let scene = Scene::new();
    let recorder = Recorder::default();
    let database = ClientDatabase::open_or_create_with(&scene.path(), &recorder).unwrap();
    let known = certificate("a");
    database.add(&known).unwrap();
    database.remove(known.sha256()).unwrap();
    let fingerprint = known.sha256();
    assert_eq!(
        *recorder.told.borrow(),
        [format!("+{fingerprint}"), format!("-{fingerprint}")]
    );
}

#[test]
fn a_second_store_that_cannot_follow_is_an_error() {
    let scene = Scene::new();
    let recorder = Recorder {
        refuses: true,
        ..Recorder::default()
    };
    let database = ClientDatabase::open_or_create_with(&scene.path(), &recorder).unwrap();
    let error = database.add(&certificate("a")).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("but not the store beside it: certutil failed"),
        "{error}"
    );
}
