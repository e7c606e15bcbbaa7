//! Something between a client and a server that can end one half of their connection.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};

use anyhow::Context as _;

/// Carries one connection.
#[derive(Debug)]
pub(super) struct Relay {
    address: SocketAddr,
    carrier: Option<JoinHandle<()>>,
    /// Both ends, once a client has come.
    ends: Receiver<(TcpStream, TcpStream)>,
}

impl Relay {
    /// Waits for one client in a thread of its own.
    pub(super) fn to(server: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (sender, ends) = channel();
        let carrier = thread::spawn(move || {
            let carried = carry(&listener, server, |near, far| {
                // Nobody asks for the ends of a relay that is never cut.
                sender.send((near, far)).unwrap_or_default();
            });
            drop(carried);
        });
        Ok(Self {
            address,
            carrier: Some(carrier),
            ends,
        })
    }

    /// Where clients reach it.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells the server that the client sends no more; what the server says still arrives.
    pub(super) fn end_client_half(&self) -> anyhow::Result<()> {
        let (_client, server) = self.ends.recv().context("nobody came")?;
        Ok(server.shutdown(Shutdown::Write)?)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(carrier) = self.carrier.take() {
            // Both directions end when either end hangs up, which whoever drops this has seen to.
            drop(carrier.join());
        }
    }
}

fn carry(
    listener: &TcpListener,
    server: SocketAddr,
    hand_out: impl FnOnce(TcpStream, TcpStream),
) -> io::Result<()> {
    let (client, _) = listener.accept()?;
    let server = TcpStream::connect(server)?;
    hand_out(client.try_clone()?, server.try_clone()?);
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    let up = thread::spawn(move || {
        let copied = io::copy(&mut from_client, &mut to_server);
        // A half that was cut is no news.
        drop(to_server.shutdown(Shutdown::Both));
        copied
    });
    let (mut from_server, mut to_client) = (server, client);
    let copied = io::copy(&mut from_server, &mut to_client);
    drop(to_client.shutdown(Shutdown::Both));
    drop(up.join());
    copied.map(drop)
}
