//! Clients that are silent, or slow, at each step. Each ends at its deadline; on a server that gives
//! everybody ten minutes, the same client still holds its connection then.

use std::cell::Cell;
use std::io::Write as _;
use std::net::TcpStream;
use std::rc::Rc;

use anyhow::ensure;

use super::caller::Caller;
use super::{ATTENTION, LESSON, Since, Sketch, framed, serves};
use crate::corpus::service::Service;
use crate::corpus::{Case, Control, Field, Guard, Verdict};
use crate::wait;

pub(super) fn cases() -> Vec<Case> {
    let handshake = "the handshake took longer than";
    let sending = "sending took longer than";
    let receiving = "the reply was not taken: the other side was too slow";
    [
        Slow::new("silent-connection", handshake, |server| {
            Plain::open(server, b"", b"")
        }),
        Slow::new("half-a-hello", handshake, |server| {
            Plain::open(server, HELLO, b"")
        }),
        Slow::new("hello-byte-by-byte", handshake, |server| {
            Plain::open(server, HELLO, b"\0")
        }),
        Slow::new("silent-after-the-handshake", sending, |server| {
            Secured::open(server, b"", b"")
        }),
        Slow::new("half-a-size", sending, |server| {
            Secured::open(server, b"\0\0", b"")
        }),
        Slow::new("size-and-silence", sending, |server| {
            Secured::open(server, b"\0\0\xff\0", b"")
        }),
        Slow::new("half-a-request", sending, |server| {
            Secured::open(server, b"\0\0\xff\0PK\x03\x04", b"")
        }),
        Slow::new("request-byte-by-byte", sending, |server| {
            Secured::open(server, b"\0\0\xff\0", b"x")
        }),
        Slow::new("reply-that-is-not-read", receiving, |server| {
            let order = "results {results} 1 27000";
            Secured::open(server, &framed(order)?, b"")
        }),
    ]
    .into_iter()
    .map(Slow::case)
    .collect()
}

/// The header of a record of a hello, and the header of the hello in it.
const HELLO: &[u8] = b"\x16\x03\x01\x3f\xff\x01\x00\x3f\xfb\x03\x03";

/// A client that keeps a connection.
trait Keeps {
    /// Says the next of what it says bit by bit, and whether it could.
    fn go_on(&mut self) -> bool;
}

type Open = fn(&Service) -> anyhow::Result<Box<dyn Keeps>>;

/// Somebody who takes his time.
#[derive(Clone, Copy)]
struct Slow {
    name: &'static str,
    says: &'static str,
    open: Open,
}

impl Slow {
    fn new(name: &'static str, says: &'static str, open: Open) -> Self {
        Self { name, says, open }
    }

    fn case(self) -> Case {
        let sketch = Sketch {
            name: self.name,
            goal: ATTENTION,
            lesson: LESSON,
            by: Guard::Limit("request-time"),
            says: self.says,
        };
        // Both servers are kept waiting at the same time; what the patient one did is the control.
        let held = Rc::new(Cell::new(None));
        let seen = Rc::clone(&held);
        sketch.case(
            move |field| {
                let (verdict, still_held) = self.attempt(field)?;
                held.set(Some(still_held));
                Ok(verdict)
            },
            move |_field| match seen.get() {
                Some(true) => Ok(Control::Succeeded {
                    how: "where a request may take ten minutes: it is still connected".to_owned(),
                }),
                _ => Ok(Control::Failed {
                    why: "by a server that gives it ten minutes".to_owned(),
                }),
            },
        )
    }

    fn attempt(&self, field: &Field) -> anyhow::Result<(Verdict, bool)> {
        let strict = field.serve(
            "strict-about-time",
            &[("request-time", "\"3 s\"")],
            &["--max-threads=1"],
        )?;
        let patient = field.serve(
            "patient",
            &[("request-time", "\"600 s\"")],
            &["--max-threads=1"],
        )?;
        let (since, elsewhere) = (Since::now(&strict), Since::now(&patient));
        let mut late = (self.open)(&strict)?;
        serves(&strict)?;
        // Silence has a bound of its own everywhere.
        let mut kept = (self.open)(&patient)?;
        let mut reason = None;
        wait::within_patience(|| {
            kept.go_on();
            late.go_on();
            reason = since.find(self.says);
            reason.is_some()
        });
        let still_held = kept.go_on() && elsewhere.find(self.says).is_none();
        Ok(match reason {
            Some(reason) => (Verdict::Contained { reason }, still_held),
            None => {
                let how = format!("it is still connected: {:#?}", since.lines());
                (Verdict::Escaped { how }, still_held)
            }
        })
    }
}

/// A connection without TLS, or before it.
struct Plain {
    stream: TcpStream,
    drip: &'static [u8],
}

impl Plain {
    fn open(server: &Service, first: &[u8], drip: &'static [u8]) -> anyhow::Result<Box<dyn Keeps>> {
        let mut stream = TcpStream::connect(server.address)?;
        stream.write_all(first)?;
        Ok(Box::new(Self { stream, drip }))
    }
}

impl Keeps for Plain {
    fn go_on(&mut self) -> bool {
        self.stream.write_all(self.drip).is_ok()
    }
}

/// A connection with TLS.
struct Secured {
    caller: Caller,
    drip: &'static [u8],
}

impl Secured {
    fn open(server: &Service, first: &[u8], drip: &'static [u8]) -> anyhow::Result<Box<dyn Keeps>> {
        let mut caller = Caller::connect(server)?;
        ensure!(!caller.has_ended()?, "openssl ended at once");
        caller.say(first)?;
        Ok(Box::new(Self { caller, drip }))
    }
}

impl Keeps for Secured {
    fn go_on(&mut self) -> bool {
        let said = self.caller.say(self.drip).is_ok();
        said && matches!(self.caller.has_ended(), Ok(false))
    }
}
