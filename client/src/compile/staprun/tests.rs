use super::*;

fn words(options: &RunOptions) -> Vec<String> {
    let words = options.arguments(Path::new("/tmp/stapX/m.ko"));
    words
        .into_iter()
        .map(|word| word.into_string().unwrap())
        .collect()
}

#[test]
fn a_plain_run_renames_the_module_and_no_more() {
    assert_eq!(words(&RunOptions::default()), ["-R", "/tmp/stapX/m.ko"]);
    let loud = RunOptions {
        verbosity: 1,
        ..RunOptions::default()
    };
    assert_eq!(words(&loud), ["-R", "/tmp/stapX/m.ko"]);
}

#[test]
fn everything_comes_in_the_order_of_stap() {
    let all = RunOptions {
        runtime: Runtime::Kernel,
        verbosity: 3,
        no_warnings: true,
        output: Some("o.txt".into()),
        command: Some("ls -l".into()),
        target: Some("1".into()),
        buffer: Some("4".into()),
        flight_recorder: true,
        split: Some("1,2".into()),
        color: Some(Color::Never),
        fixed_name: false,
        globals: vec!["a=1".into(), "b=x y".into()],
    };
    let expected = [
        "-v",
        "-v",
        "-w",
        "-o",
        "o.txt",
        "-c",
        "ls -l",
        "-t",
        "1",
        "-b",
        "4",
        "-D",
        "-R",
        "-S",
        "1,2",
        "-C",
        "never",
        "/tmp/stapX/m.ko",
        "a=1",
        "b=x y",
    ];
    assert_eq!(words(&all), expected);
}

#[test]
fn the_flight_recorder_without_a_file_stays_in_memory() {
    let options = RunOptions {
        flight_recorder: true,
        fixed_name: true,
        ..RunOptions::default()
    };
    assert_eq!(words(&options), ["-L", "/tmp/stapX/m.ko"]);
}

#[test]
fn the_end_of_staprun_is_told_in_the_words_of_stap() {
    assert_eq!(how(ExitStatus::from_raw(3 << 8)), "exited with status: 3");
    assert_eq!(
        how(ExitStatus::from_raw(9)),
        "exited with signal: 9 (Killed)"
    );
}
