use std::fs::{self, File};

use super::*;

const BUILD: &str = "PATH=/bin\0\0make\0-C\0/b\0M=/work/q\0modules\0-j3\0-i\0";

/// The workspace of a listing: `count` headers with tracepoints, and one set of headers with types.
fn workspace(count: usize) -> tempfile::TempDir {
    let workspace = tempfile::tempdir().unwrap();
    let write = |path: &str, content: &str| {
        let path = workspace.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    let objects = (0..count).map(|number| format!("obj-m += tracequery_kmod_1_{number}.o\n"));
    let objects: String = objects.collect();
    let makefile = format!("ccflags-y := -g -Werror\nobj-m := \n{objects}");
    let traces = format!("{RESULTS}/tracequery_kmod_1");
    for number in 0..count {
        let source = format!(
            "#include <linux/tracepoint.h>\n#include <trace/events/h{number}.h>\n#ifdef TRACE_SYSTEM\n"
        );
        write(&format!("{traces}/tracequery_kmod_1_{number}.c"), &source);
        let log =
            format!("[now] tracequery_hash:\nHeader Path: /l/include/trace/events/h{number}.h\n");
        let place = format!("{SEED_DIRECTORY}/a0/tracequery_a0{number:04}_7_hash.log");
        write(&place, &log);
    }
    write(&format!("{traces}/Makefile"), &makefile);
    write(&format!("{traces}/{ASKED_HERE}"), BUILD);
    let types = format!("{RESULTS}/typequery_kmod_3");
    write(
        &format!("{types}/typequery_kmod_3.c"),
        "#include <linux/module.h>\n",
    );
    let forced = "CFLAGS_typequery_kmod_3.o := -w  -include \"net/ip.h\" -include \"net/sock.h\"\n";
    write(&format!("{types}/Makefile"), forced);
    write(&format!("{types}/{ASKED_HERE}"), BUILD);
    let place = format!("{SEED_DIRECTORY}/b1/typequery_b1_7_hash.log");
    write(&place, "Typequery Name: kernel<net/ip.h><net/sock.h>\n");
    workspace
}

fn batches_in(workspace: &tempfile::TempDir) -> Vec<Batch> {
    batches(&OwnedFd::from(File::open(workspace.path()).unwrap()))
}

#[test]
fn every_query_is_in_one_batch_with_the_place_where_stap_looks_for_its_answer() {
    let found = batches_in(&workspace(BATCH + 3));
    let counts: Vec<_> = found.iter().map(|batch| batch.objects.len()).collect();
    assert_eq!(counts, [BATCH, 3, 1]);
    for object in found[..2].iter().flat_map(|batch| &batch.objects) {
        let number = object.name.strip_prefix("tracequery_kmod_1_").unwrap();
        let number: usize = number.strip_suffix(".o").unwrap().parse().unwrap();
        assert_eq!(
            object.subject,
            format!("/l/include/trace/events/h{number}.h")
        );
        assert_eq!(object.cached, format!("a0/tracequery_a0{number:04}_7.o"));
    }
    let types = &found[2].objects[0];
    assert_eq!(types.name, "typequery_kmod_3.ko");
    assert_eq!(types.cached, "b1/typequery_b1_7.ko");
    assert!(found[2].words.contains(&"modules".to_owned()));
}

#[test]
fn a_batch_builds_its_own_objects_only() {
    let found = batches_in(&workspace(BATCH + 3));
    let last = &found[1];
    let names: Vec<_> = last.objects.iter().map(|object| &object.name).collect();
    let goals: Vec<_> = last
        .words
        .iter()
        .filter(|word| word.ends_with(".o"))
        .collect();
    assert_eq!(goals, names);
    assert!(!last.words.contains(&"modules".to_owned()));
    let make = last.words.iter().position(|word| word == "make").unwrap();
    let (env, make) = last.words.split_at(make);
    assert_eq!(env[0], "-i", "nothing comes from the job's own environment");
    assert!(!make.contains(&"-i".to_owned()) && make.contains(&"-k".to_owned()));
    let (_, makefile) = last
        .files
        .iter()
        .find(|(name, _)| name == MAKEFILE)
        .unwrap();
    let makefile = String::from_utf8(makefile.clone()).unwrap();
    let listed = makefile
        .lines()
        .filter(|line| line.starts_with("obj-m += "));
    assert_eq!(listed.count(), names.len());
    assert!(makefile.starts_with("ccflags-y := -g -Werror\n"));
}

#[test]
fn the_digest_is_that_of_what_is_built_and_not_of_where_it_is_looked_for() {
    let batch = batches_in(&workspace(2)).remove(0);
    let mut elsewhere = batch.clone();
    elsewhere.objects[0].cached = "ff/tracequery_ff_1.o".to_owned();
    assert_eq!(batch.digest(), elsewhere.digest());
    let mut changed = batch.clone();
    changed.files[0].1.push(b'\n');
    assert_ne!(batch.digest(), changed.digest());
    let mut changed = batch.clone();
    changed.words.push("V=1".to_owned());
    assert_ne!(batch.digest(), changed.digest());
}

#[test]
fn guru_mode_asks_for_the_same_tracepoints_though_it_tells_make_more() {
    let plain = workspace(2);
    let guru = workspace(2);
    let told = |workspace: &tempfile::TempDir, directory: &str, told: String| {
        let path = workspace.path().join(RESULTS).join(directory);
        fs::write(path.join(ASKED_HERE), told).unwrap();
    };
    let more = BUILD.replace("\0modules", "\0CONFIG_MODVERSIONS=\0modules");
    told(&guru, "tracequery_kmod_1", more.clone());
    told(&guru, "typequery_kmod_3", more);
    let [plain, guru] = [&plain, &guru].map(batches_in);
    assert_eq!(plain[0].digest(), guru[0].digest());
    // stap reads a module where it asks for types; these are built as it wants them.
    assert_ne!(plain[1].digest(), guru[1].digest());
    let other = workspace(2);
    told(
        &other,
        "tracequery_kmod_1",
        BUILD.replace("\0modules", "\0V=1\0modules"),
    );
    assert_ne!(plain[0].digest(), batches_in(&other)[0].digest());
}

#[test]
fn a_listing_outlives_the_worker_if_no_byte_of_it_changes() {
    let parent = tempfile::tempdir().unwrap();
    let cache = parent.path().join("cache");
    let store = crate::store::Store::open(&cache).unwrap();
    let found = batches_in(&workspace(BATCH + 3));
    publish(&store, "key", "seen", &found).unwrap();
    assert_eq!(load(&store, "key", "seen"), Some(found));
    assert_eq!(load(&store, "other", "seen"), None);
    let file = fs::read_dir(cache.join("key")).unwrap().next().unwrap();
    let file = file.unwrap().path();
    let mut content = fs::read(&file).unwrap();
    *content.last_mut().unwrap() ^= 1;
    fs::write(&file, content).unwrap();
    assert_eq!(load(&store, "key", "seen"), None);
}

#[test]
fn only_places_of_answers_are_places() {
    assert!(is_cached(Path::new("ab/tracequery_ab12_803.o")));
    assert!(is_cached(Path::new("ab/typequery_ab12_803.ko")));
    for path in [
        "ab/stapconf_ab_1.h",
        "ab/tracequery_../x.o",
        "abc/tracequery_ab_1.o",
        "ab/tracequery_ab_1.ko",
        "ab/c/tracequery_ab_1.o",
    ] {
        assert!(!is_cached(Path::new(path)), "{path}");
    }
}
