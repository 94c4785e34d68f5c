//! The log: what an unbounded queue keeps its backlog in.
//!
//! While receivers keep up, messages pass through the ring, as in a bounded queue. A sender that finds the ring full writes down from which
//! position on messages go into the log, and appends its own; so do all others, until a sender finds that the log was read to its
//! end. Receivers empty the ring up to that position, then the log. While there is something in it, nothing is put into the ring,
//! so everything comes out in the order in which it went in.
//!
//! The log is a row of records of any length, one after the other. Where it begins and ends are two numbers of bytes that only grow, counted
//! around the log's addresses; the store of either is the commit of a sender or a receiver, who hold their locks. Memory is taken in
//! steps before it is written, and given back in chunks behind the receivers.
//!
//! `tests/models` tries this source: the scenes "log".

use std::mem::MaybeUninit;

use crate::error::{Error, Result};
use crate::queue::options::{CHUNK, ENVELOPE, Plan};
use crate::queue::store::Sink;
use crate::shm::Shared;
use crate::shm::bytes::Bytes;
use crate::shm::layout::{ENVELOPED, QueueLayout, RecordHead};
use crate::sys::file::PAGE;
use crate::sys::memory::AtomicU64;
use crate::sys::memory::Ordering::{Acquire, Relaxed, Release};

/// In a record's `len`: there is no message, the next record is at the beginning of the log's bytes.
const SKIP: u32 = u32::MAX;

/// Records begin at multiples of this.
const ALIGN: usize = 16;
const HEAD: usize = size_of::<RecordHead>();

/// Senders look how far receivers have come after every so many bytes.
const LOOK: u64 = 4096;

/// Memory is taken in steps of so many bytes.
const STEP: usize = 256 * 1024;

/// The log of one unbounded queue.
pub(crate) struct Log {
    shared: Shared<QueueLayout>,
    bytes: Bytes,
    limit: u64,
    max_message: usize,
    /// Up to here this process has seen to it that there is memory.
    backed: AtomicU64,
    /// The place at which a round of the log's bytes begins: that of the place that was asked for last. It saves a division.
    round: AtomicU64,
}

/// A message in the log.
pub(crate) struct Record {
    /// Where its payload is in the log's bytes.
    pub(crate) offset: usize,
    /// The message's length in bytes, and ENVELOPED.
    pub(crate) len: u32,
    /// Its place, and the place after it.
    pub(crate) place: u64,
    next: u64,
}

impl Log {
    /// The log of a queue; None where it has none.
    pub(crate) fn new(shared: &Shared<QueueLayout>, plan: &Plan) -> Result<Option<Self>> {
        if plan.log_size == 0 {
            return Ok(None);
        }
        let bytes = plan.log_in(shared.mapping())?;
        bytes.keep_out_of_dumps();
        let (limit, max_message) = (plan.log_limit as u64, plan.max_message);
        Ok(Some(Self { shared: shared.clone(), bytes, limit, max_message, backed: AtomicU64::new(0), round: AtomicU64::new(0) }))
    }

    #[inline]
    fn offset_of(&self, place: u64) -> usize {
        let offset = place.wrapping_sub(self.round.load(Relaxed)) as usize;
        if offset < self.bytes.len() { offset } else { self.offset_in_another_round(place) }
    }

    #[cold]
    fn offset_in_another_round(&self, place: u64) -> usize {
        let offset = place % self.bytes.len() as u64;
        self.round.store(place - offset, Relaxed);
        offset as usize
    }

    /// How many bytes there are from `place` to the end of the log's bytes.
    #[inline]
    fn to_the_end(&self, place: u64) -> usize {
        self.bytes.len() - self.offset_of(place)
    }

    /// The head at `place`, once there is memory for it. `offset`: where that is in the log's bytes.
    #[inline]
    fn head(&self, place: u64, offset: usize) -> Result<&RecordHead> {
        self.back(place, HEAD)?;
        self.bytes.structure(offset)
    }

    /// Makes sure that there is memory for the `len` bytes from `place` on, which do not go beyond the end of the log's bytes.
    #[inline]
    fn back(&self, place: u64, len: usize) -> Result<()> {
        if self.is_backed(place, len) { Ok(()) } else { self.back_step(place, len) }
    }

    /// Whether this process knows that there is.
    #[inline]
    fn is_backed(&self, place: u64, len: usize) -> bool {
        place.checked_add(len as u64).is_some_and(|end| end <= self.backed.load(Relaxed))
    }

    #[cold]
    fn back_step(&self, place: u64, len: usize) -> Result<()> {
        let at = self.offset_of(place);
        let step = len.next_multiple_of(STEP);
        match self.bytes.populate(at, at + step) {
            // Where the bytes end before the step does, what comes next is backed when it is looked at.
            Ok(()) => self.backed.fetch_max(place.saturating_add(step.min(self.to_the_end(place)) as u64), Relaxed),
            // There may be memory for less than the whole step.
            Err(Error::NoSpace(_)) => {
                self.bytes.populate(at, at + len)?;
                self.backed.fetch_max(place.saturating_add(len as u64), Relaxed)
            }
            Err(e) => return Err(e),
        };
        Ok(())
    }

    /// Whether everything in the log has been received. The caller holds one of the locks; or looks for itself, for a moment's truth.
    pub(crate) fn is_empty(&self) -> bool {
        // Acquire: with the Release in `commit`, for what receivers have read.
        let begin = self.shared.recv.log.load(Acquire);
        // Acquire: with the Release in `commit_appended`, for the records.
        self.shared.send.log.load(Acquire) == begin
    }

    /// Whether there may be something in the log, as far as senders know, who look every now and then only: the line that receivers write to
    /// is dear. The caller holds the sending lock.
    #[inline]
    pub(crate) fn may_hold_something(&self) -> bool {
        let send = &self.shared.send;
        let end = send.log.load(Relaxed);
        let look = self.shared.log_drained.load(Relaxed) != 0 || end.wrapping_sub(send.log_looked.load(Relaxed)) >= LOOK;
        !look || self.look_at_receivers(end)
    }

    /// Learns how far receivers have come; says whether they have left anything. The caller holds the sending lock.
    #[cold]
    fn look_at_receivers(&self, end: u64) -> bool {
        let (send, recv) = (&self.shared.send, &self.shared.recv);
        self.shared.log_drained.store(0, Relaxed);
        // Acquire: with the Release in `give_back`: that memory is zeroed already.
        send.log_given_back.store(recv.log_given_back.load(Acquire), Relaxed);
        // Acquire: with the Release in `commit`, for what receivers have read.
        let begin = recv.log.load(Acquire);
        send.log_seen.store(begin, Relaxed);
        send.log_looked.store(end, Relaxed);
        begin != end
    }

    /// Puts a message into the log. The caller holds the sending lock.
    ///
    /// # Errors
    ///
    /// `LimitReached`, and `NoSpace` where there is no memory for it: what was sent before is untouched.
    pub(crate) fn append(&self, envelope: &[u8], message: &[u8]) -> Result<()> {
        let send = &self.shared.send;
        let len = envelope.len() + message.len();
        // The record, and the head of the next one.
        let need = HEAD + len.next_multiple_of(ALIGN) + HEAD;
        let mut end = send.log.load(Relaxed);
        let mut offset = self.offset_of(end);
        let to_the_end = self.bytes.len() - offset;
        let skip = if to_the_end < need { to_the_end } else { 0 };
        let waits = || end.wrapping_sub(send.log_seen.load(Relaxed)).saturating_add((need - HEAD) as u64) <= self.limit;
        let fits = || {
            end.wrapping_sub(send.log_given_back.load(Relaxed)).saturating_add((skip + need) as u64) <= self.bytes.len() as u64
        };
        if !waits() || !fits() {
            self.look_at_receivers(end);
        }
        if !waits() {
            let why = "the unbounded queue's backlog has reached its limit in bytes (by default the size of the file system)";
            return Err(Error::LimitReached(why.into()));
        }
        if !fits() {
            return Err(Error::NoSpace("the unbounded queue's log has no addresses left".into()));
        }
        if skip != 0 {
            let number = self.head(end, offset)?.number.load(Relaxed);
            // The first record of the bytes, which there is memory for before anything leads there.
            let next = end.wrapping_add(skip as u64);
            self.back(next, need)?;
            self.head(next, 0)?.number.store(number, Relaxed);
            self.head(end, offset)?.len.store(SKIP, Relaxed);
            // die here: the log ends where it did.
            // Release: with the Acquire in `next` and `is_empty`.
            send.log.store(next, Release);
            // die here: the log has a record more, which is no message.
            (end, offset) = (next, 0);
        }
        self.back(end, need)?;
        let head = self.head(end, offset)?;
        let at = offset + HEAD;
        self.bytes.write(at, envelope)?;
        self.bytes.write(at + envelope.len(), message)?;
        let flag = if envelope.is_empty() { 0 } else { ENVELOPED };
        let next = end.wrapping_add((need - HEAD) as u64);
        self.commit_appended((head, len as u32 | flag), (self.head(next, offset + need - HEAD)?, next), message.len());
        Ok(())
    }

    /// As `append`, if that is simple: there is no envelope, the next record comes right behind this one, this process knows of memory for both, and
    /// nobody need look how far receivers have come. If not (false), nothing was done.
    #[inline]
    pub(crate) fn append_simply(&self, message: &[u8]) -> bool {
        let send = &self.shared.send;
        let end = send.log.load(Relaxed);
        let (offset, record) = (self.offset_of(end), HEAD + message.len().next_multiple_of(ALIGN));
        let need = record + HEAD;
        let waits = end.wrapping_sub(send.log_seen.load(Relaxed)).saturating_add(record as u64);
        let kept = end.wrapping_sub(send.log_given_back.load(Relaxed)).saturating_add(need as u64);
        let there_is_room = waits <= self.limit && kept <= self.bytes.len() as u64 && need <= self.to_the_end(end);
        if !there_is_room || !self.is_backed(end, need) {
            return false;
        }
        let (Ok(head), Ok(after)) = (self.bytes.structure(offset), self.bytes.structure(offset + record)) else { return false };
        if self.bytes.write(offset + HEAD, message).is_err() {
            return false;
        }
        self.commit_appended((head, message.len() as u32), (after, end.wrapping_add(record as u64)), message.len());
        true
    }

    /// Commits a record whose payload is there, with its `len`. `after`: the head of the next record, which is at `next`.
    #[inline]
    fn commit_appended(&self, (head, len): (&RecordHead, u32), (after, next): (&RecordHead, u64), bytes: usize) {
        let send = &self.shared.send;
        head.len.store(len, Relaxed);
        after.number.store(head.number.load(Relaxed).wrapping_add(1), Relaxed);
        // die here: the log ends where it did, whatever bytes are behind it.
        // Release: with the Acquire in `next` and `is_empty`: the record is seen whole.
        send.log.store(next, Release);
        // die here: the message is sent.
        send.bytes.add_alone(bytes as u64);
    }

    /// The first message in the log. The caller holds the receiving lock.
    pub(crate) fn next(&self) -> Result<Option<Record>> {
        let recv = &self.shared.recv;
        // A SKIP follows a record, and is followed by one.
        for _ in 0..2 {
            let place = recv.log.load(Relaxed);
            if recv.log_seen.load(Relaxed) == place {
                // Acquire: with the Release in `commit_appended`: the records. Receivers who find it here later have them from us, by the lock.
                recv.log_seen.store(self.shared.send.log.load(Acquire), Relaxed);
            }
            let waiting = recv.log_seen.load(Relaxed).wrapping_sub(place);
            if waiting == 0 {
                return Ok(None);
            }
            let offset = self.offset_of(place);
            let end = self.bytes.len() - offset;
            let corrupted = Error::Corrupted("the log's records are none that it can have");
            if waiting > self.bytes.len() as u64 || end < HEAD || !place.is_multiple_of(ALIGN as u64) {
                return Err(corrupted);
            }
            let len = self.head(place, offset)?.len.load(Relaxed);
            if len == SKIP {
                self.commit(place.wrapping_add(end as u64));
                continue;
            }
            let bytes = (len & !ENVELOPED) as usize;
            let record = HEAD + bytes.next_multiple_of(ALIGN);
            if bytes > self.max_message + ENVELOPE || record > end || record as u64 > waiting {
                return Err(corrupted);
            }
            self.back(place, record)?;
            return Ok(Some(Record { offset: offset + HEAD, len, place, next: place.wrapping_add(record as u64) }));
        }
        Err(Error::Corrupted("the log leads nowhere"))
    }

    /// The log's bytes.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Copies `into.len()` bytes of a record's payload out, from `from` on.
    pub(crate) fn read(&self, record: &Record, from: usize, into: &mut [MaybeUninit<u8>]) -> Result<()> {
        self.bytes.read(record.offset + from, into)
    }

    /// Takes a message off the log, which the caller has. It holds the receiving lock.
    pub(crate) fn take(&self, record: &Record) -> Result<()> {
        let head = self.head(record.place, record.offset - HEAD)?;
        let envelope = if record.len & ENVELOPED == 0 { 0 } else { ENVELOPE };
        self.commit_taken(head, record.next, ((record.len & !ENVELOPED) as usize).saturating_sub(envelope));
        self.give_back(record.next)
    }

    /// Takes the first message if that is simple: it has no envelope and up to `longest` bytes, it is known to be there, with another one behind it, and
    /// there is no memory to be given back. Says how long it is. If not, nothing was done. The caller holds the receiving lock.
    #[inline]
    pub(crate) fn take_simply(&self, longest: usize, sink: &mut impl Sink) -> Option<usize> {
        let recv = &self.shared.recv;
        let place = recv.log.load(Relaxed);
        let (waiting, offset) = (recv.log_seen.load(Relaxed).wrapping_sub(place), self.offset_of(place));
        let is_sane = waiting <= self.bytes.len() as u64 && place.is_multiple_of(ALIGN as u64);
        if waiting == 0 || !is_sane || !self.is_backed(place, HEAD) {
            return None;
        }
        let head: &RecordHead = self.bytes.structure(offset).ok()?;
        // Read once: it is checked, and then used. An envelope's flag makes it too long, and so does what is no message.
        let len = head.len.load(Relaxed) as usize;
        let record = HEAD + len.next_multiple_of(ALIGN);
        let next = place.wrapping_add(record as u64);
        let is_simple = len <= longest
            && (record as u64) < waiting
            && record <= self.to_the_end(place)
            && self.is_backed(place, record)
            && next / CHUNK as u64 * CHUNK as u64 <= recv.log_given_back.load(Relaxed);
        if !is_simple {
            return None;
        }
        self.bytes.read(offset + HEAD, &mut sink.space(len).ok()?[..len]).ok()?;
        self.commit_taken(head, next, len);
        Some(len)
    }

    /// Commits that a record was received, whose message has so many bytes, and behind which the log begins at `next`.
    #[inline]
    fn commit_taken(&self, head: &RecordHead, next: u64, bytes: usize) {
        let recv = &self.shared.recv;
        // Read before a sender may write there.
        let number = head.number.load(Relaxed);
        self.commit(next);
        recv.log_taken.store(number.wrapping_add(1), Relaxed);
        recv.bytes.add_alone(bytes as u64);
    }

    #[inline]
    fn commit(&self, next: u64) {
        // die here: the message is still there, for the next receiver.
        // Release: with the Acquire in `look_at_receivers` and `is_empty`.
        self.shared.recv.log.store(next, Release);
        // die here: the message is gone with us.
    }

    /// Gives memory before `place` back to the system: whole chunks, or, where the log is empty now, all pages.
    fn give_back(&self, place: u64) -> Result<()> {
        let given_back = &self.shared.recv.log_given_back;
        let mut from = given_back.load(Relaxed);
        let drained = self.shared.recv.log_seen.load(Relaxed) == place && self.is_empty();
        if drained {
            // die here: senders look by themselves, a few messages later.
            self.shared.log_drained.store(1, Relaxed);
        }
        let piece = if drained { PAGE } else { CHUNK } as u64;
        let to = (place / piece * piece).max(from);
        if to - from > self.bytes.len() as u64 || !from.is_multiple_of(PAGE as u64) {
            return Err(Error::Corrupted("more of the log was given back than it has"));
        }
        while from < to {
            let at = self.offset_of(from);
            let len = ((to - from) as usize).min(self.to_the_end(from));
            // Where the file system cannot, the memory stays, and is written over in the next round.
            self.bytes.punch(at, at + len);
            from += len as u64;
            // die here: the next receiver gives it back once more, before a sender may use it.
            // Release: with the Acquire in `look_at_receivers`.
            given_back.store(from, Release);
        }
        Ok(())
    }

    /// Whether a place has been received.
    pub(crate) fn is_taken(&self, place: u64) -> bool {
        self.shared.recv.log.load(Acquire).wrapping_sub(place).cast_signed() > 0
    }

    /// How many messages were ever taken out of it.
    pub(crate) fn taken(&self) -> u64 {
        self.shared.recv.log_taken.load(Relaxed)
    }

    /// How many messages were ever put into it.
    pub(crate) fn put_in(&self) -> Result<u64> {
        let send = &self.shared.send;
        for _ in 0..1000 {
            // Acquire: with the Release in `commit_appended`, for the number.
            let end = send.log.load(Acquire);
            // Acquire: it is read before the log's end is read once more. Where it ends there is memory, as in `len`.
            let number = self.head(end, self.offset_of(end))?.number.load(Acquire);
            if send.log.load(Relaxed) == end {
                return Ok(number);
            }
        }
        Ok(self.taken())
    }

    /// How many messages wait in the log, at this moment.
    pub(crate) fn len(&self) -> Result<usize> {
        let (send, recv) = (&self.shared.send, &self.shared.recv);
        for _ in 0..100 {
            let (taken, begin) = (recv.log_taken.load(Acquire), recv.log.load(Acquire));
            let end = send.log.load(Acquire);
            if end == begin {
                return Ok(0);
            }
            if end.wrapping_sub(begin) > self.bytes.len() as u64 {
                continue;
            }
            // Where the log ends there is memory as long as it ends there, and what comes before is never asked for.
            let number = self.head(end, self.offset_of(end))?.number.load(Relaxed);
            // If nothing was received or sent meanwhile, all belong to one moment.
            if send.log.load(Acquire) == end && recv.log.load(Acquire) == begin {
                return Ok(usize::try_from(number.wrapping_sub(taken)).unwrap_or(0).min(self.bytes.len()));
            }
        }
        Ok(usize::from(!self.is_empty()))
    }
}
