//! `stap-authorize-server-cert`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::stand_in::certificate_file;
use crate::world::{Finished, World};

#[test]
fn a_certificate_file_must_be_given_and_be_one() {
    let world = World::new();
    let database = world.path("database");
    let authorize = |file: Option<&str>| {
        let mut tool = world.tool("stap-authorize-server-cert");
        file.into_iter().for_each(|file| {
            tool.arg(file).arg(&database);
        });
        tool.output().unwrap()
    };
    authorize(None).assert_failed("Certificate file must be specified");
    authorize(Some("/nonexistent")).assert_failed("Cannot find certificate file /nonexistent");
    authorize(Some("/etc")).assert_failed("Cannot find certificate file /etc");
    authorize(Some("/etc/passwd"))
        .assert_failed("Unable to add /etc/passwd to the client certificate database");
    assert!(
        !database.exists(),
        "a failed attempt leaves no database behind"
    );
}

#[test]
fn adding_twice_leaves_one_copy() {
    let world = World::new();
    let database = world.path("a/b");
    for _ in 0..2 {
        let tool = world
            .tool("stap-authorize-server-cert")
            .arg(certificate_file())
            .arg(&database)
            .output()
            .unwrap();
        assert_eq!((tool.out() + &tool.err(), tool.code()), (String::new(), 0));
    }
    let certificates: Vec<_> = world
        .names("a/b")
        .into_iter()
        .filter(|name| name.ends_with(".cert"))
        .collect();
    assert_eq!(certificates.len(), 1);
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(database.clone()), 0o755);
    assert_eq!(mode(database.join(&certificates[0])), 0o644);
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let world = World::new();
    fs::write(world.path("file"), "").unwrap();
    let tool = world
        .tool("stap-authorize-server-cert")
        .arg(certificate_file())
        .arg(world.path("file/database"))
        .output()
        .unwrap();
    tool.assert_failed("Unable to find or create the client certificate database directory: ");
}
