//! What `tests/run` tells of tests that failed, of which often nothing else is kept.

use std::fmt::Write as _;
use std::path::Path;

use stap_tests::command::Invocation;
use stap_tests::finished::Finished;
use stap_tests::world;

/// A report in nextest's words of so many tests that failed with `said`, behind one that passed.
fn listed(count: usize, said: &str) -> Finished {
    let mut xml = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="9" failures="1">
    <testsuite name="stap-x::all" tests="9" failures="1">
        <testcase name="good::one" classname="stap-x::all" time="3.843"/>
"#
    .to_owned();
    for number in 0..count {
        writeln!(
            xml,
            r#"        <testcase name="bad::number_{number}" classname="stap-x::all" time="4.1">
            <failure message="panicked &apos;x&apos;" type="test failure with exit code 101">{said}</failure>
            <system-err>
{said}
</system-err>
        </testcase>"#
        )
        .unwrap();
    }
    xml += "    </testsuite>\n</testsuites>\n";
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, xml).unwrap();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("parts/failures.awk");
    let awk = Invocation::new("awk").arg("-f").arg(program);
    let finished = awk.args([file.path(); 2]).env("PATH", world::PATH).run();
    finished.exits(0).says_nothing();
    finished
}

#[test]
fn a_failed_test_is_told_with_the_beginning_of_what_it_said() {
    let said = "thread &apos;bad::number_0&apos; (7) panicked at tests/bad.rs:1:9:\n\
        &lt;b&gt; &amp;&amp; &quot;c&quot;\n\nwhy\nstack backtrace:\n   0: begin_unwind";
    let told = "stap-x::all bad::number_0: test failure with exit code 101\n    \
        panicked at tests/bad.rs:1:9:\n    <b> && \"c\"\n    why\n";
    listed(1, said).prints(told);
}

#[test]
fn a_long_story_is_cut_and_many_of_them_more() {
    let lines: Vec<_> = (0..99)
        .map(|line| format!("{line} {}", "x".repeat(999)))
        .collect();
    for (count, each) in [(1, 13), (3, 12), (9, 4), (40, 3)] {
        let told = listed(count, &lines.join("\n")).out();
        assert_eq!(told.lines().count(), count * each, "{told}");
        assert!(told.lines().all(|line| line.len() <= 244), "{told}");
        assert_eq!(told.matches("\n    0 x").count(), count, "{told}");
    }
}

#[test]
fn one_that_said_nothing_is_named() {
    listed(1, "").prints("stap-x::all bad::number_0: test failure with exit code 101\n");
}
