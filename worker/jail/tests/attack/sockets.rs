//! Attacks on what listens on the host.

use std::io;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixStream;

use crate::{Attempt, stopped};

pub(crate) fn attack(arguments: &[&str]) -> Option<Attempt> {
    Some(match arguments {
        ["connect-tcp", address] => connect(address),
        ["connect-abstract", name] => connect_abstract(name),
        ["connect-path", path] => UnixStream::connect(path).map(|_stream| "connected".to_owned()),
        ["send-udp", address] => send(address),
        ["host-name", known] => knows_host(known),
        _ => return None,
    })
}

fn connect(address: &str) -> Attempt {
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    TcpStream::connect(address).map(|_stream| "connected".to_owned())
}

fn connect_abstract(name: &str) -> Attempt {
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
    UnixStream::connect_addr(&address).map(|_stream| "connected".to_owned())
}

fn send(address: &str) -> Attempt {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let sent = socket.send_to(b"out", address)?;
    Ok(format!("{sent} bytes are out"))
}

fn knows_host(known: &str) -> Attempt {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    if name == known {
        Ok(name)
    } else {
        stopped(name)
    }
}
