//! The committed corpus of the fuzz target.
//!
//! It is made here, so that a fuzzer starts from every form and every flaw that we know.
//! `STAP_WRITE_CORPUS=1 cargo test -p stap-driver --test corpus` writes it anew; findings of a fuzzer
//! are added to it by hand and replayed like the rest.

use std::fs;
use std::path::{Path, PathBuf};

use stap_driver::fuzzing::{MODULE, recording};
use stap_driver::record::wanted;

const COMPILE: &str = "gcc-16 -Wp,-MMD,./.OBJECT.o.d -I/src/arch/x86/include -DKBUILD_BASENAME='\"OBJECT\"' \
                       -c -o OBJECT.o OBJECT.c  ; objtool --link OBJECT.o";

/// What kbuild of 6.13 and later leaves in the module's own directory.
fn text(file: &str) -> String {
    let compiled = |object: &str| {
        let command = COMPILE.replace("OBJECT", object);
        format!("savedcmd_{object}.o := {command}\n\nsource_{object}.o := {object}.c\n")
    };
    match file {
        ".rec_src.o.cmd" => compiled("rec_src"),
        ".rec_aux_0.o.cmd" => compiled("rec_aux_0"),
        ".stap_symbols.o.cmd" => compiled("stap_symbols"),
        ".rec.o.cmd" => "savedcmd_rec.o := ld -r -o rec.o @rec.mod ; objtool rec.o\n".to_owned(),
        ".rec.mod.o.cmd" => "savedcmd_rec.mod.o := gcc-16 -c -o rec.mod.o rec.mod.c\n".to_owned(),
        ".rec.ko.cmd" => "savedcmd_rec.ko := ld -r -o rec.ko rec.o rec.mod.o; true\n".to_owned(),
        "..module-common.o.cmd" => {
            "savedcmd_.module-common.o := gcc-16 -c -o .module-common.o /src/m.c\n".to_owned()
        }
        ".Module.symvers.cmd" => {
            "savedcmd_Module.symvers := modpost -o Module.symvers -e \n".to_owned()
        }
        "modules.order" => "rec.o\n".to_owned(),
        "Makefile" => "obj-m := rec.o\nrec-y := rec_src.o rec_aux_0.o stap_symbols.o\n".to_owned(),
        "rec.mod" => "./rec_src.o\n./rec_aux_0.o\n./stap_symbols.o\n".to_owned(),
        other => panic!("nothing is known of {other}"),
    }
}

/// All files, after a change.
fn with(change: impl Fn(&str, String) -> String) -> Vec<u8> {
    let files = wanted(MODULE);
    let texts: Vec<_> = files.iter().map(|file| change(file, text(file))).collect();
    texts.join("\0").into_bytes()
}

/// With one command that ends otherwise.
fn linked(more: &str) -> Vec<u8> {
    with(|file, text| match file {
        ".rec.o.cmd" => text.replace("objtool rec.o", more),
        _ => text,
    })
}

fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let in_the_tree = |file: &str, text: String| {
        let text = text.replace("savedcmd_", "cmd_/w/").replace("./", "/w/");
        match file {
            "modules.order" => "/w/rec.o\n".to_owned(),
            "..module-common.o.cmd" => String::new(),
            _ => text,
        }
    };
    let uneven = |file: &str, text: String| match file {
        ".rec_aux_0.o.cmd" => text.replace(" -c ", " -g -c "),
        _ => text,
    };
    let good = with(|_, text| text);
    vec![
        ("cut", good[..good.len() / 2].to_vec()),
        ("good", good),
        ("in-the-tree-of-the-kernel", with(in_the_tree)),
        ("uneven-objects", with(uneven)),
        ("variable", linked("objtool $(srctree)/x rec.o")),
        ("doubled-dollar", linked("objtool '$$x' rec.o")),
        ("substitution", linked("objtool `id` rec.o")),
        ("quote-without-end", linked("objtool 'rec.o")),
        ("redirection", linked("objtool rec.o > /tmp/x")),
        ("assignment", linked("LD_PRELOAD=/tmp/x.so objtool rec.o")),
        ("mark-of-a-template", linked("objtool '\u{1}' rec.o")),
        ("separator-in-quotes", linked("objtool 'a ; b' '' rec.o")),
        ("nothing-to-run", linked(" ; true ; : ;")),
        (
            "not-text",
            linked("objtool \u{e4} rec.o")
                .into_iter()
                .filter(|byte| *byte != 0xc3)
                .collect(),
        ),
    ]
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/recording")
}

#[test]
fn the_corpus_holds_every_form_and_flaw_that_we_know() {
    let write = std::env::var_os("STAP_WRITE_CORPUS").is_some();
    for (name, bytes) in seeds() {
        if write {
            fs::create_dir_all(directory()).unwrap();
            fs::write(directory().join(name), &bytes).unwrap();
        }
        let committed = fs::read(directory().join(name)).unwrap_or_default();
        assert!(committed == bytes, "{name} is missing or has changed");
    }
}

#[test]
fn the_corpus_breaks_no_promise() {
    for file in fs::read_dir(directory()).unwrap() {
        recording(&fs::read(file.unwrap().path()).unwrap());
    }
}
