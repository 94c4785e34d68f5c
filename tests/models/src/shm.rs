//! In the place of the library's `shm`, which opens files; the rooms that know where things lie are its own.

#[path = "../../../src/shm/bytes.rs"]
pub(crate) mod bytes;
#[path = "../../../src/shm/layout.rs"]
pub(crate) mod layout;
#[path = "../../../src/shm/slots.rs"]
pub(crate) mod slots;

use std::marker::PhantomData;
use std::ops::Deref;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::error::Result;
use crate::name::Kind;
use crate::sys::file::Mapping;
use layout::Layout;

pub(crate) struct Shared<T> {
    mapping: Arc<Mapping>,
    at: NonNull<T>,
    layout: PhantomData<T>,
}

// SAFETY: one thread of a model runs at a time.
unsafe impl<T: Layout> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Layout> Sync for Shared<T> {}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self { mapping: Arc::clone(&self.mapping), at: self.at, layout: PhantomData }
    }
}

impl<T: Layout> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: it lies at the beginning of the mapping, which is long enough.
        unsafe { self.at.as_ref() }
    }
}

impl<T: Layout> Shared<T> {
    /// A structure at the beginning of new memory that a model's threads share.
    pub(crate) fn new(len: usize) -> Self {
        let mapping = Mapping::shared(len.max(size_of::<T>()));
        Self { at: mapping.base().cast(), mapping, layout: PhantomData }
    }

    pub(crate) fn mapping(&self) -> &Arc<Mapping> {
        &self.mapping
    }

    pub(crate) fn offset(&self) -> usize {
        0
    }

    /// No file is cut short here.
    pub(crate) fn is_cut(&self) -> bool {
        false
    }

    pub(crate) fn checked<U>(&self, result: Result<U>) -> Result<U> {
        result
    }
}

pub(crate) fn kind_of_file(_path: &Path) -> Result<Option<Kind>> {
    Ok(None)
}
