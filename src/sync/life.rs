//! A process's word that the kernel marks when it dies, for others to sleep on.
//!
//! Whoever waits for what another process holds (permits) wants to know at once when that process dies. So a process that holds such things
//! keeps a *life word*: a robust lock word in a small file of its own beside the objects, owned for good by the thread that made it.
//! When that thread ends the kernel marks the word and wakes who sleeps on it, who then asks whether the process is gone. The word
//! is a hint: a thread may end before its process does (the next call of another thread makes that one the owner), and
//! where there is no word, those who wait look for themselves every so often.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::shm::layout::Layout;
use crate::shm::{Home, Shared};
use crate::sync::lock::{TID, WAITERS};
use crate::sys::file::{self, Mapping};
use crate::sys::process::{Identity, pid_namespace};
use crate::sys::thread::{Call, LINKS_LEN, forks};

/// The contents of a life file.
#[repr(C, align(8))]
struct LifeLayout {
    /// `MAGIC`.
    magic: AtomicU32,
    /// The pid namespace of the process.
    namespace: AtomicU32,
    /// A robust lock word (`sync::lock`).
    word: AtomicU32,
    /// Where the owner's C library has the robust list's links.
    links: [AtomicU32; LINKS_LEN / 4],
}

const MAGIC: u32 = u32::from_le_bytes(*b"rslf");
const PREFIX: &str = ".life-";

// SAFETY: atomics only.
unsafe impl Layout for LifeLayout {}

/// A process's life word, mapped.
pub(crate) struct Life(Shared<LifeLayout>);

/// This process's life words, by directory, and `forks()` when they were made. They stay mapped until it ends, since its robust list
/// leads through them.
static MINE: Mutex<(u32, BTreeMap<PathBuf, &'static Life>)> = Mutex::new((0, BTreeMap::new()));

impl Life {
    /// Makes sure that this process has a life word beside the objects in `home`. Whoever may open those may watch our life.
    pub(crate) fn mine(home: &Home) -> Result<&'static Self> {
        // In a child of fork it may be held by a thread that does not exist there: then the child has no life word.
        let mut mine = MINE.try_lock_for(Duration::from_secs(1)).ok_or(Error::Reentrant)?;
        let (of, lives) = &mut *mine;
        if *of != forks() {
            // They are the parent's.
            lives.clear();
            *of = forks();
        }
        if let Some(life) = lives.get(&home.dir) {
            life.arm()?;
            return Ok(life);
        }
        let life = Box::leak(Box::new(Self::create(home)?));
        lives.insert(home.dir.clone(), life);
        Ok(life)
    }

    fn create(home: &Home) -> Result<Self> {
        remove_of_the_dead(&home.dir);
        let fd = file::create_without_name(&home.dir, home.mode)?;
        let len = size_of::<LifeLayout>();
        file::set_len(&fd, len)?;
        let mapping = Arc::new(Mapping::new(&fd, len)?);
        mapping.populate(0, len)?;
        let life = Self(Shared::new(mapping, 0, None)?);
        life.0.namespace.store(pid_namespace(), Relaxed);
        life.0.magic.store(MAGIC, Relaxed);
        life.arm()?;
        // die here: a file without a name goes with us.
        if !file::publish(&fd, &path(&home.dir, Identity::mine()))? {
            // One of our threads, or one before an exec, made it: the word is only a hint.
            return Err(Error::LimitReached("this process has a life word already".into()));
        }
        Ok(life)
    }

    /// Whether the word has an owner.
    pub(crate) fn is_armed(&self) -> bool {
        self.0.word.load(Relaxed) & TID != 0
    }

    /// Makes this thread the owner of a word that has none.
    fn arm(&self) -> Result<()> {
        let word = &self.0.word;
        if self.is_armed() {
            return Ok(());
        }
        let call = Call::enter(word)?;
        if call.links_fit() && word.compare_exchange(word.load(Relaxed) & !TID, call.tid(), Relaxed, Relaxed).is_ok() {
            // SAFETY: the links are behind the word, and this process never unmaps them. The thread that had it on its list is gone.
            unsafe { call.link(word) };
        }
        Ok(())
    }

    /// The life word of another process, if it has one here.
    pub(crate) fn of(dir: &Path, process: Identity) -> Option<Self> {
        let fd = file::open_named(&path(dir, process)).ok()??;
        let len = size_of::<LifeLayout>();
        if file::size_and_mode(&fd).ok()?.0 < len {
            return None;
        }
        let life = Self(Shared::new(Arc::new(Mapping::new(&fd, len).ok()?), 0, None).ok()?);
        (life.0.magic.load(Relaxed) == MAGIC).then_some(life)
    }

    /// The word to sleep on, with the value that it has while the process lives; None where nothing will be woken there.
    pub(crate) fn watch(&self) -> Option<(&AtomicU32, u32)> {
        let word = &self.0.word;
        // die here: WAITERS without a waiter.
        let seen = word.fetch_or(WAITERS, Relaxed) | WAITERS;
        (seen & TID != 0).then_some((word, seen))
    }
}

fn path(dir: &Path, process: Identity) -> PathBuf {
    dir.join(format!("{PREFIX}{:x}", process.0))
}

/// Removes the life file of a process that is gone.
pub(crate) fn remove(dir: &Path, process: Identity) {
    // It may have had none, or somebody else was faster.
    let _ = std::fs::remove_file(path(dir, process));
}

/// Removes the life files of processes that are gone.
fn remove_of_the_dead(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(process) = name.to_str().and_then(|name| u64::from_str_radix(name.strip_prefix(PREFIX)?, 16).ok()) else {
            continue;
        };
        let process = Identity(process);
        // Of a process in another namespace nothing is known.
        if Life::of(dir, process).is_some_and(|life| process.is_gone(life.0.namespace.load(Relaxed))) {
            remove(dir, process);
        }
    }
}
