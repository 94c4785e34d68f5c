//! What the kernel knows of a thread.

use std::marker::PhantomData;

use crate::engine;
use crate::error::{Error, Result};
use crate::sys::memory::AtomicU32;
use crate::sys::process::{Identity, ThreadOf, me};

pub(crate) const LINKS_LEN: usize = 36;

pub(crate) fn forks() -> u32 {
    0
}

pub(crate) trait Owners {
    fn is_gone(&self, owner: u32) -> bool;
}

/// Nobody is cancelled.
pub(crate) struct Uncancelled(());

impl Uncancelled {
    pub(crate) fn new() -> Self {
        Self(())
    }
}

pub(crate) struct Call<'a>(PhantomData<&'a ()>);

impl Call<'_> {
    pub(crate) fn enter(word: &AtomicU32) -> Result<Self> {
        if engine::pending().is_some() {
            return Err(Error::Reentrant);
        }
        engine::set_pending(Some(word.address()));
        Ok(Self(PhantomData))
    }

    pub(crate) fn enter_simply(word: &AtomicU32) -> Option<Self> {
        Self::enter(word).ok()
    }

    pub(crate) fn enter_nowhere() -> Result<Self> {
        unreachable!("nobody is a stranger")
    }

    pub(crate) fn is_seen(&self) -> bool {
        true
    }

    pub(crate) fn owner(&self) -> u32 {
        engine::me()
    }

    pub(crate) fn is_gone(&self, owner: u32) -> bool {
        engine::is_gone(owner)
    }

    pub(crate) fn has_left(&self, thread: ThreadOf) -> bool {
        self.is_over(thread.program())
    }

    pub(crate) fn is_over(&self, program: Identity) -> bool {
        program.is_gone(me().namespace)
    }

    pub(crate) fn loses_its_id(&self) -> Option<ThreadOf> {
        Some(ThreadOf::new(engine::me(), me().identity))
    }

    pub(crate) fn begins_to_wait(&self) -> bool {
        true
    }

    pub(crate) fn waits(&self) {}

    pub(crate) fn is_woken(&self) {}

    pub(crate) fn tid(&self) -> u32 {
        engine::me()
    }

    pub(crate) fn turn_to(&self, word: &AtomicU32) {
        engine::set_pending(Some(word.address()));
    }

    pub(crate) fn can_link(&self) -> Result<()> {
        Ok(())
    }

    pub(crate) fn unlink_strays(&self) {}

    /// # Safety
    ///
    /// None is needed here.
    pub(crate) unsafe fn link(&self, word: &AtomicU32) {
        engine::link(word.address());
    }

    /// # Safety
    ///
    /// None is needed here.
    pub(crate) unsafe fn unlink(&self, word: &AtomicU32) -> bool {
        engine::unlink(word.address());
        true
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        engine::set_pending(None);
    }
}

/// # Safety
///
/// None is needed here.
pub(crate) unsafe fn unlink_later(_tid: u32, _word: &AtomicU32, _keeps: Box<dyn Send>) {}
