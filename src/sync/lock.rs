//! The robust lock word, and sleeping on it until its owners change something.
//!
//! The word is a futex in the kernel's robust format: the owner's thread id in the lower 30 bits (0: free), WAITERS where somebody may be
//! asleep on it, OWNER_DIED where the kernel took it from a dead owner. [`Call`] lets the kernel know of it. Two kinds of sleepers
//! share a word: those who want the *lock*, and those who wait for a *change* that its owners make (receivers wait so on
//! the sending lock's word for a message). A word that is never owned serves as a plain event, with the second kind alone.
//!
//! # Why no wake-up is lost
//!
//! *WAITERS is set while somebody sleeps*, but for the moment described under "forgetting". Sleepers set it before they look a
//! last time, and the kernel compares the whole word before it lets them sleep. Owners keep it: an acquirer takes over the bit it
//! finds, [`release_changed`] clears only the owner, wakes one sleeper of each kind, and keeps the bit if there was one. So if
//! the one that was woken is killed before it runs, while a third party has taken the lock without having seen any of this, that
//! party's release wakes the next (glibc's and musl's locks lack this). If it is killed while the word is free, the kernel itself
//! wakes the next: the dead one's `list_op_pending` still names the word.
//!
//! *A look and a sleep.* A sleeper's look either sees the change, or happens before it. In the second case the owner's release
//! comes after WAITERS was set, sees it, and wakes. It may do so just before the sleeper sleeps: so every release that wakes
//! leaves another [`GENERATION`] in the word, also for who sets WAITERS anew later, and the kernel does not let the sleeper sleep
//! on the old value. Two such releases bring the old value back. But then nobody is left behind: each of the two woke one of the
//! sleeper's kind, who takes what was changed and wakes the next when it leaves; or one that wanted the lock, whose release wakes
//! again; or nobody, and then WAITERS is gone until another sleeper sets it. That one looks itself after that. If it finds
//! nothing, there was nothing left for the first one either. If it finds something, and there may be more, it *takes WAITERS
//! back* before it leaves: the old value is no value to sleep on then. It forgets, in the sense below.
//!
//! *Passing on.* A wake-up for a change is used up by one sleeper. When it leaves to act on the change it will be busy with
//! another word, and the kernel would not pass on this one's wake-up for it. So before it turns away it wakes one more of its kind,
//! who looks for itself. The kernel wakes only one of any kind, first come first: a sleeper for a change that finds the word free when
//! it wakes up wakes one that wants the lock. And who acquires keeps WAITERS, so its release wakes one of each kind.
//!
//! *Forgetting.* If nobody was asleep the bit is cleared, so that quiet times cost no system calls; and then everybody is woken, for those
//! who went to sleep between the two steps. If the forgetter is killed in between, the kernel wakes one of those (the word is free), who
//! sees that WAITERS is gone, and wakes all the others. Who wants to wake everybody ([`release_and_wake_all`]) does the same.
//!
//! *Watched words.* Who sleeps on several words at once ([`watch`], `futex_waitv(2)`) is a sleeper of every kind on each of them,
//! and only one of them can be its `list_op_pending`. So a wake-up that was meant for one of the others may die with it.
//! Therefore a flag stands beside each word on which somebody may sleep so: while it is set, a release wakes *all* the sleepers,
//! and so does a sleeper that leaves to act on a change. Then a death takes no wake-up with it but its own. The watcher sets the
//! flag before it looks; who releases reads the flag after the store of the word: if it finds the flag clear, the kernel compares
//! the word that it stored, so the watcher's look came after the change, and those who slept before the change come before the
//! watcher in the kernel's queue. The flag is cleared before WAITERS is forgotten, and then everybody is woken, and sets it anew;
//! and it is set after WAITERS, so that nobody sleeps whose flag was cleared before that. A watcher that finds a change before it
//! sleeps takes WAITERS back, too, if it has set it.
//!
//! The kernel knows nothing of the flag: the wake-up for a death that is meant for who wants the lock may go to a watcher. So a
//! watcher that was woken for nothing by a lock's word wakes all, too ([`Rewake`]), though not for every such wake-up: two of
//! them would wake each other for ever. If it is killed instead, two have died in the same moment.
//!
//! *Checked.* `tests/models` tries this file's source itself in many schedules, with old values and with deaths: `make models`.
//! Its scenes fail when one of the orderings, fences and wake-ups is taken away that `docs/models.md` lists: `make mutations`.
//!
//! *Backstop.* No sleep lasts longer than [`LOOK`] without a look: for two deaths in the same moment; for a sleeper that was not
//! running from its look until the word was the same again, if somebody died in between with WAITERS set anew, or if it waits for
//! what concerns it alone (as the senders of a rendezvous do, who do not take each other's changes); for a woken sleeper that was
//! stopped (SIGSTOP) before it could pass anything on, and for owners that the kernel does not mark: a thread other than the
//! first that called exec has another id by the time the kernel looks at its words (`sync::holder`), and strangers
//! (`sync::strangers`) are never told apart by the kernel. Those who want the lock ask for it then. They look every [`LOOK`]
//! however often others wake them.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::shm::layout::{Bias, Holder, Quiet};
use crate::sync::bias::is_biased;
use crate::sync::spin::Spin;
use crate::sys::futex::{self, Kind, Slept};
use crate::sys::memory::Ordering::{Acquire, Relaxed, Release, SeqCst};
use crate::sys::memory::{AtomicU32, barrier_everywhere, fence, fence_after_rmw};
use crate::sys::thread::Call;
use crate::time::Deadline;
use crate::time::Instant;

/// Somebody may be asleep on the word.
pub(crate) const WAITERS: u32 = libc::FUTEX_WAITERS;
/// The owner died; the next one sees to what it left.
pub(crate) const OWNER_DIED: u32 = libc::FUTEX_OWNER_DIED;
/// The owner's thread id.
pub(crate) const TID: u32 = libc::FUTEX_TID_MASK;

/// In a free word on which somebody sleeps for a change, the bit tells one release from the next. The kernel only asks for the owner.
pub(crate) const GENERATION: u32 = OWNER_DIED;

/// The longest sleep without a look.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

/// How the lock's last owner left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// It released the lock.
    Released,
    /// It died with it.
    Died,
}

/// Takes the lock of `word`, on which `call` must be working.
///
/// # Errors
///
/// `Deadlock` where this thread has it, `WouldBlock`, `TimedOut`, `Interrupted`; and what the kernel may say.
#[inline]
pub(crate) fn acquire(call: &Call<'_>, word: &AtomicU32, deadline: Deadline) -> Result<Left> {
    // Acquire: with the Release of `release`, for all that the last owner wrote.
    match word.compare_exchange(0, call.owner(), Acquire, Relaxed) {
        // die here: the kernel sets OWNER_DIED, and wakes a sleeper if there is one.
        Ok(_) => Ok(Left::Released),
        Err(_) => acquire_slow(call, word, Beside::Nothing, deadline),
    }
}

/// As [`acquire`], of a lock that may be quiet (`sync::quiet`). Who has it has to heed how it is.
#[inline]
pub(crate) fn acquire_asking(
    call: &Call<'_>,
    word: &AtomicU32,
    (quiet, holder): (&Quiet, Option<&Holder>),
    deadline: Deadline,
) -> Result<Left> {
    if try_acquire(call, word) { Ok(Left::Released) } else { acquire_slow(call, word, Beside::Quiet(quiet, holder), deadline) }
}

/// Takes the lock of `word` if it is free, and nobody waits for it; otherwise does nothing.
#[inline]
pub(crate) fn try_acquire(call: &Call<'_>, word: &AtomicU32) -> bool {
    // Acquire: as in `acquire`.
    word.compare_exchange(0, call.owner(), Acquire, Relaxed).is_ok()
    // die here: as in `acquire`.
}

/// As [`try_acquire`], also where somebody waits for the lock or for a change, but not where the last owner may have died.
#[inline]
pub(crate) fn try_acquire_awaited(call: &Call<'_>, word: &AtomicU32) -> bool {
    let seen = word.load(Relaxed);
    // Acquire: as in `acquire`.
    seen & !WAITERS == 0 && word.compare_exchange(seen, call.owner() | seen, Acquire, Relaxed).is_ok()
    // die here: as in `acquire`.
}

/// How a lock is held that was taken with [`acquire_free`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// As any lock.
    Owned,
    /// It is biased to this thread.
    Biased,
}

/// Takes the lock of `word` if it is free, or biased to this thread, and nobody waits for it; otherwise does nothing.
#[inline]
pub(crate) fn acquire_free(call: &Call<'_>, word: &AtomicU32, bias: &Bias) -> Option<Held> {
    if bias.enter(call, word) { Some(Held::Biased) } else { try_acquire(call, word).then_some(Held::Owned) }
}

/// How long a call that was told not to wait still waits for a lock that others hold for a few instructions only: longer than a busy
/// machine leaves a thread without a processor. Who has held it for longer was stopped.
pub(crate) const GRACE: Duration = Duration::from_millis(10);

/// Like [`acquire`], for locks that are held for a few instructions only: a call that is told not to wait still waits for those.
#[inline]
pub(crate) fn acquire_brief(call: &Call<'_>, word: &AtomicU32, beside: Beside<'_>, deadline: Deadline) -> Result<Left> {
    // Acquire: as in `acquire`.
    match word.compare_exchange(0, call.owner(), Acquire, Relaxed) {
        // die here: as in `acquire`.
        Ok(_) => Ok(Left::Released),
        Err(_) => acquire_brief_slow(call, word, beside, deadline),
    }
}

#[cold]
fn acquire_brief_slow(call: &Call<'_>, word: &AtomicU32, beside: Beside<'_>, deadline: Deadline) -> Result<Left> {
    let end = if matches!(deadline, Deadline::Now) { Deadline::after(GRACE) } else { deadline };
    acquire_slow(call, word, beside, end).map_err(|e| match (e, deadline) {
        (Error::TimedOut, Deadline::Now) => Error::WouldBlock,
        // No call that takes such a lock is made by who has it.
        (Error::Deadlock, _) => Error::Corrupted("a lock has this thread for its owner, which never took it"),
        (e, _) => e,
    })
}

/// What lies beside a lock's word, and says how its owners let go of it.
#[derive(Clone, Copy)]
pub(crate) enum Beside<'a> {
    Nothing,
    /// It may be biased.
    Bias(&'a Bias),
    /// It may be quiet; whoever has it then has to heed how it is. And whose thread has it, where that is known.
    Quiet(&'a Quiet, Option<&'a Holder>),
}

impl<'a> Beside<'a> {
    fn holder(self) -> Option<&'a Holder> {
        if let Self::Quiet(_, holder) = self { holder } else { None }
    }
}

#[cold]
fn acquire_slow(call: &Call<'_>, word: &AtomicU32, beside: Beside<'_>, deadline: Deadline) -> Result<Left> {
    static SPIN: Spin = Spin::new();
    let mut spun = false;
    // Since the last look whether the owner is gone: others may wake us more often than that.
    let mut looked: Option<Instant> = None;
    loop {
        let mut seen = word.load(Relaxed);
        if let Beside::Bias(bias) = beside
            && is_biased(seen)
        {
            let is_mine = seen & TID == call.owner();
            // die here: as in `acquire`.
            if is_mine && bias.end_mine(call, word) || !is_mine && bias.take(word, seen, call.owner() | WAITERS) {
                return Ok(Left::Released);
            }
            // It is busy, or the word is another one by now.
            seen = word.load(Relaxed);
            if !is_biased(seen) {
                continue;
            }
        }
        let owner = seen & TID;
        if owner == 0 {
            match take_free(call, word, seen, beside) {
                Some(left) => return Ok(left),
                None => continue,
            }
        }
        if owner == call.owner() && beside.holder().is_none_or(|holder| holder.is_this_thread(word, owner)) {
            return Err(Error::Deadlock);
        }
        let left = match deadline.left(LOOK) {
            Ok(left) => left,
            Err(_) if take_from_the_gone(call, word, seen, beside) => continue,
            Err(e) => return Err(e),
        };
        if !spun {
            spun = true;
            let (mut taken, mut looks) = (None, 0);
            // Others may be faster several times. A word that is biased, or was, is for the steps above.
            SPIN.until(left, || {
                looks += 1;
                if looks <= TRIES && try_acquire(call, word) {
                    taken = Some(Left::Released);
                    return true;
                }
                let now = word.load(Relaxed);
                taken = if now & TID == 0 { take_free(call, word, now, beside) } else { None };
                taken.is_some() || is_biased(seen) && now != seen || is_biased(now) && !is_biased(seen)
            });
            match taken {
                Some(left) => return Ok(left),
                None => continue,
            }
        }
        // The kernel does not tell of a stranger's death (`sync::strangers`).
        if !call.is_seen() && take_from_the_gone(call, word, seen, beside) {
            continue;
        }
        // die here: WAITERS without a waiter costs the next release two system calls.
        if seen & WAITERS == 0 && word.compare_exchange(seen, seen | WAITERS, Relaxed, Relaxed).is_err() {
            continue;
        }
        if let Beside::Quiet(quiet, _) = beside {
            quiet.ask(word);
        }
        let since = looked.get_or_insert_with(Instant::now);
        call.waits();
        match futex::wait(word, seen | WAITERS, Kind::Lock, left.min(LOOK.saturating_sub(since.elapsed())))? {
            Slept::Woken => {
                call.is_woken();
                woken(word);
            }
            Slept::TimedOut | Slept::NotAtAll => {}
            Slept::Interrupted => return Err(Error::Interrupted),
        }
        if since.elapsed() >= LOOK {
            looked = None;
            take_from_the_gone(call, word, seen | WAITERS, beside);
        }
    }
}

/// So many looks of who spins for a lock are tries to take it. An owner that takes it again at once leaves it free for less time
/// than a look that finds it free needs to become a try; but who only tries keeps the owner from its work. So this is for the
/// first microseconds.
const TRIES: u32 = 32;

/// Takes the lock of a word that was `seen` free. May fail where nothing has changed.
#[inline]
fn take_free(call: &Call<'_>, word: &AtomicU32, seen: u32, beside: Beside<'_>) -> Option<Left> {
    if seen & OWNER_DIED != 0
        && let Some(holder) = beside.holder()
    {
        holder.forget_namesake(call.owner());
    }
    // Acquire: as in `acquire`.
    word.compare_exchange_weak(seen, call.owner() | (seen & WAITERS), Acquire, Relaxed).ok()?;
    // die here: as in `acquire`.
    Some(if seen & OWNER_DIED == 0 { Left::Released } else { Left::Died })
}

/// Does to the word what the kernel does when its owner dies, in case the owner is gone without the kernel's having done it.
fn take_from_the_gone(call: &Call<'_>, word: &AtomicU32, mut seen: u32, beside: Beside<'_>) -> bool {
    let owner = seen & TID;
    let is_gone = match beside.holder().filter(|holder| holder.names(owner)) {
        Some(holder) => holder.claim(call, word, owner),
        None => call.is_gone(owner),
    };
    if !is_gone {
        return false;
    }
    loop {
        // Release: with the Acquire of `acquire`, for what the dead owner did: who sees that it is gone sees all of that. So does
        // the kernel.
        match word.compare_exchange(seen, OWNER_DIED | WAITERS, Release, Relaxed) {
            Ok(_) => return true,
            // Another one is about to sleep. What was claimed is nobody else's to take.
            Err(now) if now == seen | WAITERS => seen = now,
            Err(_) => return false,
        }
    }
}

/// What everybody does who was woken: if WAITERS is gone, whoever forgot it may have died before it woke the others.
fn woken(word: &AtomicU32) -> u32 {
    let now = word.load(Relaxed);
    if now & WAITERS == 0 {
        wake_all(word);
    }
    now
}

/// Gives the lock of `word` back, and wakes one of those who want it. The caller owns it, and `call` is working on it.
/// Nobody sleeps on the word for a change.
#[inline]
pub(crate) fn release(call: &Call<'_>, word: &AtomicU32) {
    release_as(call.owner(), word);
}

/// As [`release`], of who stands as `owner` in the word.
#[inline]
pub(crate) fn release_as(owner: u32, word: &AtomicU32) {
    // Release: with the Acquire of `acquire`.
    if word.compare_exchange(owner, 0, Release, Relaxed).is_err() {
        release_slow(word);
    }
}

#[cold]
fn release_slow(word: &AtomicU32) {
    // Release: as in `release`.
    word.store(WAITERS, Release);
    // die here: the word is free and pending, so the kernel wakes one sleeper, who passes it on.
    wake_one(word);
}

/// Wakes one of those who want the lock of a word, in which WAITERS is set; clears that if there was none. The call is working on it.
pub(crate) fn wake_one(word: &AtomicU32) {
    if futex::wake(word, 1, Kind::Lock) == 0 && word.compare_exchange(WAITERS, 0, Relaxed, Relaxed).is_ok() {
        // die here: as in `forget`.
        wake_all(word);
    }
}

/// Like [`release`], for a word on which others sleep for a change, with its `generation`, which the owner of the lock changes, and
/// the flag that says whether it is `watched`. Says whether anybody waited.
#[inline]
pub(crate) fn release_changed(call: &Call<'_>, word: &AtomicU32, generation: &AtomicU32, watched: &AtomicU32) -> bool {
    // Release: with the Acquire of `acquire`, and of `wait_for_change`.
    let waited = word.compare_exchange(call.owner(), 0, Release, Relaxed).is_err();
    if waited {
        release_changed_slow(word, generation, watched);
    }
    waited
}

/// Like [`release_changed`], for what [`acquire_free`] took.
#[inline]
pub(crate) fn release_free(
    call: &Call<'_>,
    (word, bias): (&AtomicU32, &Bias),
    held: Held,
    generation: &AtomicU32,
    watched: &AtomicU32,
) -> bool {
    match held {
        Held::Biased => !bias.leave(call, word) && release_biased_slow(call, (word, bias), generation, watched),
        Held::Owned => !bias.begin(call, word) && release_changed(call, word, generation, watched),
    }
}

#[cold]
fn release_biased_slow(call: &Call<'_>, (word, bias): (&AtomicU32, &Bias), generation: &AtomicU32, watched: &AtomicU32) -> bool {
    // Another one that has taken it keeps WAITERS, and wakes whom we would.
    let is_mine = bias.end_mine(call, word);
    if is_mine {
        release_changed_slow(word, generation, watched);
    }
    is_mine
}

/// Like [`release_changed`], where the owner has `woken` somebody already, of a third kind.
pub(crate) fn release_woken(call: &Call<'_>, word: &AtomicU32, generation: &AtomicU32, watched: &AtomicU32, woken: u32) {
    // Release: as in `release_changed`.
    if word.compare_exchange(call.owner(), 0, Release, Relaxed).is_err() {
        release_and_wake(word, generation, watched, woken);
    }
}

#[cold]
fn release_changed_slow(word: &AtomicU32, generation: &AtomicU32, watched: &AtomicU32) {
    release_and_wake(word, generation, watched, 0);
}

fn release_and_wake(word: &AtomicU32, generation: &AtomicU32, watched: &AtomicU32, woken: u32) {
    let next = !generation.fetch_xor(GENERATION, Relaxed) & GENERATION;
    // die here: OWNER_DIED, one sleeper woken.
    // Release: as in `release_changed`.
    word.store(WAITERS | next, Release);
    // die here: as in `release_slow`.
    let woken = woken
        + if is_watched(watched) {
            wake_all(word)
        } else {
            futex::wake(word, 1, Kind::Change) + futex::wake(word, 1, Kind::Lock)
        };
    if woken == 0 {
        forget(word, (WAITERS | next, 0), watched);
    }
}

/// Like [`release`], but wakes everybody: for a change that concerns all of them. If some sleep for a change, the generation is
/// another one by now.
pub(crate) fn release_and_wake_all(word: &AtomicU32) {
    // Release: as in `release`.
    word.store(0, Release);
    // die here: the kernel wakes one, who sees that WAITERS is gone and wakes all.
    wake_all(word);
}

/// Wakes up to `count` of those who sleep on an event, a word that is never owned; all of them if it is `watched`. The call must be
/// working on it.
///
/// What they wait for was changed before, and a read-modify-write came after the change, or was the change.
#[inline]
pub(crate) fn notify(event: &AtomicU32, watched: &AtomicU32, count: u32) {
    // The change before this, and the setting of WAITERS before a sleeper's look, are ordered by two SeqCst fences.
    fence_after_rmw();
    if event.load(Relaxed) & WAITERS != 0 {
        notify_slow(event, watched, count);
    }
}

/// Like [`notify`] for one sleeper, but `call` works on another word, `own`, and does so again afterwards: who dies here need not have
/// woken anybody, but must not have made the word forget those who sleep. Says how many were woken.
pub(crate) fn notify_beside(call: &Call<'_>, event: &AtomicU32, watched: &AtomicU32, own: &AtomicU32) -> u32 {
    let seen = event.fetch_xor(GENERATION, Relaxed) ^ GENERATION;
    let woken = futex::wake(event, if is_watched(watched) { u32::MAX } else { 1 }, Kind::Any);
    if woken == 0 {
        call.turn_to(event);
        forget(event, (seen, seen & !WAITERS), watched);
        call.turn_to(own);
    }
    woken
}

#[cold]
fn notify_slow(event: &AtomicU32, watched: &AtomicU32, count: u32) {
    let seen = event.fetch_xor(GENERATION, Relaxed) ^ GENERATION;
    // die here: the kernel wakes one, who wakes the next.
    let count = if is_watched(watched) { u32::MAX } else { count };
    if futex::wake(event, count, Kind::Any) == 0 {
        forget(event, (seen, seen & !WAITERS), watched);
    }
}

/// Clears WAITERS, since nobody was asleep, if the word is still as it was `left`: it is `quiet` then. The call is still working
/// on it. Says whether it woke everybody.
fn forget(word: &AtomicU32, (left, quiet): (u32, u32), watched: &AtomicU32) -> bool {
    // Before WAITERS: a watcher that sets it meanwhile cannot sleep on what the word was.
    let was_watched = watched.load(Relaxed) != 0 && watched.swap(0, Relaxed) != 0;
    // die here: the kernel wakes one more; a wake-up too many is harmless. A watcher sets its flag anew at its next look.
    let is_quiet = word.compare_exchange(left, quiet, Relaxed, Relaxed).is_ok();
    if was_watched && !is_quiet {
        // It may be that of one who is about to sleep on what the word is now.
        watched.store(1, Relaxed);
    }
    let forgotten = is_quiet || was_watched;
    if forgotten {
        // die here: the kernel wakes one who slipped in, who sees that WAITERS is gone and wakes all.
        wake_all(word);
    }
    forgotten
}

/// Whether somebody may be asleep on the word who sleeps on others, too. Asked after the word was stored.
fn is_watched(watched: &AtomicU32) -> bool {
    // With the fence in `watch`.
    fence(SeqCst);
    watched.load(Relaxed) != 0
}

/// Wakes all who sleep on a word that the caller does not own, after a change that concerns all of them.
/// `biased`: of a word that may be biased, its bias, and the flag that says whether it is watched.
pub(crate) fn notify_all(word: &AtomicU32, generation: &AtomicU32, biased: Option<(&Bias, &AtomicU32)>) {
    let next = !generation.fetch_xor(GENERATION, Relaxed) & GENERATION;
    loop {
        let seen = word.load(Relaxed);
        if let Some((bias, watched)) = biased.filter(|_| is_biased(seen)) {
            // If its user is busy it ends the bias after that, and sees this then: it wakes all.
            watched.store(1, Relaxed);
            if bias.take(word, seen, WAITERS | next) || is_biased(word.load(Relaxed)) {
                break;
            }
            continue;
        }
        // Release: with the Acquire in `wait_for_change`, for the change and the generation.
        if word.compare_exchange(seen, seen & !WAITERS, Release, Relaxed).is_ok() {
            break;
        }
    }
    // die here: the kernel wakes one if the word is free, who sees that WAITERS is gone and wakes all.
    wake_all(word);
}

/// Wakes everybody who sleeps on a word; says how many.
pub(crate) fn wake_all(word: &AtomicU32) -> u32 {
    futex::wake(word, u32::MAX, Kind::Any)
}

/// What a word is that somebody sleeps on for a change, and the flag that says whether it is watched: not 0 while somebody may be asleep
/// on it and on others.
#[derive(Debug, Clone, Copy)]
pub(crate) enum On<'a> {
    /// A lock's word, with those who want the lock beside us.
    Lock { generation: &'a AtomicU32, watched: &'a AtomicU32 },
    /// An event: never owned. It keeps its generation itself.
    Event { watched: &'a AtomicU32 },
}

impl On<'_> {
    fn watched(&self) -> &AtomicU32 {
        match self {
            Self::Lock { watched, .. } | Self::Event { watched } => watched,
        }
    }

    /// Sets WAITERS in the word; says how it is then, and whether it was not set before.
    fn set_waiters(&self, word: &AtomicU32) -> (u32, bool) {
        loop {
            // What the last owner did is seen after the fence that follows. The generation may be an old one: it is asked for
            // where WAITERS is gone, and then nobody was left behind (see "A look and a sleep").
            let seen = word.load(Relaxed);
            if seen & WAITERS != 0 {
                return (seen, false);
            }
            let waiting = match self {
                Self::Lock { generation, .. } if seen & TID == 0 => WAITERS | generation.load(Relaxed) & GENERATION,
                _ => seen | WAITERS,
            };
            // die here: WAITERS without a waiter costs the next release some system calls.
            if word.compare_exchange(seen, waiting, Relaxed, Relaxed).is_ok() {
                return (waiting, true);
            }
        }
    }

    /// Takes WAITERS back, which was set by us alone, if the word is still as we `left` it; says whether everybody was woken. It
    /// was free: an owner wakes somebody when it lets go.
    fn take_waiters_back(&self, word: &AtomicU32, left: u32) -> bool {
        let quiet = if matches!(self, Self::Event { .. }) { left & !WAITERS } else { 0 };
        forget(word, (left, quiet), self.watched())
    }
}

/// A SeqCst fence between setting WAITERS, in a word that was `seen` so then, and a look: also against who has the word biased to it.
fn fence_against(seen: u32) {
    if is_biased(seen) {
        // With the `light_barrier` in `Bias::leave`.
        barrier_everywhere();
    } else {
        fence(SeqCst);
    }
}

/// Sleeps until `change` gives something. The call must be working on `word`, and this thread owns nothing. Once it returns, the
/// caller may turn to another word. `sleep` puts the thread to sleep on the word while it has a value, for a time.
///
/// # Errors
///
/// `WouldBlock`, `TimedOut`, `Interrupted`, what `change` says, and what the kernel may say: nothing was taken then.
pub(crate) fn wait_for_change<T>(
    event: (On<'_>, &AtomicU32),
    deadline: Deadline,
    spin: &Spin,
    change: impl FnMut() -> Result<Option<T>>,
    sleep: impl FnMut(u32, Duration) -> Result<Slept>,
) -> Result<T> {
    wait(event, None, deadline, (spin, || true), change, sleep)
}

/// As [`wait_for_change`], but the call works on another word, `own`, before and after. If it dies after it has found a change, before this
/// returns, that word may not be marked. While it spins it looks for a change where the other half of `spin` says that there may be one.
pub(crate) fn wait_beside<T>(
    event: (On<'_>, &AtomicU32),
    own: (&Call, &AtomicU32),
    deadline: Deadline,
    spin: (&Spin, impl FnMut() -> bool),
    change: impl FnMut() -> Result<Option<T>>,
    sleep: impl FnMut(u32, Duration) -> Result<Slept>,
) -> Result<T> {
    wait(event, Some(own), deadline, spin, change, sleep)
}

fn wait<T>(
    (on, word): (On<'_>, &AtomicU32),
    own: Option<(&Call, &AtomicU32)>,
    deadline: Deadline,
    (spin, mut glance): (&Spin, impl FnMut() -> bool),
    mut change: impl FnMut() -> Result<Option<T>>,
    mut sleep: impl FnMut(u32, Duration) -> Result<Slept>,
) -> Result<T> {
    let mut found = None;
    spin.until(deadline.left(LOOK)?, || {
        found = if glance() { change().transpose() } else { None };
        found.is_some()
    });
    if let Some(found) = found {
        return found;
    }
    let mut slept = false;
    loop {
        let (seen, is_mine) = on.set_waiters(word);
        // With the Release of the last owner, whose word was read above: its changes are seen below, since it is an Acquire
        // fence, too. With the fence in `notify`.
        fence_against(seen);
        if let Some(found) = change().transpose() {
            // Another one may have looked before there was anything, and be about to sleep on what the word was then, and is again.
            if is_mine && seen & TID == 0 {
                own.inspect(|(call, _)| call.turn_to(word));
                slept &= !on.take_waiters_back(word, seen);
                own.inspect(|(call, own)| call.turn_to(own));
            }
            if slept {
                // Our wake-up may have been meant for two, and from here on the kernel would not pass it on.
                if is_watched(on.watched()) {
                    wake_all(word)
                } else {
                    futex::wake(word, 1, Kind::Change)
                };
            }
            return found;
        }
        match sleep(seen, deadline.left(LOOK)?)? {
            Slept::Woken => {
                slept = true;
                let now = woken(word);
                if matches!(on, On::Lock { .. }) && now & WAITERS != 0 && now & TID == 0 {
                    futex::wake(word, 1, Kind::Lock);
                }
            }
            Slept::TimedOut => slept = true,
            Slept::NotAtAll => {}
            Slept::Interrupted => return Err(Error::Interrupted),
        }
    }
}

/// Prepares for a sleep on this word and on others: whoever changes it from now on wakes all. The value to sleep on. After this, the
/// caller looks once more whether there is a change. Says, too, whether WAITERS was not set before.
pub(crate) fn watch((on, word): (On<'_>, &AtomicU32)) -> (u32, bool) {
    let (seen, is_mine) = on.set_waiters(word);
    // After WAITERS, so that who forgets has not cleared it before.
    on.watched().store(1, Relaxed);
    // die here: releases wake all, until nobody is asleep.
    // With the fences in `is_watched` and `notify`, as in `wait_for_change`.
    fence_against(seen);
    (seen, is_mine)
}

/// What a watcher does that will not sleep on this word, which was `seen` with [`watch`], since there is a change: as in
/// `wait_for_change`. The call must be working on the word.
pub(crate) fn unwatch((on, word): (On<'_>, &AtomicU32), (seen, is_mine): (u32, bool)) {
    if is_mine && seen & TID == 0 {
        on.take_waiters_back(word, seen);
    }
}

/// What a watcher does that was woken by a word, and finds no change.
pub(crate) struct Rewake(Option<Instant>);

/// A watcher wakes all the others at most once in this time: they do the same.
const REWAKE: Duration = Duration::from_millis(20);

impl Rewake {
    pub(crate) const fn new() -> Self {
        Self(None)
    }

    /// Wakes all for whom the wake-up may have been meant.
    pub(crate) fn woken_for_nothing(&mut self, (on, word): (On<'_>, &AtomicU32)) {
        let now = woken(word);
        let lock_is_free = matches!(on, On::Lock { .. }) && now & WAITERS != 0 && now & TID == 0;
        if lock_is_free && self.0.is_none_or(|last| last.elapsed() >= REWAKE) {
            self.0 = Some(Instant::now());
            wake_all(word);
        }
    }
}
