//! What a job finds around it.

use std::fs;

use stap_protocol::job::{InputFile, Outcome, ReleaseChoice};

use crate::support::until;
use crate::{as_each_user, text};

#[test]
fn a_job_is_what_the_stock_server_runs() {
    as_each_user(|site| {
        let mut configuration = site.configuration(&[]);
        configuration.releases = vec![ReleaseChoice::Release("1.2.3-test".to_owned())];
        configuration.server_options = vec!["-DLIMIT=1".to_owned()];
        let mut worker = site.start(configuration);
        let mut job = worker.job("echo $server; pwd; cat script/a.stp; id -u; env | sort");
        job.files = vec![InputFile {
            path: "script/a.stp".try_into().unwrap(),
            content: b"the script\n".to_vec(),
        }];
        let report = worker.run(job);
        assert_eq!(
            report.outcome,
            Outcome::Exited { code: 0 },
            "{}",
            text(&report.stderr)
        );
        assert_eq!(
            text(&report.stdout),
            "-r1.2.3-test -DLIMIT=1 --tmpdir=/work/response/stap000000\n\
             /work/request\n\
             the script\n\
             1000\n\
             GLIBC_TUNABLES=glibc.malloc.top_pad=67108864:glibc.malloc.trim_threshold=268435456\n\
             HOME=/work/home\n\
             LC_ALL=C\n\
             PATH=/usr/local/bin:/usr/bin:/bin\n\
             PWD=/work/request\n\
             SYSTEMTAP_DIR=/work/home/.systemtap\n\
             TMPDIR=/work/tmp\n"
        );
        assert!(worker.hang_up().success());
    });
}

#[test]
fn a_job_sees_nothing_of_the_host_or_of_the_one_before() {
    as_each_user(|site| {
        let mut worker = site.start(site.configuration(&[]));
        worker.run_shell("echo secret > /work/home/left; echo secret > /tmp/left");
        let report = worker.run_shell(
            "ls -A /work/home /tmp $results/..; ls -d /etc/shadow /root /home /var /work/../sys; \
             cat /proc/1/environ; touch /usr/x",
        );
        let seen = text(&report.stdout);
        assert!(!seen.contains("left") && !seen.contains("shadow"), "{seen}");
        for hidden in ["/etc/shadow", "/root", "/home", "/var"] {
            let refusal = format!("cannot access '{hidden}'");
            assert!(
                text(&report.stderr).contains(&refusal),
                "{hidden} is visible"
            );
        }
        assert!(text(&report.stderr).contains("cannot touch '/usr/x'"));
        worker.hang_up();
    });
}

/// What stap reads into its memory costs less that way; it changes nothing of what a job may have.
#[test]
fn the_heap_of_a_jobs_programs_comes_in_large_pieces_and_of_huge_pages_behind_another_job() {
    let modes = "/sys/kernel/mm/transparent_hugepage/enabled";
    let has_huge_pages = fs::read_to_string(modes).is_ok_and(|modes| modes.contains("[madvise]"));
    as_each_user(|site| {
        let mut worker = site.start(site.configuration(&[]));
        let environment = worker.run_shell("env").stdout;
        let asks = text(&environment).contains("hugetlb");
        assert!(!asks, "the first job follows none");
        // On a machine that is busy enough the next job is late, too.
        until("a job that follows another asks for huge pages", || {
            // One that uses next to nothing is followed by none.
            worker.run_shell("i=0; while [ $i -lt 500000 ]; do i=$((i+1)); done");
            let report =
                worker.run_shell("grep -A 30 '\\[heap\\]' /proc/self/smaps; echo $GLIBC_TUNABLES");
            let said = text(&report.stdout);
            let value = |name: &str| said.lines().find_map(|line| line.strip_prefix(name));
            let size = value("Size:").and_then(|size| size.trim().strip_suffix(" kB"));
            let size: u64 = size.unwrap_or_else(|| panic!("{said}")).parse().unwrap();
            assert!(size >= 64 << 10, "{said}");
            let flags = value("VmFlags:").unwrap_or_else(|| panic!("{said}"));
            let has_them = flags.split_whitespace().any(|flag| flag == "hg");
            let asks = said.contains("hugetlb=1");
            assert_eq!(has_them, asks && has_huge_pages, "{said}");
            asks
        });
        worker.hang_up();
    });
}
