//! What the kernel knows of a thread.

use crate::engine;
use crate::error::{Error, Result};
use crate::sys::memory::AtomicU32;

pub(crate) const LINKS_LEN: usize = 36;

pub(crate) fn forks() -> u32 {
    0
}

pub(crate) struct Call(());

impl Call {
    pub(crate) fn enter(word: &AtomicU32) -> Result<Self> {
        if engine::pending().is_some() {
            return Err(Error::Reentrant);
        }
        engine::set_pending(Some(word.address()));
        Ok(Self(()))
    }

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
    pub(crate) unsafe fn unlink(&self, word: &AtomicU32) {
        engine::unlink(word.address());
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        engine::set_pending(None);
    }
}

/// # Safety
///
/// None is needed here.
pub(crate) unsafe fn unlink_later(_tid: u32, _word: &AtomicU32, _keeps: Box<dyn Send>) {}
