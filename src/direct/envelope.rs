//! What goes with each message from one endpoint to another: who sent it, and where the reply goes.

use crate::direct::address::{Address, REPLIES};
use crate::queue::{self, ENVELOPE};
use crate::sys::process::Identity;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Kind {
    Message = 1,
    /// It waits for a reply.
    Request = 2,
    Reply = 3,
    /// There will be no reply.
    NoReply = 4,
    /// The request was taken from a mailbox, by a process whose life stands in `reply_to`.
    Taken = 5,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Envelope {
    pub(super) kind: Kind,
    pub(super) from: Address,
    /// The serial number of the inbox, of the same process, that the reply to a request goes to.
    pub(super) reply_to: u32,
    /// The request's number, which its reply has too.
    pub(super) number: u64,
}

impl Envelope {
    /// Kind and `from`'s serial, `from`'s identity, `reply_to` and a word that is 0, the number.
    pub(super) fn to_bytes(self) -> queue::Envelope {
        let words = [
            u64::from(self.kind as u32) | u64::from(self.from.serial()) << 32,
            self.from.identity().0,
            u64::from(self.reply_to),
            self.number,
        ];
        let mut bytes = [0; ENVELOPE];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// What the bytes say, unless they are none that `to_bytes` makes.
    pub(super) fn from_bytes(bytes: &queue::Envelope) -> Option<Self> {
        let mut words = bytes.chunks_exact(8).filter_map(|word| word.try_into().ok().map(u64::from_le_bytes));
        let (first, identity, reply_to, number) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let kind = match first as u32 {
            1 => Kind::Message,
            2 => Kind::Request,
            3 => Kind::Reply,
            4 => Kind::NoReply,
            5 => Kind::Taken,
            _ => return None,
        };
        Some(Self { kind, from: Address::new(Identity(identity), (first >> 32) as u32), reply_to: reply_to as u32, number })
    }

    /// Where the reply goes, if it is a request.
    pub(super) fn wants_reply_at(&self) -> Option<Address> {
        (self.kind == Kind::Request).then(|| Address::new(self.from.identity(), self.reply_to | REPLIES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        for kind in [Kind::Message, Kind::Request, Kind::Reply, Kind::NoReply, Kind::Taken] {
            let from = Address::new(Identity::new(12, 34), 5);
            let sent = Envelope { kind, from, reply_to: 6, number: u64::MAX };
            let read = Envelope::from_bytes(&sent.to_bytes()).unwrap();
            assert_eq!((read.kind, read.from, read.reply_to, read.number), (kind, from, 6, u64::MAX));
            assert_eq!(read.wants_reply_at().is_some(), kind == Kind::Request);
        }
    }

    #[test]
    fn other_bytes_are_no_envelope() {
        for kind in [0_u8, 6, 255] {
            let mut bytes = [0xff; ENVELOPE];
            bytes[..4].copy_from_slice(&[kind, 0, 0, 0]);
            assert!(Envelope::from_bytes(&bytes).is_none());
        }
    }
}
