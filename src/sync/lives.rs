//! Lives: for each process a word that the kernel marks when the process ends, for others to sleep on.
//!
//! A wait that only a process's death can end, such as that for a reply, sleeps on the word of what it waits for and on that process's
//! life at once (`futex_waitv(2)`). A life is a robust lock word that one thread of its process owns for good, so the kernel
//! marks it and wakes one sleeper when that thread ends; that sleeper wakes the others ([`pass_on`]). It is a hint: whether the process
//! is gone only [`Identity::is_gone`](crate::sys::process::Identity::is_gone) says. A thread may end before its process does; then the next call
//! of another thread makes that one the owner ([`Lives::mine`]). A program that was started by exec joins again, with the same entry.
//!
//! The table is a file of the namespace's directory, one for each pid namespace, whose pages get memory when they are first used. An
//! entry is a page, with the word at its end. A thread's robust list leads through memory next to the word, which must not be
//! memory that others can write to. So the owner maps the entry's page once more, with private memory right behind it ([`Annex`]).
//!
//! # How to sleep on a life without missing its end
//!
//! First [`Lives::watch`], then ask whether the process is gone, then sleep on what `watch` gave. Should the process end after it was asked for, the
//! word is another one, and there is no sleep. Where `watch` gives nothing, the owner thread has ended: the process will be gone in
//! a moment, unless it has other threads. [`Ending`] says how long to sleep then.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::shm::layout::{LIFE_BACK, LIVES_TAG, LifeLayout, LivesLayout, MAX_LIVES};
use crate::shm::{self, Shared};
use crate::sync::lock::{self, TID, WAITERS};
use crate::sys::file::{self, Annex, Mapping, page_size};
use crate::sys::futex::{self, Kind};
use crate::sys::memory::Ordering::{Acquire, Relaxed, Release};
use crate::sys::memory::{AtomicU32, AtomicU64};
use crate::sys::process::{Identity, PerProcess, me, thread_is_gone};
use crate::sys::thread::{Call, forks};
use crate::time::Deadline;

/// The lives of the processes that use one directory.
pub(crate) struct Lives {
    table: Shared<LivesLayout>,
    /// The table's device and inode.
    file: (u64, u64),
    /// Where this process's entry is mapped for the list.
    own: Annex,
    /// This process's entry, plus one, in the lower half; in the upper one `forks()` when it joined.
    joined: AtomicU64,
    /// The thread that has the word on its list, in the same way; 0: none. What the shared word says can be anybody's work.
    owner: AtomicU64,
}

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
        let namespace = me().namespace;
        if namespace == 0 {
            return Err(Error::Unsupported("the pid namespace of this process cannot be known: is /proc mounted?".into()));
        }
        let path = dir.join(format!(".lives-{namespace}"));
        let whole = (1 + MAX_LIVES) * page_size();
        let fd = loop {
            if let Some(fd) = file::open_named(&path)? {
                break fd;
            }
            create(dir, &path, whole)?;
        };
        let file = file::identity(&fd)?;
        // A signal handler may have interrupted who has the lock. Then the table is mapped once more.
        let mut known = KNOWN.get().try_lock_for(PATIENCE);
        if let Some(lives) = known.iter().flat_map(|known| known.iter()).find(|lives| lives.file == file) {
            return Ok(Arc::clone(lives));
        }
        if file::size(&fd)? < whole {
            return Err(Error::Corrupted("the table of lives was cut short"));
        }
        let table = Shared::<LivesLayout>::new(Arc::new(Mapping::new(&fd, whole)?), 0)?;
        table.mapping().populate(0, size_of::<LivesLayout>())?;
        // Acquire: with the Release in `create`.
        if table.tag.load(Acquire) != LIVES_TAG {
            return Err(Error::Corrupted("this is no table of lives, or that of another release"));
        }
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
    /// `LimitReached` where 4096 living processes have one, or this thread owns too many words; `WouldBlock` where somebody was stopped while
    /// joining; errors of the system.
    #[inline]
    pub(crate) fn mine(&self) -> Result<u32> {
        match self.joined() {
            Some(life) if self.word_at(life).load(Relaxed) & TID == self.owner.load(Relaxed) as u32 => Ok(life),
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

    /// The word of a life, to be slept on; None where there is no such life.
    pub(crate) fn word(&self, life: u32) -> Option<&AtomicU32> {
        let index = (life as usize).checked_sub(1).filter(|&index| index < MAX_LIVES)?;
        let start = (1 + index) * page_size();
        self.table.mapping().populate(start, start + page_size()).ok()?;
        Some(self.word_at(life))
    }

    /// The word of a life, and what it is while its process lives. None where the thread that owned it has ended, or there is none.
    pub(crate) fn watch(&self, life: u32) -> Option<(&AtomicU32, u32)> {
        let word = self.word(life)?;
        // die here: WAITERS without a waiter.
        let seen = word.fetch_or(WAITERS, Relaxed) | WAITERS;
        (seen & TID != 0).then_some((word, seen))
    }

    /// As [`Lives::watch`], if the life is that process's.
    pub(crate) fn watch_of(&self, life: u32, identity: Identity) -> Option<(&AtomicU32, u32)> {
        self.watch(life).filter(|_| self.entry_at(life).identity.load(Relaxed) == identity.0)
    }

    /// Whether it looks as if the process lives: a hint, for a life that [`Lives::word`] has been asked for before.
    #[inline]
    pub(crate) fn shows(&self, life: u32, identity: Identity) -> bool {
        (1..=MAX_LIVES as u32).contains(&life)
            && self.word_at(life).load(Relaxed) & TID != 0
            && self.entry_at(life).identity.load(Relaxed) == identity.0
    }

    /// The word that is held to take away the files of a dead process.
    pub(crate) fn files(&self) -> &AtomicU32 {
        &self.table.files
    }

    fn word_at(&self, life: u32) -> &AtomicU32 {
        shm::at(self.table.mapping(), (1 + life as usize) * page_size() - LIFE_BACK)
    }

    fn entry_at(&self, life: u32) -> &LifeLayout {
        shm::at(self.table.mapping(), life as usize * page_size())
    }

    #[cold]
    fn join(&self, deadline: Deadline) -> Result<u32> {
        let shared = &*self.table;
        let call = Call::enter(&shared.lock)?;
        call.can_link()?;
        lock::acquire_brief(&call, &shared.lock, deadline)?;
        let claimed = self.joined().map_or_else(|| self.claim(), Ok);
        lock::release(&call, &shared.lock);
        let life = claimed?;
        self.own(&call);
        Ok(life)
    }

    /// Makes this thread the owner of the word, unless another one is and lives. This process has joined.
    fn own(&self, call: &Call) {
        let (word, owner) = (self.own.word(LIFE_BACK), self.owner.load(Relaxed));
        let me = u64::from(forks()) << 32 | u64::from(call.tid());
        let lives = |tid: u32| tid != 0 && !thread_is_gone(tid);
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
        let (shared, mapping, page) = (&*self.table, self.table.mapping(), page_size());
        let mine = me();
        let used = shared.used.load(Relaxed).min(MAX_LIVES as u32);
        mapping.populate(page, (1 + used as usize) * page)?;
        let identity = |life: &u32| Identity(self.entry_at(*life).identity.load(Relaxed));
        // This program may have been started by exec, or have mapped the table twice.
        let own = (1..=used).find(|life| identity(life) == mine.identity);
        let life = match own.or_else(|| (1..=used).find(|life| identity(life).0 == 0 || identity(life).is_gone(mine.namespace))) {
            Some(life) => life,
            None if used as usize == MAX_LIVES => {
                return Err(Error::LimitReached(format!("{MAX_LIVES} processes have a life in this namespace")));
            }
            None => {
                mapping.populate((1 + used as usize) * page, (2 + used as usize) * page)?;
                shared.used.store(used + 1, Relaxed);
                used + 1
            }
        };
        // SAFETY: only who has joined uses the page, and nobody of this process has, since it is this one (after a fork).
        unsafe { self.own.show(mapping, life as usize * page)? };
        if own.is_none() {
            // die here: the entry is that of a process that is gone, or free.
            self.word_at(life).fetch_and(WAITERS, Relaxed);
            self.entry_at(life).identity.store(mine.identity.0, Relaxed);
        }
        // Release: with the Acquire in `joined`.
        self.joined.store(u64::from(forks()) << 32 | u64::from(life), Release);
        Ok(life)
    }
}

/// Makes an empty table, unless another process has made one.
fn create(dir: &Path, path: &Path, whole: usize) -> Result<()> {
    // Whoever may make files in the directory may have a life there.
    let mode = fs::metadata(dir).map_or(0o700, |meta| meta.mode()) & 0o666 | 0o600;
    let fd = file::create_without_name(dir, mode)?;
    file::set_len(&fd, whole)?;
    let table = Shared::<LivesLayout>::new(Arc::new(Mapping::new(&fd, whole)?), 0)?;
    table.mapping().populate(0, size_of::<LivesLayout>())?;
    // Release: with the Acquire in `of`.
    table.tag.store(LIVES_TAG, Release);
    // die here: the file has no name yet, and goes with this process.
    file::publish(&fd, path).map(drop)
}

/// What everybody does who was woken by a life, which was `seen` so before: the kernel wakes one only. If it is the same still, somebody has passed
/// that on already, and would be woken by us, and we by it, for ever.
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
            let (word, seen) = lives.watch(its).unwrap();
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
            assert!(lives.watch(its).is_none());
            waitpid(victim, None).unwrap();
        }
        // The thread that owned the word ends; another one takes over.
        let other = dir.join("other");
        fs::create_dir(&other).unwrap();
        let there = Lives::of(&other).unwrap();
        let life = std::thread::scope(|scope| scope.spawn(|| there.mine().unwrap()).join().unwrap());
        let end = Instant::now() + Duration::from_secs(10);
        while there.watch(life).is_some() || !thread_is_gone(there.owner.load(Relaxed) as u32) {
            assert!(Instant::now() < end);
        }
        assert_eq!(there.mine(), Ok(life));
        assert!(there.watch(life).is_some());
        // Whoever scribbles on the word does not get this process to put it on a list twice.
        let linked = there.word_at(life).swap(0, Relaxed);
        assert_eq!(there.mine(), Ok(life));
        assert_eq!(there.word_at(life).load(Relaxed) & TID, linked & TID);
        fs::remove_dir_all(&dir).unwrap();
    }
}
