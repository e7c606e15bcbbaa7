//! Reading bytes that may be anything.

use proptest::prelude::*;

use super::super::sqlite::Database;
use super::*;

/// A store of several pages and depths.
fn store() -> Vec<u8> {
    let scene = Scene::with_store();
    for number in 0..6 {
        scene.trust_there(&certificate(&format!("host-{number}.example.org")));
    }
    fs::read(scene.file(CERTIFICATES)).unwrap()
}

static STORE: LazyLock<Vec<u8>> = LazyLock::new(store);

#[test]
fn a_table_of_several_pages_is_read_whole() {
    let contents = Contents::read(&STORE).unwrap();
    assert_eq!(contents.held.len(), 6);
    assert_eq!(contents.trusted().count(), 6);
}

#[test]
fn a_large_certificate_is_read_from_its_chain_of_pages() {
    let names: Vec<String> = (0..600).map(|n| format!("host-{n}.example.org")).collect();
    let key = rcgen::KeyPair::generate().unwrap();
    let large = rcgen::CertificateParams::new(names).unwrap();
    let large = Certificate::from_der(large.self_signed(&key).unwrap().der()).unwrap();
    assert!(large.der().len() > 3 * 4096);
    let scene = Scene::with_store();
    scene.trust_there(&large);
    assert_eq!(scene.trusted(), these(&[&large]));
}

/// A page that is its own child must not be followed for ever.
#[test]
fn a_tree_that_is_a_circle_is_damaged() {
    let mut bytes = STORE.clone();
    let page = &mut bytes[100..];
    page[0] = 5;
    page[3..5].copy_from_slice(&[0, 0]);
    page[8..12].copy_from_slice(&[0, 0, 0, 1]);
    assert_eq!(Contents::read(&bytes).err(), Some(SqliteError::Damaged));
}

/// The form in which NSS since 3.111 or so writes trust, as the reader of an older one cannot see it:
/// the numbers in the columns of an object of another class.
#[test]
fn trust_in_the_form_of_newer_versions_counts() {
    let contents = Contents::read(include_bytes!(
        "../../../fuzz/corpus/store/good-pkcs11-trust.db"
    ))
    .unwrap();
    let trusted: Vec<_> = contents.trusted().map(Certificate::serial_text).collect();
    assert_eq!(trusted, ["00:80:a1:b2:c1"]);
}

/// The older certutil on this host adds an object of its own to the one that it cannot see.
#[test]
fn trust_counts_only_while_both_forms_say_so() {
    let scene = Scene::with_store();
    let store = include_bytes!("../../../fuzz/corpus/store/good-pkcs11-trust.db");
    fs::write(scene.file(CERTIFICATES), store).unwrap();
    assert_eq!(scene.theirs().len(), 1);
    scene.certutil(&["-M", "-n", NICKNAME, "-t", "p,,"]);
    assert_eq!(scene.theirs(), []);
}

proptest! {
    /// Whatever the bytes are, reading ends with an answer.
    #[test]
    fn damage_is_survived(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40), cut in any::<Option<prop::sample::Index>>()) {
        let mut bytes = STORE.clone();
        for (index, octet) in changes {
            let at = index.index(bytes.len());
            bytes[at] = octet;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        drop(Contents::read(&bytes));
    }

    /// The same for the parts that decide where to go next: headers and cell pointers.
    #[test]
    fn damage_to_the_structure_is_survived(changes in prop::collection::vec((0..8_usize, 0..160_usize, any::<u8>()), 1..24)) {
        let mut bytes = STORE.clone();
        for (page, offset, octet) in changes {
            if let Some(place) = bytes.get_mut(page * 4096 + offset + if page == 0 { 100 } else { 0 }) {
                *place = octet;
            }
        }
        drop(Contents::read(&bytes));
    }

    #[test]
    fn noise_with_a_header_is_survived(noise in prop::collection::vec(any::<u8>(), 0..6000)) {
        let mut bytes = STORE[..100].to_vec();
        bytes.extend(noise);
        if let Ok(database) = Database::open(&bytes) {
            drop(database.table("nssPublic"));
        }
    }
}
