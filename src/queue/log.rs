//! The log: what an unbounded queue keeps its backlog in.
//!
//! While receivers keep up, messages pass through the ring, as in a bounded queue. A sender that finds the ring full, and full
//! still after a few looks, writes down from which position on messages go into the log, and appends its own; so do all others,
//! until a sender finds that the log was read to its end. Receivers empty the ring up to that position, then the log. While there
//! is something in it, nothing is put into the ring, so everything comes out in the order in which it went in.
//!
//! The log is a row of records of any length, one after the other. Where it begins and ends are *places*, two numbers of bytes
//! that only grow; the store of either is the commit of a sender or a receiver, who hold their locks.
//!
//! # Its two parts
//!
//! A place is in one of two parts, each of which has addresses of its own that places are counted around. The *kept* part is
//! short, and keeps its memory: records go there as long as so little waits that they have room, and steady traffic asks nothing
//! of the system. In the *long* part there is room for any backlog: memory is taken in steps before it is written, and given back
//! in chunks behind the receivers. A record that is no message ([`TURN`]) leads from one part to the other.
//!
//! Whatever waits in the kept part lies between the log's beginning and its end, and a sender writes there only where both are so
//! near to each other that no two places between them have the same address. Whatever waits in the long part lies behind the
//! place up to which its memory was given back, and a sender writes there only if that is so near. So nothing is written over
//! that waits, whichever way the log went between the two.
//!
//! `tests/models` tries this source: the scenes "log".

use std::mem::MaybeUninit;

use crate::error::{Error, Result};
use crate::queue::options::{CHUNK, ENVELOPE, KEPT, Plan};
use crate::queue::store::Sink;
use crate::shm::Shared;
use crate::shm::bytes::Bytes;
use crate::shm::layout::{ENVELOPED, QueueLayout, RecordHead};
use crate::sys::file::PAGE;
use crate::sys::memory::Ordering::{Acquire, Relaxed, Release};
use crate::sys::memory::{self, AtomicU32, AtomicU64};

/// In a record's `len`: there is no message, the next record is at the beginning of this part's bytes.
const SKIP: u32 = u32::MAX;
/// There is no message, the next record is in the other part.
const TURN: u32 = u32::MAX - 1;

/// In a place: it is in the long part.
const LONG: u64 = 1;

/// Records begin at multiples of this.
const ALIGN: usize = 16;
const HEAD: usize = size_of::<RecordHead>();

/// Senders look how far receivers have come after every so many bytes, at least; and after more, up to so many, where much waits.
const LOOK: u64 = 4096;
const LONGEST_LOOK: u64 = 64 * 1024;

/// Memory of the long part is taken in steps of so many bytes, and that of the kept part in 32 steps.
const STEP: usize = 256 * 1024;
const KEPT_STEP: usize = KEPT / 32;

/// More records in a row that are no messages are the work of somebody who scribbles: each comes with a message, unless its sender died.
const TURNS: u32 = 1000;

/// The log of one unbounded queue.
pub(crate) struct Log {
    shared: Shared<QueueLayout>,
    bytes: Bytes,
    /// How many bytes the kept part has, the first ones; a power of two.
    kept: u64,
    limit: u64,
    max_message: usize,
    appending: Known,
    taking: Known,
}

/// What this process knows of the log, for the senders, or for the receivers, who hold their lock when they use it. What it says
/// of a place stays true.
#[derive(Default)]
struct Known {
    /// From this place on there are `len` bytes that begin at `offset` of the log's bytes, of which nothing is to be asked.
    /// Appending: there is memory and room for records, and the head behind the last. Taking: there are records, and more behind
    /// them, and no memory is to be given back.
    from: AtomicU64,
    len: AtomicU64,
    offset: AtomicU64,
    /// Up to this place there is memory in the long part.
    backed: AtomicU64,
    /// The steps of the kept part that have memory, a bit each.
    kept: AtomicU32,
}

impl Known {
    /// Where `need` bytes from `place` on are, if nothing is to be asked of them.
    #[inline]
    fn offset_of(&self, place: u64, need: u64) -> Option<usize> {
        let into = self.distance(place, need)?;
        Some((self.offset.load(Relaxed) + into) as usize)
    }

    /// How far into those bytes they begin.
    #[inline]
    fn distance(&self, place: u64, need: u64) -> Option<u64> {
        let into = place.wrapping_sub(self.from.load(Relaxed));
        let len = self.len.load(Relaxed);
        // A place in the other part is no multiple away.
        (into < len && need <= len - into && into.is_multiple_of(ALIGN as u64)).then_some(into)
    }

    fn learn(&self, place: u64, offset: usize, len: u64) {
        self.from.store(place, Relaxed);
        self.offset.store(offset as u64, Relaxed);
        self.len.store(len, Relaxed);
    }
}

/// A message in the log.
pub(crate) struct Record {
    /// Where its payload is in the log's bytes.
    pub(crate) offset: usize,
    /// The message's length in bytes, and ENVELOPED.
    pub(crate) len: u32,
    /// Its place, and the place after it.
    pub(crate) place: u64,
    pub(crate) next: u64,
}

/// How many bytes there are between two places.
#[inline]
fn between(begin: u64, end: u64) -> u64 {
    (end & !LONG).wrapping_sub(begin & !LONG)
}

/// The place behind a TURN at `place`.
fn turned(place: u64) -> u64 {
    place.wrapping_add(HEAD as u64) ^ LONG
}

impl Log {
    /// The log of a queue; None where it has none.
    pub(crate) fn new(shared: &Shared<QueueLayout>, plan: &Plan) -> Result<Option<Self>> {
        if plan.log_size == 0 {
            return Ok(None);
        }
        let bytes = plan.log_in(shared.mapping())?;
        bytes.keep_out_of_dumps();
        let (kept, limit, max_message) = (plan.log_kept as u64, plan.log_limit as u64, plan.max_message);
        let (appending, taking) = (Known::default(), Known::default());
        Ok(Some(Self { shared: shared.clone(), bytes, kept, limit, max_message, appending, taking }))
    }

    /// How many bytes the long part has.
    fn long(&self) -> u64 {
        self.bytes.len() as u64 - self.kept
    }

    fn offset_of(&self, place: u64) -> usize {
        let bytes = place & !LONG;
        (if place & LONG == 0 { bytes % self.kept } else { self.kept + bytes % self.long() }) as usize
    }

    /// How many bytes there are from `place` to the end of its part's.
    fn to_the_end(&self, place: u64) -> usize {
        let end = if place & LONG == 0 { self.kept as usize } else { self.bytes.len() };
        end - self.offset_of(place)
    }

    /// The head at `place`, for which there is memory.
    fn head(&self, place: u64) -> Result<&RecordHead> {
        self.bytes.structure(self.offset_of(place))
    }

    /// Makes sure that there is memory for the `len` bytes from `place` on, which do not go beyond the end of their part; in the
    /// long part for `ahead` bytes, if it can be had.
    fn back(&self, known: &Known, place: u64, len: usize, ahead: usize) -> Result<()> {
        let at = self.offset_of(place);
        if place & LONG == 0 {
            return self.back_kept(known, at, at + len);
        }
        let bytes = place & !LONG;
        if bytes.checked_add(len as u64).is_some_and(|end| end <= known.backed.load(Relaxed)) {
            return Ok(());
        }
        let step = ahead.max(len).min(self.to_the_end(place));
        match self.populate(known, at, at + step) {
            Ok(()) => known.backed.fetch_max(bytes.saturating_add(step as u64), Relaxed),
            // There may be memory for less than the whole step.
            Err(Error::NoSpace(_)) => {
                self.populate(known, at, at + len)?;
                known.backed.fetch_max(bytes.saturating_add(len as u64), Relaxed)
            }
            Err(e) => return Err(e),
        };
        Ok(())
    }

    fn back_kept(&self, known: &Known, at: usize, end: usize) -> Result<()> {
        for step in at / KEPT_STEP..end.min(self.kept as usize).div_ceil(KEPT_STEP) {
            let from = step * KEPT_STEP;
            if known.kept.load(Relaxed) >> step & 1 != 0 {
                continue;
            }
            match self.populate(known, from, (from + KEPT_STEP).min(self.kept as usize)) {
                Ok(()) => _ = known.kept.fetch_or(1 << step, Relaxed),
                Err(Error::NoSpace(_)) => self.populate(known, from.max(at), (from + KEPT_STEP).min(end))?,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Who takes only reads: what is there is mapped, which is less work.
    fn populate(&self, known: &Known, start: usize, end: usize) -> Result<()> {
        if std::ptr::eq(known, &raw const self.taking) {
            self.bytes.populate_to_read(start, end)
        } else {
            self.bytes.populate(start, end)
        }
    }

    /// For how many bytes from `place` on this process knows that there is memory, up to the end of its part.
    fn backed(&self, known: &Known, place: u64) -> u64 {
        let at = self.offset_of(place);
        let backed = if place & LONG == 0 {
            let first = at / KEPT_STEP;
            let steps = (known.kept.load(Relaxed) >> first).trailing_ones() as usize;
            ((first + steps) * KEPT_STEP).saturating_sub(at) as u64
        } else {
            known.backed.load(Relaxed).saturating_sub(place & !LONG)
        };
        backed.min(self.to_the_end(place) as u64)
    }

    /// Whether everything in the log has been received, for a moment's truth: nothing is read or written for that.
    pub(crate) fn is_empty(&self) -> bool {
        self.shared.send.log.load(Relaxed) == self.shared.recv.log.load(Relaxed)
    }

    /// Whether there may be something in the log, as far as senders know, who look every now and then only: the line that
    /// receivers write to is dear. The caller holds the sending lock.
    pub(crate) fn may_hold_something(&self) -> bool {
        let send = &self.shared.send;
        let end = send.log.load(Relaxed);
        let look = self.shared.log_drained.load(Relaxed) != 0 || between(send.log_look.load(Relaxed), end).cast_signed() >= 0;
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
        let next = (between(begin, end) / 4).clamp(LOOK, LONGEST_LOOK);
        send.log_look.store((end & !LONG).wrapping_add(next), Relaxed);
        begin != end
    }

    /// The part that a record goes into which needs so many bytes, with the head of the next one; None where there is no room for
    /// it. `end`: where the log ends.
    fn part_for(&self, end: u64, need: usize) -> Option<u64> {
        let send = &self.shared.send;
        let last = |part| {
            let place = if end & LONG == part { end } else { turned(end) };
            let to_the_end = self.to_the_end(place);
            (place & !LONG).wrapping_add((if to_the_end < need { to_the_end + need } else { need }) as u64)
        };
        // Who has left the kept part comes back when half of it will do, and not to leave it again at once.
        let most = if end & LONG == 0 { self.kept } else { self.kept / 2 };
        if between(send.log_seen.load(Relaxed), last(0)) <= most {
            return Some(0);
        }
        (between(send.log_given_back.load(Relaxed), last(LONG)) <= self.long()).then_some(LONG)
    }

    /// Lets the log go on at `next`, where the head of the next record is, as `how` tells the receivers. There will be a record
    /// that needs so many bytes.
    fn go_on(&self, end: u64, next: u64, how: u32, need: usize) -> Result<u64> {
        // Nobody has seen to that where nothing was ever put into the log.
        self.back(&self.appending, end, HEAD, HEAD)?;
        let head = self.head(end)?;
        // There is memory before anything leads there.
        self.back(&self.appending, next, need.min(self.to_the_end(next)), STEP)?;
        self.head(next)?.number.store(head.number.load(Relaxed), Relaxed);
        head.len.store(how, Relaxed);
        // die here: the log ends where it did.
        // Release: with the Acquire in `next` and `len`.
        self.shared.send.log.store(next, Release);
        // die here: the log has a record more, which is no message.
        Ok(next)
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
        let waits = || between(send.log_seen.load(Relaxed), end).saturating_add((need - HEAD) as u64) <= self.limit;
        let mut part = self.part_for(end, need);
        if !waits() || part != Some(end & LONG) {
            self.look_at_receivers(end);
            part = self.part_for(end, need);
        }
        if !waits() {
            let why = "the unbounded queue's backlog has reached its limit in bytes (by default the size of the file system)";
            return Err(Error::LimitReached(why.into()));
        }
        let Some(part) = part else {
            return Err(Error::NoSpace("the unbounded queue's log has no addresses left".into()));
        };
        if part != end & LONG {
            end = self.go_on(end, turned(end), TURN, need)?;
        }
        let to_the_end = self.to_the_end(end);
        if to_the_end < need {
            end = self.go_on(end, end.wrapping_add(to_the_end as u64), SKIP, need)?;
        }
        self.back(&self.appending, end, need, STEP)?;
        let at = self.offset_of(end);
        self.bytes.write(at + HEAD, envelope)?;
        self.bytes.write(at + HEAD + envelope.len(), message)?;
        let flag = if envelope.is_empty() { 0 } else { ENVELOPED };
        let next = end.wrapping_add((need - HEAD) as u64);
        let (head, after) = (self.bytes.structure(at)?, self.bytes.structure(at + need - HEAD)?);
        self.commit_appended((head, len as u32 | flag), (after, next), message.len());
        self.learn_room(next);
        Ok(())
    }

    /// Learns where the next records can be put without a question. The log ends at `end`. The caller holds the sending lock.
    fn learn_room(&self, end: u64) {
        let send = &self.shared.send;
        let waiting = between(send.log_seen.load(Relaxed), end);
        let room = if end & LONG == 0 {
            self.kept.saturating_sub(waiting)
        } else {
            self.long().saturating_sub(between(send.log_given_back.load(Relaxed), end))
        };
        // A little more than until it is time to look: then it is.
        let look = between(end, send.log_look.load(Relaxed)).cast_signed().max(0) as u64 + LOOK;
        let len = room.min(self.limit.saturating_sub(waiting)).min(look).min(self.backed(&self.appending, end));
        self.appending.learn(end, self.offset_of(end), len);
    }

    /// As `append`, if nothing is to be asked: there is no envelope, and this process knows of memory and room. If not (false),
    /// nothing was done.
    #[inline]
    pub(crate) fn append_simply(&self, message: &[u8]) -> bool {
        let end = self.shared.send.log.load(Relaxed);
        let record = HEAD + message.len().next_multiple_of(ALIGN);
        let Some(at) = self.appending.offset_of(end, (record + HEAD) as u64) else { return false };
        if self.shared.log_drained.load(Relaxed) != 0 {
            return false;
        }
        let (Ok(head), Ok(after)) = (self.bytes.structure(at), self.bytes.structure(at + record)) else { return false };
        if self.bytes.write(at + HEAD, message).is_err() {
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
        // Release: with the Acquire in `next` and `len`: the record is seen whole.
        send.log.store(next, Release);
        // die here: the message is sent.
        send.bytes.add_alone(bytes as u64);
    }

    /// The first message in the log. The caller holds the receiving lock.
    pub(crate) fn next(&self) -> Result<Option<Record>> {
        let recv = &self.shared.recv;
        for _ in 0..TURNS {
            let place = recv.log.load(Relaxed);
            if recv.log_seen.load(Relaxed) == place {
                // Acquire: with the Release in `commit_appended`: the records. Receivers who find it here later have them from
                // us, by the lock.
                recv.log_seen.store(self.shared.send.log.load(Acquire), Relaxed);
            }
            let seen = recv.log_seen.load(Relaxed);
            if seen == place {
                if (place & !LONG).wrapping_sub(recv.log_given_back.load(Relaxed)) >= CHUNK as u64 {
                    // Who took the last ones died before that. Senders may have no room until then.
                    self.give_back(place);
                }
                return Ok(None);
            }
            let waiting = between(place, seen);
            let end = self.to_the_end(place);
            let corrupted = Error::Corrupted("the log's records are none that it can have");
            let is_sane = (HEAD as u64..=self.bytes.len() as u64).contains(&waiting);
            if !is_sane || end < HEAD || !(place & !LONG).is_multiple_of(ALIGN as u64) {
                return Err(corrupted);
            }
            let ahead = (waiting as usize).min(STEP);
            self.back(&self.taking, place, HEAD, ahead)?;
            let len = self.head(place)?.len.load(Relaxed);
            if len == TURN {
                self.commit(turned(place));
                continue;
            }
            if len == SKIP && end as u64 <= waiting {
                self.commit(place.wrapping_add(end as u64));
                continue;
            }
            let bytes = (len & !ENVELOPED) as usize;
            let record = HEAD + bytes.next_multiple_of(ALIGN);
            if bytes > self.max_message + ENVELOPE || record > end || record as u64 > waiting {
                return Err(corrupted);
            }
            self.back(&self.taking, place, record, ahead)?;
            let (offset, next) = (self.offset_of(place) + HEAD, place.wrapping_add(record as u64));
            return Ok(Some(Record { offset, len, place, next }));
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
        let head = self.bytes.structure(record.offset - HEAD)?;
        let envelope = if record.len & ENVELOPED == 0 { 0 } else { ENVELOPE };
        self.commit_taken(head, record.next, ((record.len & !ENVELOPED) as usize).saturating_sub(envelope));
        self.give_back(record.next);
        self.learn_records(record.next);
        Ok(())
    }

    /// Learns where there are records that can be taken without a question. The log begins at `place`. The caller holds the receiving lock.
    fn learn_records(&self, place: u64) {
        let recv = &self.shared.recv;
        let waiting = between(place, recv.log_seen.load(Relaxed));
        let chunk = recv.log_given_back.load(Relaxed) / CHUNK as u64 * CHUNK as u64;
        let kept = between(place, chunk.wrapping_add(CHUNK as u64));
        // The last record of each is asked for.
        let len = waiting.min(kept).min(self.backed(&self.taking, place)).saturating_sub(1);
        let is_sane = waiting <= self.bytes.len() as u64 && kept <= CHUNK as u64;
        self.taking.learn(place, self.offset_of(place), if is_sane { len } else { 0 });
    }

    /// Takes the first message if nothing is to be asked: it has no envelope and up to `longest` bytes, it is known to be there,
    /// with something behind it, and there is no memory to be given back. Says how long it is. If not, nothing was done. The
    /// caller holds the receiving lock.
    #[inline]
    pub(crate) fn take_simply(&self, longest: usize, sink: &mut impl Sink) -> Option<usize> {
        let place = self.shared.recv.log.load(Relaxed);
        let at = self.taking.offset_of(place, HEAD as u64)?;
        let head: &RecordHead = self.bytes.structure(at).ok()?;
        // Read once: it is checked, and then used. An envelope's flag makes it too long, and so does what is no message.
        let len = head.len.load(Relaxed) as usize;
        if len > longest {
            return None;
        }
        let record = (HEAD + len.next_multiple_of(ALIGN)) as u64;
        self.taking.distance(place, record)?;
        self.bytes.read(at + HEAD, &mut sink.space(len).ok()?[..len]).ok()?;
        self.commit_taken(head, place.wrapping_add(record), len);
        Some(len)
    }

    /// Commits that a record was received, whose message has so many bytes, and behind which the log begins at `next`.
    #[inline]
    fn commit_taken(&self, head: &RecordHead, next: u64, bytes: usize) {
        let recv = &self.shared.recv;
        // Read before a sender may write there.
        let number = head.number.load(Relaxed);
        self.commit(next);
        // Release: with the Acquire in `len`: who sees this sees where the log begins since then.
        recv.log_taken.store(number.wrapping_add(1), Release);
        recv.bytes.add_alone(bytes as u64);
    }

    #[inline]
    pub(crate) fn commit(&self, next: u64) {
        // die here: the message is still there, for the next receiver.
        // Release: with the Acquire in `look_at_receivers` and `len`.
        self.shared.recv.log.store(next, Release);
        // die here: the message is gone with us.
    }

    /// Gives memory of the long part before `place` back to the system: whole chunks, or, where the log is empty now, all pages.
    fn give_back(&self, place: u64) {
        let recv = &self.shared.recv;
        if recv.log_seen.load(Relaxed) == place {
            // Acquire: as in `next`.
            recv.log_seen.store(self.shared.send.log.load(Acquire), Relaxed);
        }
        let drained = recv.log_seen.load(Relaxed) == place;
        if drained {
            // die here: senders look by themselves, a few messages later.
            self.shared.log_drained.store(1, Relaxed);
        }
        let given_back = &recv.log_given_back;
        // Whole pages, whatever somebody may have scribbled there.
        let mut from = given_back.load(Relaxed) & !(PAGE as u64 - 1);
        let piece = if drained && place & LONG != 0 { PAGE } else { CHUNK } as u64;
        let to = (place / piece * piece).max(from);
        // Receivers that died before this, one after the other, may have left more than a round: then nothing waits in the long part.
        from = from.max(to.saturating_sub(self.long()));
        while from < to {
            let at = self.offset_of(from | LONG);
            let len = ((to - from) as usize).min(self.to_the_end(from | LONG));
            // Where the file system cannot, the memory stays, and is written over in the next round.
            self.bytes.punch(at, at + len);
            from += len as u64;
            // die here: the next receiver gives it back once more, before a sender may use it.
            // Release: with the Acquire in `look_at_receivers`.
            given_back.store(from, Release);
        }
    }

    /// Whether a place has been received. The caller holds the receiving lock, and so sees what a dead owner did.
    pub(crate) fn is_taken(&self, place: u64) -> bool {
        between(place, self.shared.recv.log.load(Relaxed)).cast_signed() > 0
    }

    /// How many messages were ever taken out of it.
    pub(crate) fn taken(&self) -> u64 {
        self.shared.recv.log_taken.load(Relaxed)
    }

    /// How many messages were put into it before its `end`; None where it ends somewhere else now.
    fn number_at(&self, end: u64) -> Result<Option<u64>> {
        let (at, number) = (self.offset_of(end), &self.head(end)?.number);
        // Acquire, in both parts: it is read before the log's end is read once more.
        let number = if end & LONG == 0 {
            if self.backed(&self.appending, end).max(self.backed(&self.taking, end)) < HEAD as u64 {
                self.bytes.populate_to_read(at, at + HEAD)?;
            }
            Some(number.load(Acquire))
        } else {
            // Without a lock: receivers may have come here meanwhile, and have given the memory back.
            memory::read_if_there(number)
        };
        let is_there = self.shared.send.log.load(Relaxed) == end;
        if is_there && number.is_none() {
            // It says why.
            self.bytes.populate_to_read(at, at + HEAD)?;
        }
        Ok(number.filter(|_| is_there))
    }

    /// How many messages were ever put into it.
    pub(crate) fn put_in(&self) -> Result<u64> {
        let send = &self.shared.send;
        for _ in 0..1000 {
            // Acquire: with the Release in `commit_appended`, for the number.
            let end = send.log.load(Acquire);
            if let Some(number) = self.number_at(end)? {
                return Ok(number);
            }
        }
        Ok(self.taken())
    }

    /// How many messages wait in the log, at this moment; one more where a receiver has died between its commit and the count of
    /// it, until the next one is received.
    pub(crate) fn len(&self) -> Result<usize> {
        let (send, recv) = (&self.shared.send, &self.shared.recv);
        for _ in 0..100 {
            // Acquire: with the Release in `commit`, for how many were taken before that.
            let begin = recv.log.load(Acquire);
            // Acquire: with the Release in `commit_taken`: if it counts more, the log begins elsewhere by now.
            let taken = recv.log_taken.load(Acquire);
            // Acquire: as in `put_in`.
            let end = send.log.load(Acquire);
            if end == begin {
                return Ok(0);
            }
            if between(begin, end) > self.bytes.len() as u64 {
                continue;
            }
            // Where the log ends there is memory as long as it ends there, and what comes before is never asked for.
            let Some(number) = self.number_at(end)? else { continue };
            // If nothing was received or sent meanwhile, all belong to one moment.
            if recv.log.load(Relaxed) == begin {
                return Ok(usize::try_from(number.wrapping_sub(taken)).unwrap_or(0).min(self.bytes.len()));
            }
        }
        Ok(usize::from(!self.is_empty()))
    }
}
