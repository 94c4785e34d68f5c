//! How processes of several pid namespaces are told apart (`pid_namespaces(7)`).
//!
//! A thread id means something in one pid namespace. In two containers that share a directory there are two threads of the same id, and
//! the kernel goes by nothing else: if one of them dies while it is busy with a lock word that the other one owns, the kernel takes the
//! lock from its living owner. So a process that opens an object of another namespace's makes its users *strangers*: from then on they
//! stand in the object's words by numbers that are no thread ids, which the kernel never touches.
//!
//! These numbers are those of *lives* (`sync::life_table`), in one table for all the pid namespaces that use a directory. Each
//! thread of a stranger begins a life with its first call: two robust words that it alone owns, so that there the kernel's mark
//! can be trusted. The thread stands in the first by its own id, and in the second by its process's: a thread that calls exec has
//! that one by the time the kernel looks. A life has ended when either is marked, and an owner is gone when its life has ended. A
//! process is known by the life of a thread that it starts for this purpose, and which does nothing but live; it is gone when
//! that life and those of all its other threads have ended: a killed process's threads do not end at once.
//!
//! # What survivors see
//!
//! The kernel does not wake them for a death of a stranger: who waits looks after [`lock::LOOK`](crate::sync::lock::LOOK) at the
//! latest, sees that the owner is gone, and does to the word what the kernel would have done. Who waits for messages that others
//! have on lease sleeps on the lives of those, as it would on those of its own namespace.
//!
//! What a process had begun before the first stranger came it ends as it began it, by its own id, which then is known to be gone
//! only in its own pid namespace. There, and wherever something cannot be known, it counts as alive.
//!
//! # Joining
//!
//! Who joins has no number yet to own a lock word with. It holds a record lock on the table's file instead (`fcntl_locking(2)`), which the
//! kernel frees when the process ends, in every pid namespace. Closing any descriptor of that file frees it, too: so only
//! who holds [`OURS`] opens or closes one.

use std::cell::RefCell;
use std::fs;
use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::unistd::gettid;
use parking_lot::{Mutex, MutexGuard};

use crate::error::{Error, Result};
use crate::shm::layout::{LIFE_BACK, SECOND_LIFE_BACK, STRANGERS_TAG};
use crate::sync::life_table::{LifeTable, TableKind};
use crate::sync::lock::{TID, WAITERS};
use crate::sys::file::{self, Annex};
use crate::sys::memory::Ordering::{Acquire, Relaxed, Release, SeqCst};
use crate::sys::memory::{AtomicU32, AtomicU64, fence};
use crate::sys::process::{Identity, MOST_LIVES, PerProcess, own_thread_is_gone};
use crate::sys::spawn::{LOOK_FOR_OTHERS, are_left_alone, spawn_without_signals};
use crate::sys::thread::{Call, Owners, Uncancelled, forks, watch_forks};
use crate::time::Deadline;

const KIND: TableKind = TableKind { tag: STRANGERS_TAG, entries: MOST_LIVES };

/// Set in the owner of a lock word that is a stranger: its life is in the next 12 bits, and the lower bits of how often it was
/// begun in the other
/// 17. Thread ids are below 2^22.
pub(super) const STRANGER: u32 = 1 << 29;
const BEGUN_BITS: u32 = 17;
const BEGUN: u32 = (1 << BEGUN_BITS) - 1;

/// How long to wait for others that join: who does so was stopped.
const PATIENCE: Duration = Duration::from_secs(1);

/// A table's device and inode.
type FileId = (u64, u64);

/// The strangers that share a directory.
pub(crate) struct Strangers {
    table: LifeTable,
    path: PathBuf,
    file: FileId,
    /// This process, by a life.
    process: AtomicU64,
    /// `forks()` when it came to be known so, plus one; 0: it has not.
    known_at: AtomicU32,
}

/// What this process has of all tables.
#[derive(Default)]
struct Ours {
    tables: Vec<Arc<Strangers>>,
    /// For record locks on these tables. A program may close them, and have something else by their numbers.
    fds: Vec<(FileId, ManuallyDrop<OwnedFd>)>,
    /// Who this process is in the tables that are these files.
    known: Vec<(FileId, Identity)>,
    /// Where lives are mapped for the lists of the threads with these ids.
    annexes: Vec<(u32, Annex)>,
}

static OURS: PerProcess<Mutex<Ours>> = PerProcess::new();

/// How a thread stands in the lock words of those who use a table.
struct Standing {
    file: FileId,
    forks: u32,
    owner: u32,
}

thread_local! {
    static STANDINGS: RefCell<Vec<Standing>> = const { RefCell::new(Vec::new()) };
}

fn ours() -> Result<MutexGuard<'static, Ours>> {
    // A signal handler may have interrupted who has it.
    OURS.get().try_lock_for(PATIENCE).ok_or(Error::WouldBlock)
}

impl Strangers {
    /// Those of the directory `dir`, which exists.
    pub(super) fn of(dir: &Path) -> Result<Arc<Self>> {
        watch_forks();
        let _whole = Uncancelled::new();
        let path = dir.join(".strangers");
        let mut ours = ours()?;
        let find = |file| ours.tables.iter().find(|table| table.file == file).map(Arc::clone);
        if let Some(known) = fs::symlink_metadata(&path).ok().and_then(|meta| find((meta.dev(), meta.ino()))) {
            return Ok(known);
        }
        let fd = LifeTable::open_file(&KIND, dir, &path)?;
        let file = file::identity(&fd)?;
        if let Some(known) = find(file) {
            return Ok(known);
        }
        let table = LifeTable::map(&KIND, &fd)?;
        let strangers = Arc::new(Self { table, path, file, process: AtomicU64::new(0), known_at: AtomicU32::new(0) });
        // It stays there, and so does its descriptor.
        ours.fds.push((file, ManuallyDrop::new(fd)));
        ours.tables.push(Arc::clone(&strangers));
        Ok(strangers)
    }

    pub(super) fn enter<'a>(self: &Arc<Self>, owners: &'a dyn Owners) -> Result<Call<'a>> {
        let standing = self.process().and_then(|_| self.known_standing());
        let standing = match standing {
            Some(standing) => standing,
            None => self.join()?,
        };
        Call::enter_unseen(standing, owners)
    }

    #[cold]
    fn join(self: &Arc<Self>) -> Result<u32> {
        // A signal handler that interrupted a call does not join.
        drop(Call::enter_nowhere()?);
        self.make_known()?;
        self.standing()
    }

    /// This process, once it has entered a call.
    pub(super) fn process(&self) -> Option<Identity> {
        // Acquire: with the Release in `make_known`.
        (self.known_at.load(Acquire) == forks().wrapping_add(1)).then(|| Identity(self.process.load(Relaxed)))
    }

    /// How the calling thread stands in lock words, if it does.
    pub(super) fn known_standing(&self) -> Option<u32> {
        let known = |standing: &&Standing| standing.file == self.file && standing.forks == forks();
        let find = |all: &RefCell<Vec<Standing>>| all.try_borrow().ok()?.iter().find(known).map(|standing| standing.owner);
        STANDINGS.try_with(find).ok().flatten()
    }

    /// How the calling thread stands in lock words from here on.
    fn standing(&self) -> Result<u32> {
        if let Some(owner) = self.known_standing() {
            return Ok(owner);
        }
        let ending = |_| Error::Unsupported("this thread is about to end, and begins no life for an object of strangers".into());
        let life = self.begin_life(self.process())?;
        let owner = STRANGER | life.life().unwrap_or_default() << BEGUN_BITS | life.begun() as u32 & BEGUN;
        let add = |all: &RefCell<Vec<Standing>>| {
            let mut all = all.try_borrow_mut().map_err(|_| Error::Reentrant)?;
            all.retain(|standing| standing.forks == forks());
            all.push(Standing { file: self.file, forks: forks(), owner });
            Ok(owner)
        };
        STANDINGS.try_with(add).map_err(ending)?
    }

    /// Sees to it that this process is known by the life of a thread.
    #[cold]
    fn make_known(self: &Arc<Self>) -> Result<()> {
        static ONE_AT_A_TIME: PerProcess<Mutex<()>> = PerProcess::new();
        let _whole = Uncancelled::new();
        let _one = ONE_AT_A_TIME.get().try_lock_for(PATIENCE).ok_or(Error::WouldBlock)?;
        if self.process().is_some() {
            return Ok(());
        }
        // A handle from before a fork has its parent's table, and others the child's.
        let known = ours()?.known.iter().find(|(file, _)| *file == self.file).map(|(_, life)| *life);
        let life = match known {
            Some(life) => life,
            None => self.start_to_live()?,
        };
        self.process.store(life.0, Relaxed);
        // Release: with the Acquire in `process`.
        self.known_at.store(forks().wrapping_add(1), Release);
        Ok(())
    }

    /// Starts a thread that lives until its process ends, or all others of it have ended; says by what life.
    fn start_to_live(self: &Arc<Self>) -> Result<Identity> {
        let (tell, told) = channel();
        let this = Arc::clone(self);
        spawn_without_signals(c"rsipc-life", move || {
            let life = this.begin_life(None);
            let failed = life.is_err();
            // Who started it waits.
            let _ = tell.send(life);
            while !failed && !are_left_alone() {
                sleep(LOOK_FOR_OTHERS);
            }
        })?;
        told.recv().unwrap_or(Err(Error::WouldBlock))
    }

    /// Begins a life of the calling thread, of a process; without one, it is that by which its process is known.
    #[cold]
    fn begin_life(&self, process: Option<Identity>) -> Result<Identity> {
        let _whole = Uncancelled::new();
        let mut ours = ours()?;
        let Ours { fds, known, annexes, .. } = &mut *ours;
        let _record = RecordLock::wait_for(self.fd_among(fds)?)?;
        let begun = |life: u32| Identity(self.table.entry_at(life).identity.load(Relaxed)).begun();
        let own_tid = gettid().as_raw().cast_unsigned();
        // That which was begun least often: so often are there as many numbers as can be before one comes again.
        let free = (1..=self.table.used()?).filter(|life| self.is_free(*life, own_tid)).min_by_key(|life| begun(*life));
        let Some(life) = free.map_or_else(|| self.table.use_next(), |life| Ok(Some(life)))? else {
            return Err(Error::LimitReached(format!(
                "{MOST_LIVES} threads of several pid namespaces have a life in this directory"
            )));
        };
        let at = match annexes.iter().position(|(tid, _)| *tid == 0 || own_thread_is_gone(*tid)) {
            Some(at) => at,
            None => {
                annexes.push((0, Annex::new()?));
                annexes.len() - 1
            }
        };
        let (tid, annex) = &mut annexes[at];
        // SAFETY: the thread that used the page has ended, or none ever did.
        unsafe { annex.show(self.table.mapping(), self.table.offset(life))? };
        let (word, second, entry) = (annex.word(LIFE_BACK), annex.word(SECOND_LIFE_BACK), self.table.entry_at(life));
        let call = Call::enter(second)?;
        call.can_link_two()?;
        let identity = Identity::of_life(life, begun(life).wrapping_add(1));
        entry.process.store(process.unwrap_or(identity).0, Relaxed);
        entry.identity.store(identity.0, Relaxed);
        // die here: the entry is free, and so it is until the first word is ours: that is not owned, or by a thread that is gone.
        word.fetch_and(WAITERS, Relaxed);
        entry.process_id.store(std::process::id(), Relaxed);
        second.store(std::process::id(), Relaxed);
        // SAFETY: the links fall on memory of this process behind the words, each 16 bytes, which stays mapped. They are on no
        // list: that of their last owner ended with that thread.
        unsafe {
            // The kernel comes to them in reverse: it is done with both when the first word is marked (`is_free`).
            call.link(word);
            call.link(second);
        }
        // Release: with the Acquire in `lives`: who sees that it is owned sees whose it is.
        word.fetch_or(call.tid(), Release);
        // die here: the kernel marks both words, or one.
        *tid = call.tid();
        if process.is_none() {
            known.push((self.file, identity));
        }
        // With that in `has_ended` and `is_gone`: who sees this life in another word, which we store later, sees that it has begun.
        fence(SeqCst);
        Ok(identity)
    }

    /// The descriptor of the table's file.
    fn fd_among<'a>(&self, fds: &'a mut Vec<(FileId, ManuallyDrop<OwnedFd>)>) -> Result<&'a OwnedFd> {
        // One that was closed is not ours to close. A child of fork has none yet for a handle from before.
        fds.retain(|(file, fd)| *file != self.file || file::identity(fd) == Ok(self.file));
        let at = match fds.iter().position(|(file, _)| *file == self.file) {
            Some(at) => at,
            None => {
                let removed = || Error::Unsupported(format!("the table of strangers {} was removed", self.path.display()));
                let again = file::open_named(&self.path)?.filter(|fd| file::identity(fd) == Ok(self.file)).ok_or_else(removed)?;
                fds.push((self.file, ManuallyDrop::new(again)));
                fds.len() - 1
            }
        };
        Ok(&fds[at].1)
    }

    /// Whether a life goes on, for one that has memory.
    fn lives(&self, life: u32) -> bool {
        // Acquire: with the Release in `begin_life`.
        self.table.word_at(life).load(Acquire) & TID != 0 && self.table.second_at(life).load(Relaxed) & TID != 0
    }

    /// Whether the thread with the id `own_tid` may begin a life anew: the old one has ended, and the kernel will not mark the
    /// new one's words for the old one's end. Ids of several namespaces are equal often, and a thread may wait for a processor on
    /// its way out, between its words.
    fn is_free(&self, life: u32, own_tid: u32) -> bool {
        // Acquire: as in `lives`.
        let owner = self.table.word_at(life).load(Acquire) & TID;
        if owner == 0 {
            // The kernel comes to this one last.
            return true;
        }
        // If the other one alone is marked, then the thread has called exec, and has its process's id now. If it always had, this
        // one is about to be marked.
        let process_id = self.table.entry_at(life).process_id.load(Relaxed);
        self.table.second_at(life).load(Relaxed) & TID == 0 && ![owner, own_tid].contains(&process_id)
    }

    /// Whether the life has ended that stands in a lock word.
    pub(super) fn has_ended(&self, owner: u32) -> bool {
        let life = (owner & !STRANGER) >> BEGUN_BITS;
        // With that in `begin_life`.
        fence(SeqCst);
        self.table.word(life).is_some()
            && (!self.lives(life)
                || Identity(self.table.entry_at(life).identity.load(Relaxed)).begun() as u32 & BEGUN != owner & BEGUN)
    }

    /// Whether the process that is known by a life has ended.
    pub(super) fn is_gone(&self, identity: Identity) -> bool {
        let Some(life) = identity.life().filter(|&life| self.table.word(life).is_some()) else { return false };
        // With that in `begin_life`.
        fence(SeqCst);
        if self.lives(life) && self.table.entry_at(life).identity.load(Relaxed) == identity.0 {
            return false;
        }
        let Ok(used) = self.table.used() else { return false };
        !(1..=used).any(|life| self.lives(life) && self.table.entry_at(life).process.load(Relaxed) == identity.0)
    }

    /// The life to sleep on, to see its end, and what it is until then; None where that has ended.
    pub(super) fn watch(&self, identity: Identity) -> Option<(&AtomicU32, u32)> {
        self.table.watch_of(identity.life()?, identity)
    }

    /// How the table is called in an object's header: never 0.
    pub(super) fn number(&self) -> u32 {
        self.table.shared().number.load(Relaxed).max(1)
    }
}

/// A record lock on a table's file.
struct RecordLock<'a>(&'a OwnedFd);

impl<'a> RecordLock<'a> {
    fn set(fd: &OwnedFd, kind: libc::c_int) -> nix::Result<()> {
        // SAFETY: all zeros is a lock of the whole file.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = kind as libc::c_short;
        fcntl(fd, FcntlArg::F_SETLK(&lock)).map(drop)
    }

    fn wait_for(fd: &'a OwnedFd) -> Result<Self> {
        let deadline = Deadline::after(PATIENCE);
        loop {
            match Self::set(fd, libc::F_WRLCK) {
                Ok(()) => return Ok(Self(fd)),
                Err(Errno::EAGAIN | Errno::EACCES) => {
                    sleep(deadline.left(Duration::from_millis(1)).map_err(|_| Error::WouldBlock)?)
                }
                Err(Errno::EINTR) => {}
                Err(e) => return Err(Error::os(e as i32, "locking the table of strangers")),
            }
        }
    }
}

impl Drop for RecordLock<'_> {
    fn drop(&mut self) {
        // It cannot fail, and would end with this process.
        let _ = Self::set(self.0, libc::F_UNLCK);
    }
}
