//! The files of addresses in a namespace's directory, and how those of the dead go.
//!
//! An address's file is an inbox: a queue with an owner. A chosen name is a second link to it. Since the file's name has the
//! process's start time in it, no other process ever has a file of that name, and whoever comes upon one of a dead process takes it
//! away. A chosen name is used again by others. So whoever takes one away holds a lock, under which it looks whether the name still
//! is that of the dead one's inbox. Names go first, so that an inbox without its names is one that nobody finds but by its address.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::direct::address::Address;
use crate::error::{Error, Result};
use crate::name::{Name, Namespace};
use crate::queue::Queue;
use crate::shm;
use crate::sync::lives::Lives;
use crate::sync::lock;
use crate::sys::process::{Identity, me};
use crate::sys::thread::{Call, Uncancelled};
use crate::time::Deadline;

pub(super) struct Place {
    pub(super) namespace: Namespace,
    pub(super) dir: PathBuf,
    pub(super) id: DirId,
    pub(super) lives: Arc<Lives>,
}

/// A directory's device and inode.
pub(super) type DirId = (u64, u64);

/// A file in the directory, and its inode.
type File = (String, u64);

impl Place {
    /// The place of that name, whose directory is made if need be.
    pub(super) fn of(name: &Name<'_>) -> Result<Self> {
        let dir = name.make_dir()?;
        let meta = fs::metadata(&dir).map_err(|e| os(&e, format!("looking at {}", dir.display())))?;
        let namespace = Namespace::at(&dir).mode(name.mode()?);
        Ok(Self { namespace, id: (meta.dev(), meta.ino()), lives: Lives::of(&dir)?, dir })
    }

    /// This process's life, which a living thread owns from here on; 0: none.
    #[inline]
    pub(super) fn life(&self) -> u32 {
        self.lives.mine().unwrap_or(0)
    }

    /// As [`Place::life`], to be written down in a new inbox.
    pub(super) fn life_for_good(&self) -> u32 {
        self.lives.mine_for_good().unwrap_or(0)
    }

    pub(super) fn path(&self, address: Address) -> PathBuf {
        self.dir.join(address.file_name())
    }

    /// The inbox of an address.
    pub(super) fn open(&self, address: Address) -> Result<Queue> {
        Queue::open_owned(&self.namespace.address(&address.file_name()))
    }

    /// The addresses in the directory.
    pub(super) fn addresses(&self) -> Result<Vec<Address>> {
        Ok(self.files()?.iter().filter_map(|(name, _)| Address::of_file(name)).collect())
    }

    fn files(&self) -> Result<Vec<File>> {
        let entries = fs::read_dir(&self.dir).map_err(|e| os(&e, format!("listing {}", self.dir.display())))?;
        Ok(entries.filter_map(|entry| entry.ok().and_then(|e| Some((e.file_name().into_string().ok()?, e.ino())))).collect())
    }

    /// Takes away the files of processes that are gone: of all of them, or of one.
    pub(super) fn clear(&self, only: Option<Identity>) {
        let _uncancelled = Uncancelled::new();
        let (Ok(files), here) = (self.files(), me().namespace) else { return };
        let mut known = HashMap::new();
        let mut is_gone = |identity: Identity| *known.entry(identity.0).or_insert_with(|| identity.is_gone(here));
        let mut dead = Vec::new();
        for file in &files {
            if let Some(address) = Address::of_file(&file.0)
                && only.is_none_or(|only| address.identity() == only)
                && is_gone(address.identity())
                // In another pid namespace it may be the identity of somebody who lives.
                && shm::namespace_of_file(&self.path(address)) == Some(here)
            {
                dead.push(file);
            }
        }
        if dead.is_empty() {
            return;
        }
        // Where somebody is in the way the next one will.
        let _ = self.locked(|| {
            // One that another has cleared meanwhile may have left its inode to a newer file.
            for (file, inode) in dead.into_iter().filter(|(file, inode)| self.is_of(file, *inode)) {
                for (name, _) in files.iter().filter(|(name, other)| other == inode && !name.starts_with(['@', '.'])) {
                    self.unlink_if(name, *inode);
                }
                // die here: the next who looks for dead processes comes upon it.
                self.unlink_if(file, *inode);
            }
        });
    }

    /// Takes a chosen name away if its inbox's owner is gone, however it came to be there without its address.
    pub(super) fn clear_name(&self, name: &str) {
        self.clear(None);
        let Ok(Some(inode)) = self.inode(name) else { return };
        // Open until its name is gone, so that no newer file has its inode.
        let Ok(inbox) = Queue::open_owned(&self.namespace.name(name)) else { return };
        if inbox.owner().is_some_and(|owner| owner.identity.is_gone(me().namespace)) {
            let _ = self.remove_name(name, inode);
        }
    }

    /// Takes away the file of an inbox that is closed.
    pub(super) fn remove(&self, address: Address) {
        let _ = fs::remove_file(self.path(address));
    }

    /// Takes a chosen name away if it is that of this file.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where somebody was stopped who takes names away.
    pub(super) fn remove_name(&self, name: &str, inode: u64) -> Result<()> {
        self.locked(|| self.unlink_if(name, inode))
    }

    /// Which file a name is, if there is one.
    pub(super) fn inode(&self, name: &str) -> Result<Option<u64>> {
        match fs::symlink_metadata(self.dir.join(name)) {
            Ok(meta) => Ok(Some(meta.ino())),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(os(&e, format!("looking at {}", self.dir.join(name).display()))),
        }
    }

    fn is_of(&self, name: &str, inode: u64) -> bool {
        self.inode(name) == Ok(Some(inode))
    }

    /// Takes a name away if it is that of this file. The caller holds the lock.
    fn unlink_if(&self, name: &str, inode: u64) {
        if self.is_of(name, inode) {
            let _ = fs::remove_file(self.dir.join(name));
        }
    }

    /// Does something while nobody else takes names away. Not at all where somebody was stopped doing so.
    fn locked(&self, act: impl FnOnce()) -> Result<()> {
        let word = self.lives.files();
        let call = Call::enter(word)?;
        lock::acquire_brief(&call, word, lock::Beside::Nothing, Deadline::Now)?;
        act();
        // die here: the kernel frees the lock.
        lock::release(&call, word);
        Ok(())
    }

    /// Gives an inbox a chosen name; says false where it is taken.
    pub(super) fn link(&self, address: Address, path: &Path) -> Result<bool> {
        match fs::hard_link(self.path(address), path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(os(&e, format!("naming an endpoint {}", path.display()))),
        }
    }
}

fn os(error: &std::io::Error, doing: String) -> Error {
    Error::os(error.raw_os_error().unwrap_or(0), doing)
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;

    use super::*;
    use crate::queue::QueueOptions;
    use crate::sync::lock::LOOK;
    use crate::{Endpoint, Namespace};

    #[test]
    fn a_name_goes_when_who_held_up_its_going_goes_on() {
        let dir = std::env::temp_dir().join(format!("rsipc-unit-held-up-{}", std::process::id()));
        let space = Namespace::at(&dir);
        let open = || Endpoint::open_named(space.name("name"), &QueueOptions::new());
        let endpoint = open().unwrap();
        let place = Place::of(&space.name("name")).unwrap();
        let (is_held, may_go_on) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let held = place.locked(|| {
                    is_held.wait();
                    may_go_on.wait();
                });
                held.unwrap();
            });
            is_held.wait();
            let closed = endpoint.address();
            drop(endpoint);
            assert!(place.inode("name").unwrap().is_some(), "somebody holds it up");
            // Meanwhile it leads to nobody else.
            let other = Endpoint::open(&space, &QueueOptions::new()).unwrap();
            assert_ne!(other.address(), closed);
            assert_eq!(other.find("name"), Ok(closed));
            assert_eq!(other.send(closed, b"x"), Err(Error::PeerGone));
            may_go_on.wait();
        });
        for _ in 0..100 {
            if place.inode("name").unwrap().is_none() {
                break;
            }
            sleep(LOOK);
        }
        assert_eq!(open().unwrap().address().serial(), 0);
        fs::remove_dir_all(dir).unwrap();
    }
}
