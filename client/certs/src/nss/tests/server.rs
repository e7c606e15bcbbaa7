//! A server's store: taken over from a stock server, and kept for one.

use super::*;
use crate::server::{Opened, Origin, PasswordRule, ServerDatabase, Setup};

fn start_at(
    scene: &Scene,
    programs: &Programs,
    now: SystemTime,
    password: PasswordRule,
) -> Result<Opened, DatabaseError> {
    let identity = Identity::of_host("labhost");
    let setup = Setup {
        identity: &identity,
        now,
        password,
        programs,
    };
    ServerDatabase::open_or_create_with(&scene.path(), setup)
}

fn start(scene: &Scene) -> Result<Opened, DatabaseError> {
    start_at(scene, &Programs::installed(), now(), PasswordRule::AsFound)
}

/// A stock server's database, valid for long. `words` are about its password.
fn stock(password: Option<&str>) -> Scene {
    let scene = Scene::new();
    let file = scene.home.path().join("password");
    fs::write(&file, format!("{}\n", password.unwrap_or_default())).unwrap();
    let file = file.to_str().unwrap();
    scene.certutil(&["-N", "-f", file]);
    make_pair(&scene, "-n", NICKNAME, file);
    scene.certutil(&[
        "-L",
        "-n",
        NICKNAME,
        "-r",
        "-o",
        scene.file("stap.cert").to_str().unwrap(),
    ]);
    for name in SQL {
        set_mode(&scene.file(name), 0o600);
    }
    set_mode(&scene.file("stap.cert"), 0o644);
    scene
}

fn make_pair(scene: &Scene, option: &str, nickname: &str, password: &str) {
    let noise = scene.home.path().join("noise");
    fs::write(&noise, [7; 64]).unwrap();
    let noise = noise.to_str().unwrap();
    let subject = "CN=Systemtap Compile Server,OU=Systemtap";
    scene.certutil(&[
        "-S", "-x", option, nickname, "-s", subject, "-t", "PCu,,PCu", "-k", "rsa", "-g", "2048",
        "-v", "240", "-w", "-12", "-z", noise, "-f", password, "-8", "labhost", "-m", "77",
    ]);
}

fn stock_certificate(scene: &Scene) -> Vec<u8> {
    fs::read(scene.file("stap.cert")).unwrap()
}

#[test]
fn a_stock_servers_pair_is_taken_over_once() {
    let scene = stock(None);
    let before = stock_certificate(&scene);
    let store = fs::read(scene.file(CERTIFICATES)).unwrap();
    let opened = start(&scene).unwrap();
    assert_eq!(opened.origin, Origin::TakenOver);
    assert_eq!(opened.certificate.der(), before);
    assert!(
        opened.warnings[0].contains("were taken over: clients that trust it need nothing new"),
        "{opened:?}"
    );
    assert_eq!(mode(&scene.file("stap.key")), 0o600);
    assert!(
        fs::read(scene.file(CERTIFICATES)).unwrap() == store,
        "the store is left as it was"
    );
    assert!(!scene.file(".nss.new").exists());

    let again = start(&scene).unwrap();
    assert_eq!((again.origin, again.warnings), (Origin::Found, vec![]));
    assert_eq!(again.certificate.der(), before);
}

#[test]
fn a_store_with_a_password_is_taken_over_with_the_password_in_pw() {
    let scene = stock(Some("secret"));
    let refused = start(&scene).unwrap_err().lines();
    assert!(
        refused[0].contains("cannot be taken over") && refused[0].contains("chmod 600"),
        "{refused:?}"
    );
    assert!(!scene.file("stap.key").exists(), "no other pair is made");

    fs::write(scene.file("pw"), "wrong\n").unwrap();
    set_mode(&scene.file("pw"), 0o600);
    let refused = start(&scene).unwrap_err().lines();
    assert!(refused[0].contains("correct the password"), "{refused:?}");

    fs::write(scene.file("pw"), "secret\n").unwrap();
    assert_eq!(start(&scene).unwrap().origin, Origin::TakenOver);
}

#[test]
fn a_pair_that_cannot_be_taken_over_is_not_replaced_by_another() {
    let scene = stock(None);
    let none = Programs::none();
    let refused = start_at(&scene, &none, now(), PasswordRule::AsFound)
        .unwrap_err()
        .lines();
    assert!(
        refused[0].contains("pk12util is not installed\n  try: install libnss3-tools"),
        "{refused:?}"
    );
    assert!(!scene.file("stap.key").exists());

    fs::write(scene.file(CERTIFICATES), "garbage").unwrap();
    let refused = start(&scene).unwrap_err().lines();
    assert!(
        refused[0].contains("not an SQLite 3 database\n  try: move it and key4.db away"),
        "{refused:?}"
    );
    assert!(!scene.file("stap.key").exists());
}

#[test]
fn a_new_servers_pair_is_in_the_store() {
    let scene = Scene::new();
    let opened = start(&scene).unwrap();
    assert_eq!(opened.warnings, Vec::<String>::new());
    for name in SQL {
        assert_eq!(mode(&scene.file(name)), 0o600, "{name}");
    }
    let listing = scene.certutil(&["-L"]);
    assert!(
        listing
            .lines()
            .any(|line| line.split_whitespace().eq([NICKNAME, "CPu,u,Cu"])),
        "{listing}"
    );
    assert!(scene.certutil(&["-K"]).contains(NICKNAME));
    let printed = scene.home.path().join("printed");
    scene.certutil(&["-L", "-n", NICKNAME, "-r", "-o", printed.to_str().unwrap()]);
    assert!(fs::read(printed).unwrap() == opened.certificate.der());

    // The key in it is the key: without ours, the pair comes back from there.
    fs::remove_file(scene.file("stap.key")).unwrap();
    let back = start(&scene).unwrap();
    assert_eq!(back.origin, Origin::TakenOver);
    assert_eq!(back.private_key_pkcs8, opened.private_key_pkcs8);
}

#[test]
fn the_password_that_was_asked_for_is_that_of_the_store() {
    let scene = Scene::new();
    start_at(
        &scene,
        &Programs::installed(),
        now(),
        PasswordRule::Required,
    )
    .unwrap();
    let pw = scene.file("pw");
    let with = |file: &Path| {
        let words = ["-K", "-f", file.to_str().unwrap()];
        scene.try_certutil(&words).status.success()
    };
    assert!(with(&pw));
    let empty = scene.home.path().join("empty");
    fs::write(&empty, "\n").unwrap();
    assert!(!with(&empty));
}

#[test]
fn a_password_that_is_asked_for_later_becomes_that_of_the_store() {
    let scene = Scene::new();
    let first = start(&scene).unwrap();
    let programs = Programs::installed();
    let again = start_at(&scene, &programs, now(), PasswordRule::Required).unwrap();
    assert_eq!((again.origin, again.warnings), (Origin::Found, vec![]));
    let pw = scene.file("pw");
    scene.certutil(&["-K", "-f", pw.to_str().unwrap()]);
    assert_eq!(scene.held(), [first.certificate.sha256()]);
}

#[test]
fn a_pair_that_has_expired_is_taken_over_and_renewed() {
    let scene = stock(None);
    let before = stock_certificate(&scene);
    let later = now() + Duration::from_secs(25 * 365 * 24 * 60 * 60);
    let programs = Programs::installed();
    let opened = start_at(&scene, &programs, later, PasswordRule::AsFound).unwrap();
    assert_eq!(opened.origin, Origin::Renewed);
    assert_eq!(opened.retired[0].der(), before);
    assert_eq!(opened.warnings, Vec::<String>::new());
    assert_eq!(scene.held(), [opened.certificate.sha256()]);
}

#[test]
fn a_renewed_pair_replaces_the_former_one_in_the_store() {
    let scene = Scene::new();
    let first = start(&scene).unwrap();
    let later = now() + Duration::from_secs(340 * 24 * 60 * 60);
    // As while it serves, when no program can be started any more.
    let none = Programs::none();
    let second = start_at(&scene, &none, later, PasswordRule::AsFound).unwrap();
    assert_eq!(second.origin, Origin::Renewed);
    assert_eq!(scene.held(), [first.certificate.sha256()]);

    let third = start_at(&scene, &Programs::installed(), later, PasswordRule::AsFound).unwrap();
    assert_eq!((third.origin, third.warnings), (Origin::Found, vec![]));
    assert_eq!(scene.held(), [second.certificate.sha256()]);
}

#[test]
fn a_pair_that_a_stock_server_renewed_is_taken_over_again() {
    let scene = Scene::new();
    start(&scene).unwrap();
    for name in SQL {
        fs::remove_file(scene.file(name)).unwrap();
    }
    let stock = stock(None);
    for name in SQL.iter().chain(&["stap.cert"]) {
        fs::copy(stock.file(name), scene.file(name)).unwrap();
    }
    let opened = start(&scene).unwrap();
    assert_eq!(opened.origin, Origin::TakenOver);
    assert_eq!(opened.certificate.der(), stock_certificate(&stock));
}

#[test]
fn a_store_with_anything_else_in_it_is_left_alone() {
    let scene = stock(None);
    let other = Scene::new();
    let ours = start_at(&other, &Programs::none(), now(), PasswordRule::AsFound).unwrap();
    for name in ["stap.key", "stap.cert"] {
        fs::copy(other.file(name), scene.file(name)).unwrap();
    }
    let before = fs::read(scene.file(CERTIFICATES)).unwrap();
    let opened = start(&scene).unwrap();
    assert_eq!(opened.certificate, ours.certificate);
    assert!(
        opened.warnings[0].contains("holds private keys, or certificates that are no server's"),
        "{opened:?}"
    );
    assert!(fs::read(scene.file(CERTIFICATES)).unwrap() == before);
}

#[test]
fn what_we_pack_for_pk12util_is_what_we_read_of_it() {
    let certificate = certificate("a");
    let bundle = pkcs12::pack(certificate.der(), KEY.pkcs8(), "p");
    assert_eq!(
        pkcs12::private_keys(&bundle, "p"),
        Ok(vec![KEY.pkcs8().to_vec()])
    );
    for end in 0..bundle.len() {
        assert!(pkcs12::private_keys(&bundle[..end], "p").is_err(), "{end}");
    }
}

impl Scene {
    /// Every certificate in the store.
    fn held(&self) -> Vec<Fingerprint> {
        let contents = Contents::read(&fs::read(self.file(CERTIFICATES)).unwrap()).unwrap();
        contents
            .held
            .iter()
            .map(|held| Fingerprint::of(&held.der))
            .collect()
    }
}
