use proptest::prelude::*;

use super::*;
use crate::recipe::Recipe;

const COMPILE: &str = "gcc -I/src/arch/x86/include -DKBUILD_BASENAME='\"OBJECT\"' -c -o OBJECT.o \
                       OBJECT.c";

fn leftovers() -> Leftovers {
    let makefile = "obj-m := rec.o\nrec-y :=  rec_src.o rec_aux_0.o stap_symbols.o\n";
    let mut files = vec![
        ("Makefile", makefile.to_owned()),
        (
            "rec.mod",
            "./rec_src.o\n./rec_aux_0.o\n./stap_symbols.o\n".to_owned(),
        ),
        ("modules.order", "rec.o\n".to_owned()),
        (
            ".rec.o.cmd",
            "savedcmd_rec.o := ld -r -o rec.o @rec.mod ; objtool rec.o\n".to_owned(),
        ),
        (
            ".Module.symvers.cmd",
            "savedcmd_Module.symvers := modpost -o Module.symvers -e \n".to_owned(),
        ),
        (
            ".rec.mod.o.cmd",
            "savedcmd_rec.mod.o := gcc -c -o rec.mod.o rec.mod.c\n".to_owned(),
        ),
        (
            ".rec.ko.cmd",
            "savedcmd_rec.ko := ld -o rec.ko rec.o rec.mod.o; true\n".to_owned(),
        ),
    ];
    for (file, object) in [
        (".rec_src.o.cmd", "rec_src"),
        (".rec_aux_0.o.cmd", "rec_aux_0"),
        (".stap_symbols.o.cmd", "stap_symbols"),
    ] {
        let command = COMPILE.replace("OBJECT", object);
        files.push((
            file,
            format!("savedcmd_{object}.o := {command}\n\nsource_x := y\n"),
        ));
    }
    let bytes = |(name, text): (&str, String)| (name.to_owned(), text.into_bytes());
    Leftovers {
        files: files.into_iter().map(bytes).collect(),
    }
}

fn invocation() -> Invocation {
    let words = b"make\0-C\0/lib/build\0M=/w\0modules\0-j3\0";
    Invocation::read(&Invocation::told(b"PATH=/bin\0", words)).unwrap()
}

fn recorded(leftovers: &Leftovers) -> Result<Build, Obstacle> {
    build(leftovers, &invocation(), "/src/build")
}

/// With one text in one file changed.
fn changed(name: &str, from: &str, to: &str) -> Result<Build, Obstacle> {
    let mut leftovers = leftovers();
    let file = leftovers.files.get_mut(name).unwrap();
    let text = String::from_utf8(file.clone()).unwrap();
    assert!(text.contains(from), "{text}");
    *file = text.replace(from, to).into_bytes();
    recorded(&leftovers)
}

fn filled(build: &Build, step: Step, module: &str, object: &str) -> Vec<String> {
    let fill = |words: &Vec<Template>| {
        let words: Vec<_> = words.iter().map(|word| word.fill(module, object)).collect();
        words.join(" ")
    };
    build.commands(step).iter().map(fill).collect()
}

#[test]
fn what_kbuild_ran_becomes_commands_for_any_module() {
    let build = recorded(&leftovers()).unwrap();
    assert_eq!(build.directory, "/w");
    assert_eq!(
        (build.family.as_str(), build.members.as_str()),
        ("x86", "./")
    );
    assert_eq!(
        filled(&build, Step::Compile, "o", "o_aux_7"),
        ["gcc -I/src/arch/x86/include -DKBUILD_BASENAME=\"o_aux_7\" -c -o o_aux_7.o o_aux_7.c"]
    );
    assert_eq!(filled(&build, Step::Common, "o", ""), [""; 0]);
    assert_eq!(
        filled(&build, Step::Link, "o", ""),
        ["ld -r -o o.o @o.mod", "objtool o.o"]
    );
    assert_eq!(
        filled(&build, Step::Describe, "o", ""),
        ["modpost -o Module.symvers -e"]
    );
    assert_eq!(
        filled(&build, Step::Finish, "o", ""),
        ["ld -o o.ko o.o o.mod.o"]
    );
    let recipe = Recipe {
        builds: vec![build],
        ..Recipe::default()
    };
    assert_eq!(Recipe::decode(&recipe.encode()), Some(recipe));
}

#[test]
fn kernels_that_build_in_their_own_tree_name_files_by_whole_paths() {
    let mut old = leftovers();
    for (name, content) in &mut old.files {
        let text = String::from_utf8(content.clone()).unwrap();
        let text = text
            .replace("savedcmd_", "savedcmd_/w/")
            .replace("./", "/w/");
        let text = if name == "modules.order" {
            "/w/rec.o\n".to_owned()
        } else {
            text
        };
        *content = text.into_bytes();
    }
    let build = recorded(&old).unwrap();
    assert_eq!(
        (build.directory.as_str(), build.members.as_str()),
        ("/src/build", "/w/")
    );
    assert_eq!(build.order.fill("o", ""), "/w/o.o");
}

#[test]
fn what_is_not_as_kbuild_leaves_it_is_no_recipe() {
    let odd = |name: &str| Err(Obstacle::Odd(name.to_owned()));
    assert_eq!(changed("rec.mod", "./rec_src.o\n", ""), odd("rec.mod"));
    assert_eq!(
        changed("modules.order", "\n", "\nother.o\n"),
        odd("modules.order")
    );
    assert_eq!(
        changed(".stap_symbols.o.cmd", "gcc", "gcc -O0"),
        Err(Obstacle::Uneven("stap_symbols".to_owned()))
    );
    assert_eq!(
        changed(".rec.ko.cmd", "; true", "|| rm x"),
        Err(Unclear::Special('|').into())
    );
    assert_eq!(
        changed("Makefile", "obj-m", "obj-y"),
        Err(Obstacle::Makefile)
    );
    for name in wanted("rec") {
        let mut leftovers = leftovers();
        if leftovers.files.remove(&name).is_some() {
            assert_eq!(recorded(&leftovers), Err(Obstacle::NoFile(name)));
        }
    }
}

proptest! {
    /// A root's own kbuild may write anything.
    #[test]
    fn no_leftovers_make_it_panic(
        index in 0_usize..10, at in 0_usize..120, length in 0_usize..40, text in any::<String>(),
    ) {
        let mut leftovers = leftovers();
        let (_, content) = leftovers.files.iter_mut().nth(index).unwrap();
        let start = at.min(content.len());
        let end = (start + length).min(content.len());
        content.splice(start..end, text.into_bytes());
        let _recorded = recorded(&leftovers);
    }
}
