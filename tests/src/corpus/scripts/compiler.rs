//! What a script makes the compiler and the assembler do. Guru mode is allowed here, and embedded C in
//! a tapset needs not even that.

use stap_jail::layer::Layer;

use super::super::heard::Heard;
use super::super::{Case, Goal, Guard};
use super::script::script;

pub(super) fn cases() -> Vec<Case> {
    let areas = [guru(), oracles(), without_guru()];
    areas.into_iter().flatten().collect()
}

/// C that the client writes, reading files.
fn guru() -> Vec<Case> {
    let (file, hidden) = (FILE, Layer::Mount);
    vec![
        script("include-a-secret", file)
            .guru("#include \"@secret@\"")
            .lesson("compiler errors quote what they read")
            .held(hidden, "No such file")
            .covers("item:read-only root")
            .case(),
        script("include-binary", file)
            .guru("asm(\".section .rodata\\n.incbin \\\"@secret@\\\"\");")
            .lesson("the module carries what the assembler reads")
            .held(hidden, "file not found")
            .case(),
        script("include-the-key", Goal::Read("the server's private key"))
            .guru("asm(\".section .rodata\\n.incbin \\\"@key@\\\"\");")
            .lesson("signing key readable by the uid that runs gcc")
            .held(hidden, "file not found")
            .case(),
        script("embed-a-secret", file)
            .guru("static const char x[] __attribute__((used)) = {\n#embed \"@secret@\"\n};")
            .held(hidden, "No such file")
            .case(),
        script("assembler-include", file)
            .guru("asm(\".include \\\"@secret@\\\"\");")
            .held(hidden, "can't open")
            .case(),
        script(
            "own-environment",
            Goal::Read("the environment of the server"),
        )
        .guru("asm(\".section .rodata\\n.incbin \\\"/proc/self/environ\\\"\");")
        .lesson("judge0#564: secrets in the environment")
        .held(Guard::Check("an environment from an explicit list"), "rc 0")
        .without_control("/proc says that the file is empty, so the assembler reads none of it")
        .covers("item:environment")
        .case(),
    ]
}

/// C that finds something out, or steers the compiler.
fn oracles() -> Vec<Case> {
    let hidden = Layer::Mount;
    vec![
        script("has-include-oracle", Goal::Read("whether a file of the server exists"))
            .guru("#if __has_include(\"@secret@\")\n#error IT-IS-THERE\n#else\n#error IT-IS-NOT-THERE\n#endif")
            .wins(|_, heard| heard.stderr.contains("#error IT-IS-THERE").then(|| "it exists".to_owned()))
            .held(hidden, "IT-IS-NOT-THERE")
            .case(),
        script("pragma-oracle", Goal::Read("whether a file of the server exists"))
            .guru("_Pragma(\"GCC dependency \\\"@secret@\\\"\")")
            .wins(built)
            .held(hidden, "No such file")
            .case(),
        script("attribute-plugin", Goal::Reach("code of the client's choosing in the compiler"))
            .guru("void __attribute__((optimize(\"-fplugin=@secret@\"))) f(void) { }")
            .lesson("#pragma GCC plugin and its like")
            .wins(loads_plugin)
            .held(Guard::Check("the compiler takes no such option there"), "attribute")
            .bare(&["-p4", "-B", "KCFLAGS=-fplugin=@secret@", "-e", "probe begin { exit() }"])
            .case(),
    ]
}

/// The same without the option that stands for it.
fn without_guru() -> Vec<Case> {
    let (file, hidden) = (FILE, Layer::Mount);
    vec![
        script("tapset-c-without-guru", file)
            .ask(&["-p4", "-I", "tapset/t", "-e", "probe begin { f() exit() }"])
            .with("tapset/t/f.stp", "function f() %{ asm(\".pushsection .rodata\\n.incbin \\\"@secret@\\\"\\n.popsection\"); %}")
            .lesson("C in a client's tapset needs no -g")
            .held(hidden, "file not found")
            .case(),
        script("probe-string-becomes-c", file)
            .ask(&["-p4", "-e", &in_a_name(INCLUDE)])
            .lesson("own finding: the process name of a perf probe is pasted into C, without -g")
            .held(hidden, "file not found")
            .case(),
        script("cast-opens-a-file", file)
            .ask(&["-p2", "-e", CAST])
            .lesson("no -g: @cast names a header")
            .held(hidden, "No such file")
            .case(),
        script("cast-as-stapusr", file)
            .ask(&["-p2", "--privilege=stapusr", "-e", CAST])
            .lesson("the least privilege opens files as well")
            .held(hidden, "No such file")
            .case(),
        script("cast-injects-make", Goal::Reach("a shell of make"))
            .ask(&["-p2", "-e", "probe begin { println(@cast(0, \"t\", \"kernel</x$(shell cat @secret@)>\")->x) }"])
            .held(Guard::Check("stap checks the name"), "malformed @cast header")
            .without_control("stap checks this by itself, served or not")
            .case(),
        script("server-module-symbols", Goal::Read("symbols of a program of the server's user"))
            .ask(&["-l", "module(\"@program@\").function(\"*\")"])
            .wins(names_symbol)
            .held(hidden, "rc 1")
            .case(),
    ]
}

const FILE: Goal = Goal::Read("a file of the server's user");
/// Without a quote in a quote, which stap would not hand on as it is.
const INCLUDE: &str =
    "asm(\".pushsection .rodata; .incbin \" __stringify(\"@secret@\") \"; .popsection\");";
const CAST: &str = "probe begin { println(@cast(0, \"t\", \"kernel<@secret@>\")->x) }";

/// Closes the initializer that a perf probe's process name is pasted into, says something in C, and opens
/// another one for the rest.
fn in_a_name(code: &str) -> String {
    let name = format!(
        "x\" }}, }}, }}, }}, }}; {code} static struct stap_perf_probe more[] __attribute__((used)) = {{ {{ .e={{ .t={{ .tgt={{ .procname=\"y"
    );
    let quoted = name.replace('"', "\\\"");
    format!("probe perf.sw.cpu_clock.process(\"{quoted}\") {{ exit() }}")
}

fn built(_: &super::super::Field, heard: &Heard) -> Option<String> {
    (heard.rc == "0").then(|| "it exists".to_owned())
}

fn loads_plugin(_: &super::super::Field, heard: &Heard) -> Option<String> {
    heard
        .stderr
        .contains("cannot load plugin")
        .then(|| "the compiler opens the file as a plugin".to_owned())
}

fn names_symbol(_: &super::super::Field, heard: &Heard) -> Option<String> {
    let symbol = super::super::loot::SYMBOL;
    let told = heard.stdout.contains(symbol) || heard.stderr.contains(symbol);
    told.then(|| format!("{symbol} is named"))
}
