//! A client of the server under test.

use std::time::Duration;

use stap_protocol::reply::{Reply, ReplyLimits};
use stap_protocol::request::{Parts, Request, SysInfo};
use stap_transport::Deadlines;
use stap_transport::client::{ClientStream, connect};

use crate::server::Server;
use crate::stand_in::RELEASE;

/// Runs one test's conversation.
pub(crate) fn talk<T>(conversation: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, conversation).await.unwrap() })
}

/// A connection that trusts exactly this server.
pub(crate) async fn connected(server: &Server) -> ClientStream {
    connect(
        server.address(),
        None,
        &[server.certificate()],
        &Deadlines::default(),
    )
    .await
    .unwrap()
}

/// Sends a package and unpacks the answer.
pub(crate) async fn exchange(server: &Server, package: &[u8]) -> Reply {
    let answer = connected(server)
        .await
        .exchange(package, 64 << 20)
        .await
        .unwrap();
    Reply::decode(&answer, &ReplyLimits::default()).unwrap()
}

/// A request for the stand-in's target.
pub(crate) fn request(arguments: &[&str]) -> Request {
    request_for(&format!("sysinfo: {RELEASE} x86_64"), arguments)
}

/// A request for any target.
pub(crate) fn request_for(sysinfo: &str, arguments: &[&str]) -> Request {
    let arguments = arguments
        .iter()
        .map(|argument| argument.as_bytes().to_vec())
        .collect();
    Request::new(Parts::new(
        SysInfo::parse(sysinfo.as_bytes()).unwrap(),
        arguments,
    ))
    .unwrap()
}

/// Asks for what the script says.
pub(crate) async fn ask(server: &Server, script: &str) -> Reply {
    exchange(server, &request(&["-p4", &format!("-e{script}")]).encode()).await
}

/// What the client's user sees on stderr.
pub(crate) fn stderr(reply: &Reply) -> String {
    String::from_utf8(reply.stderr.clone()).unwrap()
}

/// Many times what a conversation takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
