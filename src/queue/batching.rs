//! Many messages under one hold of a lock.
//!
//! Each message is committed by itself, as if it were sent or received alone: a death in the middle of a batch leaves those
//! before it accepted, or taken, and those after it where they were. Only taking the lock, letting go of it and waking others is
//! done once for several. A hold lasts no longer than for [`MOST`] messages, so that others come in between; messages in blocks,
//! and those of a rendezvous, have holds of their own.
//!
//! # Why nobody sleeps beside one of several messages
//!
//! A release wakes one sleeper of each kind, and may have made room, or messages, for many. That is enough: a sleeper that leaves
//! to act on a change first wakes the next of its kind (`sync::lock`, "passing on"), which looks for itself, and so on until one
//! finds nothing. If it finds nothing, those before it have taken all there was. So the chain ends either with the last sleeper
//! or with the last message. If one of them is killed after it was woken, the kernel wakes another, as after the release of a
//! single message.

use std::mem::MaybeUninit;

use crate::error::{Error, Result};
use crate::queue::receiving::Found;
use crate::queue::ring::Look;
use crate::queue::sending::Payload;
use crate::queue::store::{Messages, Received, Sink, Store, Take};
use crate::queue::watch::Watch;
use crate::sys::memory::Ordering::Relaxed;
use crate::time::Deadline;

/// The most messages in one hold of a lock, and the most bytes of slots: about a microsecond, and ten.
const MOST: usize = 64;
const MOST_BYTES: usize = 64 * 1024;

/// Where the messages of one call go.
struct Several<'a, M> {
    into: &'a mut M,
    kept: usize,
    /// How many are wanted.
    most: usize,
    /// Whether the last hold left anything that may be taken.
    is_there_more: bool,
}

impl<M: Messages> Sink for Several<'_, M> {
    #[inline]
    fn space(&mut self, len: usize) -> Result<&mut [MaybeUninit<u8>]> {
        self.into.space(len)
    }

    #[inline]
    fn received(&mut self, store: &Store, len: usize) {
        self.keep(len);
        self.is_there_more = store.recv_more(self);
    }
}

impl<M: Messages> Messages for Several<'_, M> {
    #[inline]
    fn keep(&mut self, len: usize) {
        self.into.keep(len);
        self.kept += 1;
    }
}

impl Store {
    /// Sends messages in their order, and waits for room; says how many it sent.
    ///
    /// # Errors
    ///
    /// What kept it from sending the first. If it has sent that one, then what keeps it from sending another is told by the number alone.
    #[inline]
    pub(crate) fn send_many<M: AsRef<[u8]>>(
        &self,
        messages: &[M],
        deadline: Deadline,
        watch: Option<&dyn Watch>,
    ) -> Result<usize> {
        for (index, message) in messages.iter().enumerate() {
            let len = message.as_ref().len();
            if len > self.max_message {
                return Err(Error::MessageTooLong { index: Some(index), len, max: self.max_message });
            }
        }
        let mut sent = 0;
        let result = self.shared.checked(self.send_all(messages, &mut sent, deadline, watch));
        if sent == 0 { result.map(|()| 0) } else { Ok(sent) }
    }

    /// As `send_many`, if the queue's memory is there and no message is too long. Counts in `sent`.
    fn send_all<M: AsRef<[u8]>>(
        &self,
        messages: &[M],
        sent: &mut usize,
        deadline: Deadline,
        watch: Option<&dyn Watch>,
    ) -> Result<()> {
        if self.is_rendezvous() {
            for message in messages {
                self.hand_over(&[], message.as_ref(), deadline, watch)?;
                *sent += 1;
            }
            return Ok(());
        }
        let call = self.users.enter(&self.shared.send.lock)?;
        while let Some(next) = messages.get(*sent) {
            if next.as_ref().len() > self.ring.room() && self.log.is_none() {
                self.send_long(&call, &[], next.as_ref(), deadline, watch)?;
                *sent += 1;
                continue;
            }
            match self.with_sending_lock(&call, deadline, || self.send_several(&messages[*sent..]))? {
                0 => self.wait_for_room(&call, deadline, watch)?,
                count => *sent += count,
            }
        }
        Ok(())
    }

    /// Commits as many messages as there is room for, and as one hold of the lock is for; says how many. The caller holds the sending lock.
    #[inline]
    fn send_several<M: AsRef<[u8]>>(&self, messages: &[M]) -> Result<usize> {
        let messages = &messages[..messages.len().min(self.most_in_a_hold())];
        let (mut sent, mut bytes) = (0, 0);
        while let Some(next) = messages.get(sent).map(AsRef::as_ref)
            && bytes < MOST_BYTES
        {
            bytes += next.len();
            let put = if self.nothing_is_before_ring() { self.ring.put_many(&messages[sent..]) } else { 0 };
            if put != 0 {
                sent += put;
                continue;
            }
            match self.send_locked(Payload::Here(&[], next)) {
                Ok(true) => sent += 1,
                Err(e) if sent == 0 => return Err(e),
                // What is wrong is found out again with the next.
                Ok(false) | Err(_) => break,
            }
        }
        Ok(sent)
    }

    /// Whether messages go into the ring now, and nothing has to be mended first. The caller holds the sending lock.
    #[inline]
    fn nothing_is_before_ring(&self) -> bool {
        let shared = &*self.shared;
        shared.phase.load(Relaxed) == 0 && shared.send.transit.load(Relaxed) == 0 && shared.log_from.load(Relaxed) == 0
    }

    /// How many messages one hold of a lock is for, that are in slots.
    #[inline]
    fn most_in_a_hold(&self) -> usize {
        (MOST_BYTES / self.ring.room()).clamp(1, MOST)
    }

    /// Takes up to `most` messages, of which it waits for the first; says how many it took.
    ///
    /// # Errors
    ///
    /// What kept it from taking the first.
    pub(crate) fn recv_many(
        &self,
        into: &mut impl Messages,
        most: usize,
        deadline: Deadline,
        watch: Option<&dyn Watch>,
    ) -> Result<usize> {
        let mut several = Several { into, kept: 0, most, is_there_more: true };
        let mut deadline = deadline;
        while several.kept < most && several.is_there_more {
            let before = several.kept;
            match self.recv(&mut several, Take::Whole, deadline, watch) {
                // It came in a block.
                Ok(received) if several.kept == before => several.keep(received.len),
                Ok(_) => {}
                Err(e) if before == 0 => return Err(e),
                Err(_) => break,
            }
            deadline = Deadline::Now;
        }
        Ok(several.kept)
    }

    /// Takes more messages after the first, which was in no block, for as long as one hold of the lock is to last; says whether
    /// there may be more. The caller holds the receiving lock.
    #[inline]
    fn recv_more<M: Messages>(&self, several: &mut Several<'_, M>) -> bool {
        let most = several.most.min(several.kept + self.most_in_a_hold() - 1);
        self.ring.take_many(several, most - several.kept, self.max_message);
        several.kept == most || self.recv_others(several, most)
    }

    /// What comes after those in slots, if they are in the log, until there are `most`. As `recv_more`.
    fn recv_others<M: Messages>(&self, several: &mut Several<'_, M>, most: usize) -> bool {
        let Ok(Look { ready: false, position, .. }) = self.ring.look(&self.shared.recv, 1) else { return true };
        let Some(log) = self.log_is_next(position) else { return false };
        let mut bytes = 0;
        while several.kept < most && bytes < MOST_BYTES {
            match self.recv_from_log(log, position, several, Take::Whole, &mut None) {
                Ok(Found::Message(Received { len, .. })) => {
                    several.keep(len);
                    bytes += len;
                }
                Ok(_) => return false,
                Err(_) => return true,
            }
        }
        true
    }
}
