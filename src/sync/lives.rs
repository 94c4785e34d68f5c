//! Lives: for each process a word that the kernel marks when the process ends, for others to sleep on.
//!
//! A wait that only a process's death can end, such as that for a reply, sleeps on the word of what it waits for and on that
//! process's life at once (`futex_waitv(2)`). A life is a robust lock word that one thread of its process owns for good, so the
//! kernel marks it and wakes one sleeper when that thread ends; that sleeper wakes the others ([`pass_on`]). It is a hint:
//! whether the process is gone only [`Identity::is_gone`](crate::sys::process::Identity::is_gone) says. A thread may end before
//! its process does; then the next call of another thread makes that one the owner ([`Lives::mine`]). A program that was started
//! by exec is another process, whose entry is another.
//!
//! There is a table (`sync::life_table`) for each pid namespace in each directory.
//!
//! # How to sleep on a life without missing its end
//!
//! First [`Lives::watch_of`], then ask whether the process is gone, then sleep on what it gave. Should the process end after it
//! was asked for, the word is another one, and there is no sleep. Where it gives nothing, the owner thread has ended: the process
//! will be gone in a moment, unless it has other threads. [`Ending`] says how long to sleep then.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::shm::layout::{LIFE_BACK, LIVES_TAG, MAX_LIVES};
use crate::sync::life_table::{LifeTable, TableKind};
use crate::sync::lock::{self, TID, WAITERS};
use crate::sys::file::{self, Annex};
use crate::sys::futex::{self, Kind};
use crate::sys::memory::Ordering::{Acquire, Relaxed, Release};
use crate::sys::memory::{AtomicU32, AtomicU64};
use crate::sys::process::{Identity, PerProcess, me, own_thread_is_gone};
use crate::sys::thread::{Call, Uncancelled, forks};
use crate::time::Deadline;

/// The lives of the processes that use one directory.
pub(crate) struct Lives {
    table: LifeTable,
    /// The table's device and inode.
    file: (u64, u64),
    /// Where this process's entry is mapped for the list.
    own: Annex,
    /// This process's entry, plus one, in the lower half; in the upper one `forks()` when it joined.
    joined: AtomicU64,
    /// The thread that has the word on its list, in the same way; 0: none. What the shared word says can be anybody's work.
    owner: AtomicU64,
}

const KIND: TableKind = TableKind { tag: LIVES_TAG, entries: MAX_LIVES };

/// How long to wait for others that join: who does so was stopped.
const PATIENCE: Duration = Duration::from_secs(1);

impl Lives {
    /// The lives in the directory `dir`, which exists.
    ///
    /// # Errors
    ///
    /// Errors of the system: the directory is full or cannot be written to. Whoever waits looks often then ([`lock::LOOK`]).
    pub(crate) fn of(dir: &Path) -> Result<Arc<Self>> {
        static KNOWN: PerProcess<Mutex<Vec<Arc<Lives>>>> = PerProcess::new();
        let _uncancelled = Uncancelled::new();
        let namespace = me().namespace;
        if namespace == 0 {
            return Err(Error::Unsupported("the pid namespace of this process cannot be known: is /proc mounted?".into()));
        }
        let fd = LifeTable::open_file(&KIND, dir, &dir.join(format!(".lives-{namespace}")))?;
        let file = file::identity(&fd)?;
        // A signal handler may have interrupted who has the lock. Then the table is mapped once more.
        let mut known = KNOWN.get().try_lock_for(PATIENCE);
        if let Some(lives) = known.iter().flat_map(|known| known.iter()).find(|lives| lives.file == file) {
            return Ok(Arc::clone(lives));
        }
        let table = LifeTable::map(&KIND, &fd)?;
        let lives = Arc::new(Self { table, file, own: Annex::new()?, joined: AtomicU64::new(0), owner: AtomicU64::new(0) });
        if let Some(known) = &mut known {
            known.push(Arc::clone(&lives));
        }
        Ok(lives)
    }

    /// This process's life: never 0, and the same until it forks. From here on a living thread owns its word. No call is being made.
    ///
    /// # Errors
    ///
    /// `LimitReached` where 4096 living processes have one, or this thread owns too many words; `WouldBlock` where somebody was
    /// stopped while joining; errors of the system.
    #[inline]
    pub(crate) fn mine(&self) -> Result<u32> {
        match self.joined() {
            Some(life) if self.table.word_at(life).load(Relaxed) & TID == self.owner.load(Relaxed) as u32 => Ok(life),
            _ => self.join(Deadline::Now),
        }
    }

    /// As [`Lives::mine`], for those who write it down for good: they wait longer for others that join.
    ///
    /// # Errors
    ///
    /// As [`Lives::mine`], with `TimedOut` for `WouldBlock`.
    pub(crate) fn mine_for_good(&self) -> Result<u32> {
        self.mine().or_else(|_| self.join(Deadline::after(PATIENCE)))
    }

    #[inline]
    fn joined(&self) -> Option<u32> {
        // Acquire: with the Release in `claim`, for the mapping.
        let joined = self.joined.load(Acquire);
        (joined as u32 != 0 && (joined >> 32) as u32 == forks()).then_some(joined as u32)
    }

    /// See [`LifeTable::word`].
    pub(crate) fn word(&self, life: u32) -> Option<&AtomicU32> {
        self.table.word(life)
    }

    /// See [`LifeTable::watch_of`].
    pub(crate) fn watch_of(&self, life: u32, identity: Identity) -> Option<(&AtomicU32, u32)> {
        self.table.watch_of(life, identity)
    }

    /// Whether it looks as if the process lives: a hint, for a life that [`Lives::word`] has been asked for before.
    #[inline]
    pub(crate) fn shows(&self, life: u32, identity: Identity) -> bool {
        self.table.shows(life, identity)
    }

    /// The word that is held to take away the files of a dead process.
    pub(crate) fn files(&self) -> &AtomicU32 {
        &self.table.shared().files
    }

    #[cold]
    fn join(&self, deadline: Deadline) -> Result<u32> {
        let shared = self.table.shared();
        let call = Call::enter(&shared.lock)?;
        call.can_link()?;
        lock::acquire_brief(&call, &shared.lock, lock::Beside::Nothing, deadline)?;
        let claimed = self.joined().map_or_else(|| self.claim(), Ok);
        lock::release(&call, &shared.lock);
        let life = claimed?;
        self.own(&call);
        Ok(life)
    }

    /// Makes this thread the owner of the word, unless another one is and lives. This process has joined.
    fn own(&self, call: &Call<'_>) {
        let (word, owner) = (self.own.word(LIFE_BACK), self.owner.load(Relaxed));
        let me = u64::from(forks()) << 32 | u64::from(call.tid());
        let lives = |tid: u32| tid != 0 && !own_thread_is_gone(tid);
        let seen = word.load(Relaxed) & TID;
        if owner != me && owner >> 32 == me >> 32 && lives(owner as u32) {
            return;
        }
        // This process may have mapped the table twice, and one of its threads own the word through the other mapping.
        let next = if owner != me && lives(seen) { me >> 32 << 32 | u64::from(seen) } else { me };
        if self.owner.compare_exchange(owner, next, Relaxed, Relaxed).is_err() || next != me {
            return;
        }
        call.turn_to(word);
        word.fetch_and(WAITERS, Relaxed);
        word.fetch_or(call.tid(), Relaxed);
        // die here: the word is ours and pending; from here on it may be on the list as well, and is marked once.
        if owner != me {
            // SAFETY: the links fall on memory of this process behind the word, which stays mapped. It is on no list: that of its last
            // owner ended with that thread.
            unsafe { call.link(word) };
        }
    }

    /// Gets an entry for this process: the one it has, or one that is free, or that of a process that is gone. The caller holds the lock.
    fn claim(&self) -> Result<u32> {
        let mine = me();
        let used = self.table.used()?;
        let identity = |life: &u32| Identity(self.table.entry_at(*life).identity.load(Relaxed));
        // This process may have mapped the table twice.
        let own = (1..=used).find(|life| identity(life) == mine.identity);
        let free = || (1..=used).find(|life| identity(life).0 == 0 || identity(life).is_gone(mine.namespace));
        let Some(life) = own.or_else(free).map_or_else(|| self.table.use_next(), |life| Ok(Some(life)))? else {
            return Err(Error::LimitReached(format!("{MAX_LIVES} processes have a life in this namespace")));
        };
        // SAFETY: only who has joined uses the page, and nobody of this process has, since it is this one (after a fork).
        unsafe { self.own.show(self.table.mapping(), self.table.offset(life))? };
        if own.is_none() {
            // die here: the entry is that of a process that is gone, or free.
            self.table.word_at(life).fetch_and(WAITERS, Relaxed);
            self.table.entry_at(life).identity.store(mine.identity.0, Relaxed);
        }
        // Release: with the Acquire in `joined`.
        self.joined.store(u64::from(forks()) << 32 | u64::from(life), Release);
        Ok(life)
    }
}

/// What everybody does who was woken by a life, which was `seen` so before: the kernel wakes one only. If it is the same still,
/// somebody has passed that on already, and would be woken by us, and we by it, for ever.
pub(crate) fn pass_on((life, seen): (&AtomicU32, u32)) {
    if life.load(Relaxed) != seen {
        futex::wake(life, u32::MAX, Kind::Any);
    }
}

/// For how long a process may be about to end, once a life of its has.
#[derive(Debug, Default)]
pub(crate) struct Ending(Option<Instant>);

impl Ending {
    /// How long to sleep at most before the next look, where a life has ended and its process is not gone.
    pub(crate) fn slice(&mut self) -> Duration {
        /// How long a process that was killed may take to end.
        const ENDING: Duration = Duration::from_millis(50);
        let since = *self.0.get_or_insert_with(Instant::now);
        if since.elapsed() < ENDING { Duration::from_millis(1) } else { lock::LOOK }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::waitpid;
    use nix::unistd::{ForkResult, fork};

    fn child(work: impl FnOnce()) -> nix::unistd::Pid {
        // SAFETY: the child only uses this crate and memory, and leaves by `_exit`.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => child,
            ForkResult::Child => {
                work();
                // SAFETY: no preconditions.
                unsafe { libc::_exit(0) }
            }
        }
    }

    #[test]
    fn a_sleeper_wakes_when_a_process_is_killed() {
        let dir = std::path::PathBuf::from(format!("/dev/shm/rsipc-lives-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let lives = Lives::of(&dir).unwrap();
        assert!(Arc::ptr_eq(&lives, &Lives::of(&dir).unwrap()));
        let mine = lives.mine().unwrap();
        assert_eq!(lives.mine(), Ok(mine));
        let life = AtomicU32::new(0);
        for round in 0..20 {
            let (receiver, sender) = nix::unistd::pipe().unwrap();
            let victim = child(|| {
                let mine = lives.mine().unwrap();
                nix::unistd::write(&sender, &mine.to_le_bytes()).unwrap();
                std::thread::sleep(Duration::from_secs(20));
            });
            let mut bytes = [0; 4];
            nix::unistd::read(&receiver, &mut bytes).unwrap();
            let its = u32::from_le_bytes(bytes);
            // The entry of the one killed before is used again.
            assert_eq!(its, mine + 1);
            let (word, seen) = lives.table.watch(its).unwrap();
            let killer = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(5));
                kill(victim, Signal::SIGKILL).unwrap();
                Instant::now()
            });
            let (slept, which) = futex::wait_any(&[(&life, 0), (word, seen)], Duration::from_secs(10)).unwrap();
            let now = Instant::now();
            assert_eq!((slept, which), (futex::Slept::Woken, 1));
            let took = now.saturating_duration_since(killer.join().unwrap());
            println!("round {round}: awake {took:?} after the kill");
            assert!(took < Duration::from_secs(1));
            assert!(lives.table.watch(its).is_none());
            waitpid(victim, None).unwrap();
        }
        // The thread that owned the word ends; another one takes over.
        let other = dir.join("other");
        fs::create_dir(&other).unwrap();
        let there = Lives::of(&other).unwrap();
        let life = std::thread::scope(|scope| scope.spawn(|| there.mine().unwrap()).join().unwrap());
        let end = Instant::now() + Duration::from_secs(10);
        while there.table.watch(life).is_some() || !own_thread_is_gone(there.owner.load(Relaxed) as u32) {
            assert!(Instant::now() < end);
        }
        assert_eq!(there.mine(), Ok(life));
        assert!(there.table.watch(life).is_some());
        // Whoever scribbles on the word does not get this process to put it on a list twice.
        let linked = there.table.word_at(life).swap(0, Relaxed);
        assert_eq!(there.mine(), Ok(life));
        assert_eq!(there.table.word_at(life).load(Relaxed) & TID, linked & TID);
        fs::remove_dir_all(&dir).unwrap();
    }
}
