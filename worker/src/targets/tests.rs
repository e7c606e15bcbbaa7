//! Discovery over roots made for the purpose.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

use stap_protocol::job::ReleaseChoice;

use super::identity::Stap;
use super::*;

const RELEASE: &str = "7.2.12+deb14-amd64";

/// A root with one complete target.
fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let headers = root.path().join("usr/src/linux-headers");
    fs::create_dir_all(headers.join("include/config")).unwrap();
    fs::write(
        headers.join("include/config/kernel.release"),
        format!("{RELEASE}\n"),
    )
    .unwrap();
    fs::write(headers.join(".config"), "CONFIG_64BIT=y\nCONFIG_X86_64=y\n").unwrap();
    fs::create_dir_all(root.path().join("usr/bin")).unwrap();
    fs::write(root.path().join("usr/bin/gcc"), "").unwrap();
    fs::create_dir_all(root.path().join("lib/modules").join(RELEASE)).unwrap();
    // Absolute, as Debian's packages have it: it means the root's own /usr/src.
    let link = root.path().join("lib/modules").join(RELEASE).join("build");
    symlink("/usr/src/linux-headers", link).unwrap();
    root
}

fn configuration(roots: &[&tempfile::TempDir]) -> Configuration {
    Configuration {
        roots: roots.iter().map(|root| root.path().to_owned()).collect(),
        releases: Vec::new(),
        arch: Some("x86_64".to_owned()),
        stap: None,
        server_options: Vec::new(),
        policy: String::new(),
        slots: 1,
        cache: PathBuf::new(),
        temporary: PathBuf::new(),
        keep: false,
        hidden: Vec::new(),
    }
}

fn stap() -> Stap {
    Stap {
        path: STAP.into(),
        version: "5.6".to_owned(),
        stamp: b"1".to_vec(),
    }
}

fn catalogue(survey: &Survey) -> Catalogue {
    let staps: Staps = survey
        .roots_in_use()
        .map(|(index, _)| (index, Ok(stap())))
        .collect();
    Catalogue::join(survey, &staps, false)
}

fn reason(survey: &Survey) -> &str {
    assert_eq!(survey.found.len(), 0, "it was found usable");
    &survey.unusable[0].reason
}

#[test]
fn a_target_is_found_behind_an_absolute_link() {
    let root = root();
    let catalogue = catalogue(&Survey::on("x86_64", &configuration(&[&root])).unwrap());
    let targets: Vec<_> = catalogue.served().map(|served| &served.target).collect();
    assert_eq!(targets.len(), 1);
    assert_eq!(targets[0].name.to_string(), format!("{RELEASE} x86_64"));
    assert_eq!(targets[0].build_tree, Path::new("/usr/src/linux-headers"));
    assert_eq!(targets[0].compiler, "gcc");
    assert_eq!(catalogue.unusable(), []);
}

#[test]
fn a_build_id_changes_with_the_headers_and_with_stap() {
    let root = root();
    let id = |version: &str| {
        let survey = Survey::on("x86_64", &configuration(&[&root])).unwrap();
        let staps = BTreeMap::from([(
            0,
            Ok(Stap {
                version: version.to_owned(),
                ..stap()
            }),
        )]);
        let catalogue = Catalogue::join(&survey, &staps, false);
        catalogue.served().next().unwrap().target.build_id.clone()
    };
    let first = id("5.6");
    assert_eq!(id("5.6"), first, "nothing changed");
    assert_ne!(id("5.7"), first);
    fs::write(
        root.path().join("usr/src/linux-headers/Module.symvers"),
        "0x1\tx",
    )
    .unwrap();
    assert_ne!(id("5.6"), first);
}

#[test]
fn a_target_that_changes_under_a_worker_has_another_build_id() {
    let root = root();
    let stap_program = root.path().join(STAP.trim_start_matches('/'));
    fs::write(&stap_program, "stap").unwrap();
    let stamp = |path: &str| identity::stamp(&Root::open(root.path()).unwrap(), Path::new(path));
    let stap = Stap {
        stamp: stamp(STAP).unwrap(),
        ..stap()
    };
    let survey = Survey::on("x86_64", &configuration(&[&root])).unwrap();
    let catalogue = Catalogue::join(&survey, &BTreeMap::from([(0, Ok(stap))]), false);
    let served = catalogue.served().next().unwrap();
    let mut known = vec![served.target.build_id.clone()];
    assert_eq!(served.current_build_id().unwrap(), known[0]);
    let headers = root.path().join("usr/src/linux-headers");
    let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
    let changes: [&dyn Fn(); 4] = [
        &|| {
            let directory = fs::File::open(&headers).unwrap();
            directory.set_modified(long_ago).unwrap();
        },
        &|| {
            let config = "CONFIG_64BIT=y\nCONFIG_X86_64=y\n#\n";
            fs::write(headers.join(".config"), config).unwrap();
        },
        &|| fs::write(root.path().join("usr/bin/gcc"), "another").unwrap(),
        &|| fs::write(&stap_program, "another").unwrap(),
    ];
    for (number, change) in changes.iter().enumerate() {
        change();
        let build_id = served.current_build_id().unwrap();
        assert!(!known.contains(&build_id), "change {number}");
        known.push(build_id);
    }
    fs::write(root.path().join("usr/bin/other"), "").unwrap();
    assert_eq!(served.current_build_id().ok().as_ref(), known.last());
    fs::remove_dir_all(headers).unwrap();
    served.current_build_id().unwrap_err();
}

#[test]
fn what_is_of_no_use_is_listed_with_the_remedy() {
    let survey = |damage: &dyn Fn(&Path)| {
        let root = root();
        damage(&root.path().join("usr/src/linux-headers"));
        Survey::on("x86_64", &configuration(&[&root])).unwrap()
    };
    let survey_of = |path: &str, content: &str| {
        survey(&|headers: &Path| fs::write(headers.join(path), content).unwrap())
    };
    assert!(reason(&survey(&|headers| fs::remove_dir_all(headers).unwrap())).contains("install"));
    let other = survey_of("include/config/kernel.release", "6.1.0\n");
    assert!(reason(&other).contains("is the build tree of 6.1.0, not of 7.2.12"));
    assert!(reason(&survey_of(".config", "CONFIG_ARM64=y\n")).contains("start one with -a arm64"));
    assert!(reason(&survey_of(".config", "\n")).contains("names no architecture"));
    let compiler = survey_of(".kernelvariables", "CC = gcc-99\n");
    assert!(reason(&compiler).contains("its compiler gcc-99 is not in the root"));
}

/// A root with headers for arm64 whose variables name this compiler, which is there.
fn root_for_arm64(compiler: &str) -> tempfile::TempDir {
    let root = root();
    let headers = root.path().join("usr/src/linux-headers");
    fs::write(headers.join(".config"), "CONFIG_64BIT=y\nCONFIG_ARM64=y\n").unwrap();
    let variables = format!("override ARCH = arm64\nCC = {compiler}\n");
    fs::write(headers.join(".kernelvariables"), variables).unwrap();
    fs::write(root.path().join("usr/bin").join(compiler), "").unwrap();
    root
}

fn surveyed(roots: &[&tempfile::TempDir], arch: Option<&str>) -> Survey {
    let configuration = Configuration {
        arch: arch.map(str::to_owned),
        ..configuration(roots)
    };
    Survey::on("x86_64", &configuration).unwrap()
}

#[test]
fn another_architecture_is_served_where_its_compiler_is() {
    let (own, cross) = (root(), root_for_arm64("aarch64-linux-gnu-gcc-15"));
    let survey = surveyed(&[&own, &cross], None);
    let catalogue = catalogue(&survey);
    let served: Vec<_> = catalogue
        .served()
        .map(|served| (served.target.name.to_string(), served.is_foreign))
        .collect();
    assert_eq!(
        served,
        [
            (format!("{RELEASE} arm64"), true),
            (format!("{RELEASE} x86_64"), false)
        ],
        "the architecture is in .config, not in the release"
    );
}

#[test]
fn headers_of_another_architecture_are_of_no_use_without_its_compiler() {
    let native = root_for_arm64("gcc-15");
    let refused = surveyed(&[&native], None);
    let why = reason(&refused);
    assert!(
        why.contains("it is for arm64, and its compiler /usr/bin/gcc-15 is none for arm64"),
        "{why}"
    );
    let cross = root_for_arm64("aarch64-linux-gnu-gcc-15");
    assert!(reason(&surveyed(&[&cross], Some("x86_64"))).contains("start one with -a arm64"));
    assert_eq!(surveyed(&[&cross], Some("aarch64")).found.len(), 1);
}

#[test]
fn a_root_without_stap_serves_nothing_and_says_why() {
    let root = root();
    let survey = Survey::on("x86_64", &configuration(&[&root])).unwrap();
    let catalogue = Catalogue::join(&survey, &Staps::new(), false);
    assert_eq!(catalogue.served().count(), 0);
    assert!(
        catalogue.unusable()[0]
            .reason
            .contains("install systemtap in it")
    );
}

#[test]
fn of_two_roots_with_the_same_release_the_first_wins() {
    let (first, second) = (root(), root());
    let survey = Survey::on("x86_64", &configuration(&[&first, &second])).unwrap();
    assert!(survey.unusable[0].reason.contains("already served from"));
    assert!(survey.unusable[0].build_tree.starts_with(second.path()));
    let catalogue = catalogue(&survey);
    assert_eq!(catalogue.served().next().unwrap().target.root, first.path());
}

#[test]
fn a_release_that_is_not_there_is_refused_with_the_nearest() {
    let root = root();
    let mut catalogue = catalogue(&Survey::on("x86_64", &configuration(&[&root])).unwrap());
    let wanted = |release: &str| [ReleaseChoice::Release(release.to_owned())];
    let error = catalogue
        .choose(&wanted("7.2.13+deb14-amd64"))
        .expect_err("it is not there");
    assert!(
        error.to_string().ends_with(&format!("nearest: {RELEASE}")),
        "{error}"
    );
    catalogue.choose(&wanted(RELEASE)).unwrap();
    assert!(catalogue.serves(RELEASE));
}

#[test]
fn a_build_tree_may_be_named_by_its_path_on_the_host_or_in_the_root() {
    let root = root();
    let on_host = root.path().join("usr/src/linux-headers");
    for path in [on_host, PathBuf::from("/usr/src/linux-headers")] {
        let choices = [ReleaseChoice::BuildTree(path)];
        let mut survey = Survey::on("x86_64", &configuration(&[&root])).unwrap();
        survey.add_trees(&choices).unwrap();
        let mut catalogue = catalogue(&survey);
        catalogue.choose(&choices).unwrap();
        let named: Vec<_> = catalogue
            .served()
            .map(|served| served.named.clone())
            .collect();
        assert_eq!(named, ["/usr/src/linux-headers"]);
    }
}

#[test]
fn with_another_stap_any_release_is_served() {
    let root = tempfile::tempdir().unwrap();
    let survey = Survey::on("x86_64", &configuration(&[&root])).unwrap();
    let served = survey.trusting("1.2.3-test", &stap()).unwrap();
    assert_eq!(served.target.name.to_string(), "1.2.3-test x86_64");
    assert!(
        survey
            .trusting("../etc", &stap())
            .is_err_and(|error| error.to_string().contains("no kernel release"))
    );
}
