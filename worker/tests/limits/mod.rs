//! What is told of a limit, also where stap itself only says that the compilation failed.

use stap_protocol::job::{Outcome, Report, Wider};

use crate::support::Site;
use crate::{as_each_user, is_enforced, text};

fn run(site: &Site, changes: &[(&str, &str)], shell: &str) -> Report {
    let mut worker = site.start(site.configuration(changes));
    let report = worker.run_shell(shell);
    worker.hang_up();
    report
}

/// What was used, and who allows more.
fn told(report: &Report, wanted: &str) -> (Option<String>, Option<Wider>) {
    match &report.outcome {
        Outcome::LimitReached {
            limit, used, wider, ..
        } if limit == wanted => (used.clone(), wider.clone()),
        _ => panic!("{wanted} was not reached: {report:?}"),
    }
}

#[test]
fn a_limit_is_told_with_what_was_used_and_with_who_allows_more() {
    as_each_user(|site| {
        let report = run(site, &[("wall", "\"1 s\"")], "tail -f /dev/null");
        let (used, wider) = told(&report, "wall");
        let seconds: f64 = used.unwrap().trim_end_matches(" s").parse().unwrap();
        assert!(seconds >= 1.0, "{seconds} s of 1 s were used");
        // The classes of the program, from the strictest on.
        let more = |class: &str, value: &str| {
            Some(Wider {
                class: class.to_owned(),
                value: value.to_owned(),
            })
        };
        assert_eq!(wider, more("strict", "120 s"));

        let report = run(site, &[("cpu", "\"1 s\"")], "while :; do :; done");
        assert_eq!(told(&report, "cpu").1, more("strict", "120 s"));

        let changes = [
            ("stdout", "\"64 KiB\""),
            ("on-flood", "\"kill\""),
            ("workspace", "\"512 MiB\""),
        ];
        let report = run(site, &changes, "while :; do echo flood; done");
        let (used, wider) = told(&report, "stdout");
        assert!(used.unwrap().ends_with("iB"));
        assert_eq!(wider, more("strict", "1 MiB"));

        let results = "for name in a b c; do echo > $results/$name.ko; done";
        let report = run(site, &[("results", "2")], results);
        assert_eq!(told(&report, "results").0.as_deref(), Some("3 files"));

        let results = "head -c 3000000 /dev/zero > $results/a.ko";
        let report = run(site, &[("result-bytes", "\"1 MiB\"")], results);
        assert_eq!(told(&report, "result-bytes").0.as_deref(), Some("2930 KiB"));
    });
}

#[test]
fn the_group_s_counters_are_told() {
    as_each_user(|site| {
        let changes = [("memory", "\"64 MiB\""), ("processes", "16")];
        let mut worker = site.start(site.configuration(&changes));
        if !is_enforced(&worker, "cgroup") {
            return;
        }
        let report = worker.run_shell("head -c 200000000 /dev/zero | tail -c 199999999; exit 1");
        assert_eq!(told(&report, "memory").0.as_deref(), Some("64 MiB"));
        let report = worker.run_shell("sh -c 'while :; do tail -f /dev/null & done'; exit 1");
        let (used, wider) = told(&report, "processes");
        // Older kernels do not count the peak.
        assert!(used.is_none_or(|used| used == "16"));
        assert_eq!(wider.unwrap().value, "128");
        worker.hang_up();
    });
}

/// A compiler that finds no room removes what it wrote, and is silent as far as stap is concerned.
#[test]
fn a_workspace_that_was_full_is_told_although_it_is_empty_at_the_end() {
    as_each_user(|site| {
        // The job cannot see when the worker looks, so it stays full for longer than looks are apart.
        let pause = "n=0; while [ $n -lt 400000 ]; do n=$((n+1)); done";
        let full = format!("head -c 2000000 /dev/zero > big 2>/dev/null; {pause}; rm big; exit 1");
        let report = run(site, &[("workspace", "\"1 MiB\"")], &full);
        assert_eq!(told(&report, "workspace").0.as_deref(), Some("1024 KiB"));
        let files = "n=0; while : > f$n 2>/dev/null; do n=$((n+1)); done";
        let changes = [("workspace-files", "64")];
        let report = run(
            site,
            &changes,
            &format!("({files}); {pause}; rm -f f*; exit 1"),
        );
        assert_eq!(told(&report, "workspace-files").0.as_deref(), Some("64"));
    });
}

#[test]
fn what_only_the_messages_tell_is_told_as_a_guess() {
    as_each_user(|site| {
        for (changes, shell, words) in [
            (
                [("open-files", "32")],
                "tee $(seq 100) < /dev/null; exit 1",
                "the limit 'open-files' is 32 (policy 'shared-host'; 'strict' allows 1024; ask the operator)",
            ),
            (
                [("file", "\"1 MiB\"")],
                "(trap '' XFSZ; exec head -c 2000000 /dev/zero) > big; rm big; exit 1",
                "the limit 'file' is 1 MiB (policy 'shared-host'; 'strict' allows 128 MiB; ask the operator)",
            ),
        ] {
            let report = run(site, &changes, shell);
            assert_eq!(report.outcome, Outcome::Exited { code: 1 }, "{report:?}");
            let stderr = text(&report.stderr);
            assert!(stderr.contains(words), "{words} is not in {stderr}");
            assert!(stderr.contains("most likely"), "{stderr}");
        }
        // The same words of a compile that went well are its own affair.
        let report = run(site, &[], "echo Too many open files >&2");
        assert_eq!(text(&report.stderr), "Too many open files\n");
    });
}

#[test]
fn a_job_whose_own_file_was_cut_is_told_so() {
    as_each_user(|site| {
        let shell = "exec head -c 2000000 /dev/zero > big";
        let report = run(site, &[("file", "\"1 MiB\"")], shell);
        assert_eq!(told(&report, "file").1.unwrap().value, "128 MiB");
    });
}

#[test]
fn a_stream_that_is_cut_is_told_with_its_length_and_its_limit() {
    as_each_user(|site| {
        let flood = "head -c 5000000 /dev/zero";
        let report = run(site, &[("stdout", "\"64 KiB\"")], flood);
        assert_eq!(report.outcome, Outcome::Exited { code: 0 });
        assert_eq!(
            text(&report.stderr),
            "stap-server: the rest of stdout is left out: it has 4883 KiB, and the limit 'stdout' is 64 KiB (policy \
             'shared-host'; 'strict' allows 1 MiB; ask the operator)\n"
        );
    });
}
