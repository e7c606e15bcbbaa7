//! Asks the kernel whose the other end of a connection is.
//!
//! Users of this host share its addresses, so that an address would make all of them one peer, and one
//! of them could use up the share of the others. The kernel knows better: sock_diag(7) tells the user
//! of the socket at the other end, if that is in the server's own network namespace.
//!
//! The answer can be relied on. A connection's four numbers name exactly one socket for as long as our
//! end of it exists. Only a socket that is still established and still has an inode counts, because the
//! kernel gives user 0 for one that its process has closed; both are read before and after the user.
//! Whoever closes his end too early for the question is a peer by address, and loses the connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

use super::Peer;
use super::subordinate::SubordinateIds;

/// The kernel's register of sockets.
#[derive(Debug)]
pub struct Owners {
    kernel: OwnedFd,
    subordinates: SubordinateIds,
    questions: u32,
}

impl Owners {
    /// Opens the register, which a confined process could not.
    ///
    /// # Errors
    /// When this host does not have it, or does not let this process ask.
    pub fn open() -> io::Result<Self> {
        let kernel = socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            Some(SOCK_DIAG),
        )?;
        let mut owners = Self {
            kernel,
            subordinates: SubordinateIds::of_host(),
            questions: 0,
        };
        // A kernel without the module says so to the first question.
        owners.ask(&Connection::nowhere())?;
        Ok(owners)
    }

    /// Who is at the other end of a connection that `near` has with `far`.
    pub fn peer(&mut self, near: SocketAddr, far: SocketAddr) -> Peer {
        let connection = Connection { near, far };
        match self.ask(&connection) {
            Ok(Some(user)) => Peer::User(self.subordinates.holder(user)),
            Ok(None) => far.ip().into(),
            Err(error) => {
                tracing::debug!(%error, "the kernel does not say whose a connection is");
                far.ip().into()
            }
        }
    }

    fn ask(&mut self, connection: &Connection) -> io::Result<Option<u32>> {
        self.questions = self.questions.wrapping_add(1);
        let question = connection.question(self.questions);
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.kernel, &question, SendFlags::empty(), &kernel)?;
        let mut answer = [0; LONGEST_ANSWER];
        // The kernel has answered when the question is sent. What is left of earlier questions is skipped.
        for _ in 0..MOST_STALE {
            let (_, length) = recv(&self.kernel, &mut answer, RecvFlags::DONTWAIT)?;
            let answer = answer.get(..length).unwrap_or_default();
            if u32_at(answer, 8) == Some(self.questions) {
                return connection.judge(answer);
            }
        }
        Err(io::Error::other("the kernel answers something else"))
    }
}

/// A connection, seen from this end.
#[derive(Clone, Copy, Debug)]
struct Connection {
    near: SocketAddr,
    far: SocketAddr,
}

impl Connection {
    /// No socket has port 0.
    fn nowhere() -> Self {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            near: nowhere,
            far: nowhere,
        }
    }

    /// A `struct nlmsghdr` and a `struct inet_diag_req_v2` for exactly the far end's socket.
    fn question(&self, number: u32) -> Vec<u8> {
        let mut message = Vec::with_capacity(QUESTION);
        let length = u32::try_from(QUESTION).expect("a question is short");
        message.extend(length.to_ne_bytes());
        message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        message.extend(NLM_F_REQUEST.to_ne_bytes());
        message.extend(number.to_ne_bytes());
        message.extend([0; 4]);
        message.extend([self.family(), IPPROTO_TCP, 0, 0]);
        message.extend(ALL_STATES.to_ne_bytes());
        message.extend(self.identity());
        message.extend(NO_COOKIE);
        message
    }

    /// The far end's `struct inet_diag_sockid` without its cookie: there, near and far are exchanged.
    fn identity(&self) -> Vec<u8> {
        let mut identity = Vec::with_capacity(IDENTITY);
        identity.extend(self.far.port().to_be_bytes());
        identity.extend(self.near.port().to_be_bytes());
        for end in [self.far, self.near] {
            identity.extend(in_16_bytes(end.ip().to_canonical()));
        }
        let link = match self.far {
            SocketAddr::V6(far) => far.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        identity.extend(link.to_ne_bytes());
        identity
    }

    fn family(&self) -> u8 {
        match self.far.ip().to_canonical() {
            IpAddr::V4(_) => AF_INET,
            IpAddr::V6(_) => AF_INET6,
        }
    }

    /// Reads a `struct inet_diag_msg`. `None` when there is no such socket, or no longer.
    fn judge(&self, answer: &[u8]) -> io::Result<Option<u32>> {
        if u16_at(answer, 4) == Some(NLMSG_ERROR) {
            let negative = u32_at(answer, HEADER).unwrap_or_default();
            return match Errno::from_raw_os_error(negative.wrapping_neg().cast_signed()) {
                // The server's own namespace has no such socket: the client is on another host.
                Errno::NOENT => Ok(None),
                errno => Err(errno.into()),
            };
        }
        let said = (
            answer.get(HEADER + 1),
            u32_at(answer, USER),
            u32_at(answer, INODE),
        );
        let (Some(state), Some(user), Some(inode)) = said else {
            return Err(io::Error::other("the kernel's answer is cut short"));
        };
        let is_it = self.is_identity_of(answer) && *state == ESTABLISHED && inode != 0;
        Ok((is_it && user != OVERFLOW_USER).then_some(user))
    }

    /// Whether the answer is about our connection: a listening socket of the same port is not.
    fn is_identity_of(&self, answer: &[u8]) -> bool {
        let asked = self.identity();
        let Some(ports_and_addresses) = answer.get(HEADER + 4..HEADER + 4 + 36) else {
            return false;
        };
        let (ports, addresses) = ports_and_addresses.split_at(4);
        // A socket for both families has its IPv4 addresses in the form of IPv6.
        let mapped = || {
            let ends = [self.far, self.near].map(|end| match end.ip().to_canonical() {
                IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                IpAddr::V6(address) => address.octets(),
            });
            ends.concat()
        };
        ports == &asked[..4] && (addresses == &asked[4..36] || addresses == mapped())
    }
}

/// An IPv4 address is in the first four of the sixteen.
fn in_16_bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address.octets());
            bytes
        }
        IpAddr::V6(address) => address.octets(),
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

// netlink(7), sock_diag(7) and the kernel's inet_diag.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const ALL_STATES: u32 = u32::MAX;
const NO_COOKIE: [u8; 8] = [0xff; 8];
const ESTABLISHED: u8 = 1;
/// Bytes of the header, of what identifies a socket, and of a question.
const HEADER: usize = 16;
const IDENTITY: usize = 40;
const QUESTION: usize = HEADER + 8 + IDENTITY + NO_COOKIE.len();
/// Where an answer has the user and the inode.
const USER: usize = HEADER + 64;
const INODE: usize = HEADER + 68;
/// A user that this server's user namespace has no number for.
const OVERFLOW_USER: u32 = 65534;
const LONGEST_ANSWER: usize = 4096;
const MOST_STALE: usize = 8;

#[cfg(test)]
mod tests {
    use std::net::{Shutdown, TcpListener, TcpStream};

    use super::*;

    fn own_user() -> Peer {
        Peer::User(rustix::process::geteuid().as_raw())
    }

    fn pair(listen: &str, connect: &str) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(listen).unwrap();
        let port = listener.local_addr().unwrap().port();
        let far = TcpStream::connect((connect, port)).unwrap();
        let (near, _) = listener.accept().unwrap();
        (near, far)
    }

    fn asked(near: &TcpStream) -> Peer {
        let (here, there) = (near.local_addr().unwrap(), near.peer_addr().unwrap());
        Owners::open().unwrap().peer(here, there)
    }

    #[test]
    fn a_user_of_this_host_is_known_by_the_kernel_s_word() {
        for (listen, connect) in [
            ("127.0.0.1:0", "127.0.0.1"),
            ("[::]:0", "127.0.0.1"),
            ("[::]:0", "127.9.9.9"),
            ("[::]:0", "::1"),
        ] {
            let (near, _far) = pair(listen, connect);
            assert_eq!(asked(&near), own_user(), "{listen} {connect}");
        }
    }

    #[test]
    fn whose_end_is_closed_is_known_by_address_only() {
        let (near, far) = pair("127.0.0.1:0", "127.0.0.1");
        far.shutdown(Shutdown::Write).unwrap();
        assert_eq!(asked(&near), Peer::from(IpAddr::from([127, 0, 0, 1])));
        drop(far);
        assert_eq!(asked(&near), Peer::from(IpAddr::from([127, 0, 0, 1])));
    }

    #[test]
    fn a_listener_of_the_same_port_is_not_the_client() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let far = listener.local_addr().unwrap();
        let near = SocketAddr::from(([127, 0, 0, 1], 1));
        let peer = Owners::open().unwrap().peer(near, far);
        assert_eq!(peer, Peer::from(far.ip()));
    }

    #[test]
    fn a_client_of_another_host_is_known_by_its_address() {
        let near = "192.0.2.1:65000".parse().unwrap();
        let far: SocketAddr = "192.0.2.2:40000".parse().unwrap();
        assert_eq!(
            Owners::open().unwrap().peer(near, far),
            Peer::from(far.ip())
        );
    }

    #[test]
    fn an_answer_that_is_cut_short_is_none() {
        let connection = Connection::nowhere();
        for length in 0..=LONGEST_ANSWER {
            if let Ok(Some(user)) = connection.judge(&vec![0; length]) {
                panic!("{length} zeros were user {user}");
            }
        }
    }
}
