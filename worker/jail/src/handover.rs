//! What passes between worker and launcher besides bytes: the plan's memfd one way, the workspace's
//! descriptor the other way.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::plan::{JailPlan, PlanError};

/// Why a plan could not be put into a memfd.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandoverError {
    /// It is no plan that a launcher would take.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// There is no memory or no descriptor for it.
    #[error("writing the plan into memory")]
    Write(#[from] io::Error),
}

/// Puts a plan where the launcher looks for it; the result becomes its descriptor 3.
pub fn plan_descriptor(plan: &JailPlan) -> Result<OwnedFd, HandoverError> {
    let bytes = plan.encode()?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut memory =
        File::from(rustix::fs::memfd_create(c"jail-plan", flags).map_err(io::Error::from)?);
    memory.write_all(&bytes)?;
    // Sealed, the launcher reads what was judged here, whoever else may hold the descriptor.
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&memory, seals).map_err(io::Error::from)?;
    Ok(memory.into())
}

/// Takes the workspace's descriptor from the worker's end of the socket, waiting for it as the
/// socket does. `None` means that the launcher ended without sending one; its events say why.
pub fn receive_workspace(socket: impl AsFd) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0_u8; 1];
    rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut byte)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut descriptors = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Ok(descriptors
        .next()
        .and_then(|mut descriptors| descriptors.next()))
}

/// Sends the workspace's descriptor to the worker.
pub fn send_workspace(socket: impl AsFd, workspace: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [workspace];
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other(
            "the buffer for one descriptor does not hold one",
        ));
    }
    rustix::net::sendmsg(
        socket,
        &[IoSlice::new(b"w")],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}
