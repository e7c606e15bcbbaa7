use std::os::unix::fs::symlink;

use super::*;

fn names(sources: Sources, below: &Path) -> Vec<String> {
    let real = below.canonicalize().unwrap();
    let prefix = format!("tapset{}/", real.display());
    let names = sources.into_files().into_keys();
    names
        .map(|name| name.to_string().replace(&prefix, ""))
        .collect()
}

#[test]
fn a_tapset_is_sent_whole_with_links_followed() {
    let directory = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.stp"), "a").unwrap();
    fs::create_dir(directory.path().join("sub")).unwrap();
    fs::write(directory.path().join("sub/b.stp"), "b").unwrap();
    fs::write(outside.path().join("c.stp"), "c").unwrap();
    symlink(
        outside.path().join("c.stp"),
        directory.path().join("link.stp"),
    )
    .unwrap();
    symlink(outside.path(), directory.path().join("more")).unwrap();

    let mut sources = Sources::default();
    let name = sources.add_tapset(directory.path()).unwrap();

    let real = directory.path().canonicalize().unwrap();
    assert_eq!(name, format!("tapset{}", real.display()).into_bytes());
    assert_eq!(
        names(sources, directory.path()),
        ["a.stp", "link.stp", "more/c.stp", "sub/b.stp"]
    );
}

#[test]
fn a_loop_of_links_ends() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("sub")).unwrap();
    fs::write(directory.path().join("sub/a.stp"), "a").unwrap();
    symlink("..", directory.path().join("sub/up")).unwrap();
    symlink("self", directory.path().join("self")).unwrap();

    let mut sources = Sources::default();
    sources.add_tapset(directory.path()).unwrap();

    assert_eq!(
        sources.take_warnings().len(),
        1,
        "the link to itself is told"
    );
    assert_eq!(names(sources, directory.path()), ["sub/a.stp"]);
}

#[test]
fn special_files_are_left_out_without_being_opened() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe.stp");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();

    let mut sources = Sources::default();
    sources.add_tapset(directory.path()).unwrap();
    assert!(matches!(
        sources.add_script(&pipe),
        Err(SourceError::NotRegular(_))
    ));
    assert!(sources.into_files().is_empty());
}

#[test]
fn the_root_is_refused_under_any_name() {
    let mut sources = Sources::default();
    for name in ["/", "/../", "/usr/.."] {
        assert!(matches!(
            sources.add_tapset(Path::new(name)),
            Err(SourceError::Root)
        ));
    }
}

#[test]
fn what_does_not_exist_is_named_and_not_sent() {
    let mut sources = Sources::default();
    let script = sources
        .add_script(Path::new("/nonexistent/x/../s.stp"))
        .unwrap();
    let tapset = sources.add_tapset(Path::new("/nonexistent/t")).unwrap();
    assert_eq!(script, b"script/nonexistent/s.stp");
    assert_eq!(tapset, b"tapset/nonexistent/t");
    assert!(sources.into_files().is_empty());
}

#[test]
fn a_directory_named_twice_counts_once() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.stp"), "abc").unwrap();
    let mut sources = Sources::default();
    sources.add_tapset(directory.path()).unwrap();
    sources.add_tapset(directory.path()).unwrap();
    assert_eq!(sources.bytes, 3);
}

#[test]
fn more_bytes_than_there_is_room_for_are_refused_before_they_are_kept() {
    let sources = Sources {
        bytes: MAX_BYTES - 2,
        ..Sources::default()
    };
    assert_eq!(
        sources.read_bounded(Path::new("x"), &b"ab"[..]).unwrap(),
        b"ab"
    );
    let refused = sources.read_bounded(Path::new("x"), &b"abc"[..]);
    assert!(matches!(refused, Err(SourceError::TooLarge { .. })));
}
