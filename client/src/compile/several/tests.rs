//! The table and the document.

use stap_protocol::reply::Parts;

use super::*;

fn row(target: &str, reply: Result<Parts, &str>) -> Row {
    let pattern: TargetPattern = target.parse().unwrap();
    let one = pattern.single().unwrap();
    let target = TargetName {
        release: one.release,
        arch: one.arch.unwrap(),
    };
    let reply = reply
        .map(|parts| Reply::new(parts).unwrap())
        .map_err(str::to_owned);
    Row::new(&target, "h:1", Some(Duration::from_millis(1234)), reply)
}

fn rows() -> Vec<Row> {
    let bad = Parts {
        rc: 1,
        stderr: b"WARNING: x\nsemantic error: no \x1b[1mprobe\nmore".to_vec(),
        ..Parts::default()
    };
    let mut rows = vec![
        row("6.12.107+deb13-amd64:x86_64", Ok(Parts::default())),
        row("6.1:arm64", Ok(bad)),
        row("7.0:x86_64", Err("Unable to connect\nmore")),
    ];
    rows[0].saved = vec!["d/a.ko".to_owned(), "d/a.ko.sgn".to_owned()];
    rows[0].took = None;
    // What is text only is not saved.
    let text = Plan {
        last_pass: LastPass::Text,
        json: true,
        ..Plan::default()
    };
    for row in &mut rows[1..] {
        row.finish(&text).unwrap();
    }
    rows
}

#[test]
fn the_table_has_a_line_for_each_target() {
    assert_eq!(
        table::of(&rows()),
        "TARGET                       RESULT    TIME  MODULE OR REASON\n\
         6.12.107+deb13-amd64:x86_64  ok           -  d/a.ko\n\
         6.1:arm64                    failed  1.23 s  semantic error: no \\u{1b}[1mprobe\n\
         7.0:x86_64                   failed  1.23 s  Unable to connect"
    );
}

#[test]
fn the_document_has_what_the_manual_says() {
    let document: serde_json::Value = serde_json::from_str(&json::of("h:1", &rows())).unwrap();
    assert_eq!(
        (&document["format"], &document["ok"], &document["refusal"]),
        (&1.into(), &false.into(), &serde_json::Value::Null)
    );
    let targets = document["targets"].as_array().unwrap();
    let [good, bad, mute] = &targets[..] else {
        panic!("{document}");
    };
    assert_eq!(good["module"], "d/a.ko");
    assert_eq!(good["signature"], "d/a.ko.sgn");
    assert_eq!((&good["ok"], &good["status"]), (&true.into(), &0.into()));
    assert_eq!(bad["arch"], "arm64");
    assert_eq!(bad["seconds"], 1.234);
    assert_eq!(bad["status"], 1);
    assert!(bad["error"].as_str().unwrap().starts_with("semantic error"));
    assert!(bad["stderr"].as_str().unwrap().starts_with("WARNING: x\n"));
    assert_eq!(
        (&mute["status"], &mute["error"]),
        (&serde_json::Value::Null, &"Unable to connect".into())
    );
}
