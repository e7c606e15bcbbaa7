//! Connections that speak something else, or break off. Each ends at once, and for its reason.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use super::caller::Caller;
use super::{Since, Sketch, ordinary, serves};
use crate::corpus::service::Service;
use crate::corpus::{Case, Control, Goal, Guard, Verdict};

pub(super) fn cases() -> Vec<Case> {
    let failed = "the handshake failed";
    let cut = "before the end of its request";
    [
        Broken::new("plain-http", "received corrupt message", |server| {
            plain(server, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        }),
        Broken::new("hello-of-ssl-2", "received corrupt message", |server| {
            plain(
                server,
                b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x07\x00\xc0\x00\x00",
            )
        }),
        Broken::new("hello-of-tls-1-0", "peer is incompatible", |server| {
            plain(server, &old_hello())
        }),
        Broken::new(
            "record-of-64-kibibytes",
            "received corrupt message",
            |server| {
                plain(
                    server,
                    &[b"\x16\x03\x01\xff\xff".as_slice(), &[0; 100]].concat(),
                )
            },
        ),
        Broken::new("hello-of-16-mebibytes", failed, endless_hello),
        Broken::new("connects-and-vanishes", failed, |server| plain(server, b"")),
        Broken::new("reset-before-the-hello", failed, |server| {
            reset(server, b"")
        }),
        Broken::new("reset-in-the-hello", failed, |server| {
            reset(server, b"\x16\x03\x01\x02\x00\x01")
        }),
        Broken::new(
            "leaves-after-the-handshake",
            "without a request",
            |server| hang_up(server, b""),
        ),
        Broken::new("leaves-in-the-size", cut, |server| hang_up(server, b"\0\0")),
        Broken::new("leaves-in-the-request", cut, |server| {
            hang_up(server, b"\0\0\xff\0PK\x03\x04")
        }),
        Broken::new("negative-size", "is negative", |server| {
            said(server, b"\xff\xff\xff\xff")
        }),
        Broken::new(
            "size-of-two-gibibytes",
            "request file is too large",
            |server| said(server, b"\x7f\xff\xff\xff"),
        ),
        Broken::new("flood-of-key-updates", "peer misbehaved", key_updates),
        Broken::new("renegotiation", "sending took longer than", renegotiation),
    ]
    .into_iter()
    .map(Broken::case)
    .collect()
}

/// Somebody who does not keep to the protocol.
#[derive(Clone, Copy)]
struct Broken {
    name: &'static str,
    says: &'static str,
    act: fn(&Service) -> anyhow::Result<()>,
}

impl Broken {
    fn new(
        name: &'static str,
        says: &'static str,
        act: fn(&Service) -> anyhow::Result<()>,
    ) -> Self {
        Self { name, says, act }
    }

    fn case(self) -> Case {
        let sketch = Sketch {
            name: self.name,
            goal: Goal::Disturb("the server with bytes"),
            lesson: "",
            by: Guard::Check("the transport"),
            says: self.says,
        };
        sketch.case(
            move |field| {
                let server = ordinary(field)?;
                let since = Since::now(&server);
                (self.act)(&server)?;
                let reason = since.wait(self.says)?;
                serves(&server)?;
                Ok(Verdict::Contained { reason })
            },
            // There is no server without a transport; what a client gets that keeps to it.
            |field| {
                serves(&*ordinary(field)?)?;
                let how = "for a client that keeps to the protocol".to_owned();
                Ok(Control::Succeeded { how })
            },
        )
    }
}

fn plain(server: &Service, bytes: &[u8]) -> anyhow::Result<()> {
    Ok(TcpStream::connect(server.address)?.write_all(bytes)?)
}

/// Ends with a reset instead of an end.
fn reset(server: &Service, bytes: &[u8]) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(server.address)?;
    stream.write_all(bytes)?;
    set_socket_linger(&stream, Some(Duration::ZERO))?;
    drop(stream);
    Ok(())
}

/// Says something through TLS and listens to the answer.
fn said(server: &Service, bytes: &[u8]) -> anyhow::Result<()> {
    let mut caller = Caller::connect(server)?;
    caller.say(bytes)?;
    drop(caller.hear()?);
    Ok(())
}

/// Says something through TLS and leaves without any end of TLS.
fn hang_up(server: &Service, bytes: &[u8]) -> anyhow::Result<()> {
    let mut caller = Caller::start(server, 0, &["-nocommands"])?;
    caller.wait_for_handshake()?;
    caller.say(bytes)?;
    caller.leave()
}

/// A client that knows nothing newer.
fn old_hello() -> Vec<u8> {
    let hello = [
        b"\x03\x01".as_slice(),
        &[7; 32],
        b"\x00\x00\x04\x00\x2f\x00\xff\x01\x00\x00\x00",
    ]
    .concat();
    let length = u8::try_from(hello.len()).unwrap_or_default();
    let header = [0x16, 3, 1, 0, length + 4, 1, 0, 0, length];
    [header.as_slice(), &hello].concat()
}

/// One message of the handshake in a thousand records.
fn endless_hello(server: &Service) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(server.address)?;
    let mut record = vec![0x16, 3, 1, 0x3f, 0xff, 1, 0xff, 0xff, 0xff];
    for _ in 0..1000 {
        record.resize(5 + 0x3fff, 0);
        if stream.write_all(&record).is_err() {
            return Ok(());
        }
        record.truncate(5);
    }
    anyhow::bail!("the server took 16 MiB of a hello")
}

/// `K` on a line of its own makes openssl renew its keys and ask for the same.
fn key_updates(server: &Service) -> anyhow::Result<()> {
    let mut caller = Caller::start(server, 0, &["-tls1_3"])?;
    caller.wait_for_handshake()?;
    for _ in 0..MANY_UPDATES {
        if caller.say(b"K\n").is_err() || !caller.says("KEYUPDATE")? {
            return Ok(());
        }
    }
    anyhow::bail!("the server went along with {MANY_UPDATES} of them")
}

/// `R` on a line of its own makes openssl negotiate anew, which ended with TLS 1.2. The server says no
/// once, and openssl waits for another answer until the server's patience ends.
fn renegotiation(server: &Service) -> anyhow::Result<()> {
    let mut caller = Caller::start(server, 0, &["-tls1_2"])?;
    caller.wait_for_handshake()?;
    for _ in 0..10 {
        if caller.say(b"R\n").is_err() || !caller.says("RENEGOTIATING")? {
            return Ok(());
        }
    }
    anyhow::bail!("the server went along with ten of them")
}

/// The server's answer to the first few may be long in coming, on a busy machine.
const MANY_UPDATES: usize = 100_000;
