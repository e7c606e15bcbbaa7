//! The listening socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

/// A socket that has its port and does not listen yet, so that nobody is kept waiting by a server
/// that may still fail to start.
#[derive(Debug)]
pub struct Bound {
    socket: Socket,
    address: SocketAddr,
}

/// The port cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("The server could not open a connection to listen on (port {port}): {source}")]
pub struct BindError {
    port: u16,
    source: io::Error,
}

impl Bound {
    /// Takes `port` on every address of this host, of both families; of IPv4 only where the host has
    /// no IPv6.
    ///
    /// # Errors
    /// When the port is taken or not allowed.
    pub fn to_port(port: u16) -> Result<Self, BindError> {
        let dual = dual_stack(port);
        let bound = match dual {
            Err(error) if is_without_ipv6(&error) => {
                bind(Domain::IPV4, (Ipv4Addr::UNSPECIFIED, port).into())
            }
            other => other,
        };
        bound.map_err(|source| BindError { port, source })
    }

    /// The address, with the port that the kernel chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts to listen.
    ///
    /// # Errors
    /// When another server has come to listen on the same port meanwhile.
    pub fn listen(self) -> io::Result<TcpListener> {
        self.socket.listen(BACKLOG)?;
        TcpListener::from_std(self.socket.into())
    }
}

/// Accepts a connection, coping with what can go wrong with a single one.
pub async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut told = false;
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                keep_alive(&stream);
                return (stream, canonical(address));
            }
            Err(error) if is_momentary(&error) => {
                tracing::debug!(%error, "a connection ended before it was accepted");
            }
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%error, "cannot accept a connection; trying again until it works");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A client whose host or network is gone says nothing any more, and its job should not go on for long.
fn keep_alive(stream: &TcpStream) {
    let alive = TcpKeepalive::new()
        .with_time(SILENCE)
        .with_interval(PROBES_EVERY)
        .with_retries(PROBES);
    if let Err(error) = SockRef::from(stream).set_tcp_keepalive(&alive) {
        tracing::debug!(%error, "a connection is not watched");
    }
}

/// An IPv4 client of a dual-stack socket, by the address that its user knows.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

fn dual_stack(port: u16) -> io::Result<Bound> {
    let socket = socket(Domain::IPV6)?;
    socket.set_only_v6(false)?;
    finish(socket, (Ipv6Addr::UNSPECIFIED, port).into())
}

fn bind(domain: Domain, address: SocketAddr) -> io::Result<Bound> {
    finish(socket(domain)?, address)
}

fn socket(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    // A restarted server gets its explicit port back although old connections linger.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Also refuses a port on which somebody listens: with `SO_REUSEADDR` that shows only now.
fn finish(socket: Socket, address: SocketAddr) -> io::Result<Bound> {
    socket.bind(&address.into())?;
    let local = socket.local_addr()?;
    let address = local
        .as_socket()
        .ok_or_else(|| io::Error::other("the socket has no address"))?;
    Ok(Bound { socket, address })
}

fn is_without_ipv6(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL)
    )
}

/// accept(2): errors of the connection, not of the listening socket.
fn is_momentary(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// Connections that wait in the kernel until they are accepted: room for a flood, so that those who come
/// behind it are not turned away by the kernel.
const BACKLOG: i32 = 1024;
/// A connection that is silent for so long is asked whether it still exists, and so often.
const SILENCE: Duration = Duration::from_secs(30);
const PROBES_EVERY: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;
/// While descriptors or memory are short, trying at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_chooses_a_port_and_a_busy_one_is_refused() {
        let bound = Bound::to_port(0).unwrap();
        bound.socket.listen(1).unwrap();
        let port = bound.address().port();
        assert_ne!(port, 0);
        let message = Bound::to_port(port).unwrap_err().to_string();
        assert!(
            message.contains("could not open a connection to listen on"),
            "{message}"
        );
    }
}
