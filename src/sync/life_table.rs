//! A table of life words, in a file of a directory: the part that [`lives`](crate::sync::lives) and
//! [`strangers`](crate::sync::strangers) share.
//!
//! A life word is a robust lock word that one thread owns for good, so the kernel marks it and wakes one sleeper when that thread ends. An
//! entry is a page, which gets memory when it is first used, with the word at its end: a thread's robust list leads through memory next
//! to the word, which must not be memory that others can write to. So the owner maps the entry's page once more, with private memory right
//! behind it ([`Annex`](crate::sys::file::Annex)).

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::shm::layout::{LIFE_BACK, LifeLayout, LivesLayout, SECOND_LIFE_BACK};
use crate::shm::{self, Shared};
use crate::sync::lock::{TID, WAITERS};
use crate::sys::file::{self, Mapping, page_size};
use crate::sys::memory::AtomicU32;
use crate::sys::memory::Ordering::{Acquire, Relaxed, Release};
use crate::sys::process::Identity;

/// What kind of table it is.
pub(crate) struct TableKind {
    /// How it begins.
    pub(crate) tag: u64,
    /// How many entries it has.
    pub(crate) entries: u32,
}

/// A table, mapped. Its entries have the numbers from 1 on; 0 is none.
pub(crate) struct LifeTable {
    shared: Shared<LivesLayout>,
    entries: u32,
}

impl LifeTable {
    /// Opens the file of a table, which is made if there is none.
    pub(crate) fn open_file(kind: &TableKind, dir: &Path, path: &Path) -> Result<OwnedFd> {
        loop {
            if let Some(fd) = file::open_named(path)? {
                return Ok(fd);
            }
            create(kind, dir, path)?;
        }
    }

    /// Maps a table.
    pub(crate) fn map(kind: &TableKind, fd: &OwnedFd) -> Result<Self> {
        if file::size(fd)? < len(kind) {
            return Err(Error::Corrupted("the table of lives was cut short"));
        }
        let shared = Shared::<LivesLayout>::new(Arc::new(Mapping::new(fd, len(kind))?), 0)?;
        shared.mapping().populate(0, size_of::<LivesLayout>())?;
        // Acquire: with the Release in `create`.
        if shared.tag.load(Acquire) != kind.tag {
            return Err(Error::Corrupted("this is no table of lives, or that of another release"));
        }
        Ok(Self { shared, entries: kind.entries })
    }

    pub(crate) fn shared(&self) -> &LivesLayout {
        &self.shared
    }

    pub(crate) fn mapping(&self) -> &Mapping {
        self.shared.mapping()
    }

    /// So many entries have ever been used, those with the lowest numbers; they have memory after this.
    pub(crate) fn used(&self) -> Result<u32> {
        let used = self.shared.used.load(Relaxed).min(self.entries);
        self.mapping().populate(page_size(), self.offset(used + 1))?;
        Ok(used)
    }

    /// Takes the first entry into use that never was, if there is one.
    pub(crate) fn use_next(&self) -> Result<Option<u32>> {
        let next = self.shared.used.load(Relaxed).saturating_add(1);
        if next > self.entries {
            return Ok(None);
        }
        self.mapping().populate(self.offset(next), self.offset(next + 1))?;
        self.shared.used.store(next, Relaxed);
        Ok(Some(next))
    }

    /// Where an entry's page begins.
    pub(crate) fn offset(&self, life: u32) -> usize {
        life as usize * page_size()
    }

    /// The word of a life, to be slept on; None where there is no such life.
    pub(crate) fn word(&self, life: u32) -> Option<&AtomicU32> {
        if !(1..=self.entries).contains(&life) {
            return None;
        }
        self.mapping().populate(self.offset(life), self.offset(life + 1)).ok()?;
        Some(self.word_at(life))
    }

    /// The word of a life, and what it is while its thread lives. None where that has ended, or there is none.
    pub(crate) fn watch(&self, life: u32) -> Option<(&AtomicU32, u32)> {
        let word = self.word(life)?;
        // die here: WAITERS without a waiter.
        let seen = word.fetch_or(WAITERS, Relaxed) | WAITERS;
        (seen & TID != 0).then_some((word, seen))
    }

    /// As [`LifeTable::watch`], if the life is that process's.
    pub(crate) fn watch_of(&self, life: u32, identity: Identity) -> Option<(&AtomicU32, u32)> {
        self.watch(life).filter(|_| self.entry_at(life).identity.load(Relaxed) == identity.0)
    }

    /// Whether the life has an owner, and is that process's; for a life that [`LifeTable::word`] has been asked for before.
    #[inline]
    pub(crate) fn shows(&self, life: u32, identity: Identity) -> bool {
        (1..=self.entries).contains(&life)
            && self.word_at(life).load(Relaxed) & TID != 0
            && self.entry_at(life).identity.load(Relaxed) == identity.0
    }

    /// The word of an entry that has memory.
    pub(crate) fn word_at(&self, life: u32) -> &AtomicU32 {
        shm::at(self.mapping(), self.offset(life + 1) - LIFE_BACK)
    }

    /// The second word of an entry that has memory (`sync::strangers`).
    pub(crate) fn second_at(&self, life: u32) -> &AtomicU32 {
        shm::at(self.mapping(), self.offset(life + 1) - SECOND_LIFE_BACK)
    }

    /// An entry that has memory.
    pub(crate) fn entry_at(&self, life: u32) -> &LifeLayout {
        shm::at(self.mapping(), self.offset(life))
    }
}

fn len(kind: &TableKind) -> usize {
    (1 + kind.entries as usize) * page_size()
}

/// Makes an empty table, unless another process has made one.
fn create(kind: &TableKind, dir: &Path, path: &Path) -> Result<()> {
    // Whoever may make files in the directory may have a life there.
    let mode = fs::metadata(dir).map_or(0o700, |meta| meta.mode()) & 0o666 | 0o600;
    let fd = file::create_without_name(dir, mode)?;
    file::set_len(&fd, len(kind))?;
    let table = Shared::<LivesLayout>::new(Arc::new(Mapping::new(&fd, len(kind))?), 0)?;
    table.mapping().populate(0, size_of::<LivesLayout>())?;
    table.number.store((RandomState::new().build_hasher().finish() as u32).max(1), Relaxed);
    // Release: with the Acquire in `map`.
    table.tag.store(kind.tag, Release);
    // die here: the file has no name yet, and goes with this process.
    file::publish(&fd, path).map(drop)
}
