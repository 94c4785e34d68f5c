//! The kernel's own: pipes, Unix sockets, POSIX message queues. They sleep.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::Result;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::mqueue::{MQ_OFlag, MqAttr, MqdT, mq_open, mq_receive, mq_send, mq_unlink};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socketpair, sockopt};
use nix::sys::stat::Mode;
use nix::unistd::pipe;

use crate::channel::Channel;
use crate::peers::rsipc::CAPACITY;

/// A pair of descriptors: what is written to one is read from the other.
pub struct Descriptors {
    reads: OwnedFd,
    writes: OwnedFd,
}

/// How much fits into what is made for long messages.
const ROOM: usize = 1 << 20;

impl Descriptors {
    pub fn pipe() -> Result<Self> {
        let (reads, writes) = pipe()?;
        Ok(Self { reads, writes })
    }

    /// A pipe as large as this user may make it, up to a mebibyte.
    pub fn large_pipe() -> Result<Self> {
        let pipe = Self::pipe()?;
        fcntl(&pipe.writes, FcntlArg::F_SETPIPE_SZ(ROOM as i32))?;
        Ok(pipe)
    }

    pub fn stream() -> Result<Self> {
        Self::sockets(SockType::Stream)
    }

    pub fn seqpacket() -> Result<Self> {
        Self::sockets(SockType::SeqPacket)
    }

    fn sockets(kind: SockType) -> Result<Self> {
        let (reads, writes) = socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC)?;
        // As much as this user may have.
        setsockopt(&writes, sockopt::SndBuf, &ROOM)?;
        Ok(Self { reads, writes })
    }
}

impl<const N: usize> Channel<N> for Descriptors {
    fn sender(&self) -> impl FnMut(&[u8; N]) {
        let mut file = File::from(self.writes.try_clone().expect("a descriptor is free"));
        move |message| file.write_all(message).expect("the receiver is there")
    }

    fn receiver(&self) -> impl FnMut(&mut [u8; N]) {
        let mut file = File::from(self.reads.try_clone().expect("a descriptor is free"));
        move |buffer| file.read_exact(buffer).expect("the sender is there")
    }
}

/// A POSIX message queue, as deep as this user may make it.
pub struct PosixQueue(MqdT);

impl PosixQueue {
    pub fn new(len: usize) -> Result<Self> {
        let name = format!("/rsipc-bench-{}", std::process::id());
        let flags = MQ_OFlag::O_RDWR | MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL;
        let open =
            |depth| mq_open(name.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR, Some(&MqAttr::new(0, depth, len as i64, 0)));
        // Users other than root get ten places.
        let queue = open(CAPACITY as i64).or_else(|error| if error == Errno::EINVAL { open(10) } else { Err(error) })?;
        mq_unlink(name.as_str())?;
        Ok(Self(queue))
    }
}

impl Drop for PosixQueue {
    fn drop(&mut self) {
        // SAFETY: it is a descriptor of ours.
        unsafe { libc::close(self.0.as_raw_fd()) };
    }
}

impl<const N: usize> Channel<N> for PosixQueue {
    fn sender(&self) -> impl FnMut(&[u8; N]) {
        |message| mq_send(&self.0, message, 0).expect("the queue is there")
    }

    fn receiver(&self) -> impl FnMut(&mut [u8; N]) {
        |buffer| assert_eq!(mq_receive(&self.0, buffer, &mut 0), Ok(N))
    }
}
