//! Packages as stock clients and servers make them: with Info-ZIP's `zip -qr`, directories, times and
//! owners in extra fields, some members stored and some deflated.

use stap_protocol::reply::{Reply, ReplyLimits};
use stap_protocol::request::{Limits, Request};
use stap_protocol::version::ProtocolVersion;

#[test]
fn a_stock_request_is_read() {
    let package = include_bytes!("stock/request.zip");
    let request = Request::decode(package, &Limits::default()).unwrap();
    assert_eq!(request.version, ProtocolVersion::new(5, 1));
    assert_eq!(request.target.to_string(), "6.12.107+deb13-amd64 x86_64");
    let script = "script/home/alice/héllo.stp";
    let arguments = [script, "-Itapset/home/alice/ts", "-p4"].map(|word| word.as_bytes().to_vec());
    assert_eq!(request.arguments, arguments);
    let mut paths: Vec<_> = request
        .files
        .iter()
        .map(|file| file.path.to_string())
        .collect();
    paths.sort();
    assert_eq!(paths, [script, "tapset/home/alice/ts/many.stp"]);
    assert!(
        request
            .files
            .iter()
            .any(|file| file.content.ends_with(b"exit() }\n"))
    );
    let locale = [("LANG", "C.UTF-8"), ("LC_ALL", "")];
    assert_eq!(
        request.locale,
        locale.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    assert!(request.notices.is_empty());
}

#[test]
fn a_stock_reply_is_read() {
    let package = include_bytes!("stock/reply.zip");
    let reply = Reply::decode(package, &ReplyLimits::default()).unwrap();
    assert_eq!((reply.rc, reply.version), (0, ProtocolVersion::new(5, 1)));
    assert_eq!(reply.stdout, b"<server>/stap000000/stap_1.ko\n");
    let module = reply.module().unwrap();
    assert_eq!(
        (module.name.as_bytes(), module.content.len()),
        (&b"stap_1.ko"[..], 3000)
    );
    assert_eq!(reply.files.len(), 3);
}
