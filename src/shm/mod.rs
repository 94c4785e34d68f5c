//! Shared memory: the only rooms that turn an offset into a reference.

pub(crate) mod layout;
pub(crate) mod region;
pub(crate) mod slots;

use std::marker::PhantomData;
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::name::{Kind, Name};
use crate::sync::lock;
use crate::sys::file::{self, Mapping};
use crate::sys::thread::Call;
use crate::time::Deadline;
use layout::{Layout, Object, Tag};

/// Where an object's file lies, for those who need files beside it. Anonymous memory has none.
pub(crate) struct Home {
    /// The namespace's directory.
    pub(crate) dir: PathBuf,
    /// The object's permission bits.
    pub(crate) mode: u32,
}

/// A structure in shared memory, with the mapping that it lies in.
pub(crate) struct Shared<T> {
    mapping: Arc<Mapping>,
    at: NonNull<T>,
    home: Option<Arc<Home>>,
    layout: PhantomData<T>,
}

// SAFETY: it gives out `&T` only, and a `T` is made of atomics.
unsafe impl<T: Layout> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Layout> Sync for Shared<T> {}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self { mapping: Arc::clone(&self.mapping), at: self.at, home: self.home.clone(), layout: PhantomData }
    }
}

impl<T: Layout> Deref for Shared<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: `at` is aligned and in the mapping, which lives as long as this; `Layout` allows for other processes' writes.
        unsafe { self.at.as_ref() }
    }
}

impl<T: Layout> Shared<T> {
    /// The structure at `offset` of a mapping.
    pub(crate) fn new(mapping: Arc<Mapping>, offset: usize, home: Option<Arc<Home>>) -> Result<Self> {
        if offset.checked_add(size_of::<T>()).is_none_or(|end| end > mapping.len()) {
            return Err(Error::Corrupted("the object is longer than the memory it lies in: it was cut short"));
        }
        // SAFETY: the offset lies in the mapping.
        let at: NonNull<T> = unsafe { mapping.base().byte_add(offset) }.cast();
        if !at.is_aligned() {
            return Err(Error::invalid(format!("an object of this kind lies at a multiple of {} bytes", align_of::<T>())));
        }
        Ok(Self { mapping, at, home, layout: PhantomData })
    }

    /// The bytes behind the structure: where they begin, and how many there are to the end of the mapping.
    pub(crate) fn rest(&self) -> (NonNull<u8>, usize) {
        let end = self.offset() + size_of::<T>();
        // SAFETY: `new` saw that the structure ends in the mapping.
        (unsafe { self.mapping.base().add(end) }, self.mapping.len() - end)
    }

    /// Reserves memory for `len` bytes of the object from `start` on.
    pub(crate) fn populate(&self, start: usize, len: usize) -> Result<()> {
        let offset = self.offset() + start;
        self.mapping.populate(offset, offset.saturating_add(len))
    }

    pub(crate) fn home(&self) -> Option<&Arc<Home>> {
        self.home.as_ref()
    }

    pub(crate) fn mapping(&self) -> &Arc<Mapping> {
        &self.mapping
    }

    fn offset(&self) -> usize {
        self.at.addr().get() - self.mapping.base().addr().get()
    }
}

/// Creates an object of `len` bytes under a name. Its first `reserved` bytes get memory; `fill` sets what differs from zero.
pub(crate) fn create<T: Object>(
    name: &Name<'_>,
    len: usize,
    reserved: usize,
    fill: impl FnOnce(&T),
) -> Result<(Shared<T>, OwnedFd)> {
    let path = name.path()?;
    let mode = name.mode()?;
    let dir = name.make_dir()?;
    let fd = file::create_without_name(&dir, mode)?;
    file::set_len(&fd, len)?;
    let mapping = Arc::new(Mapping::new(&fd, len)?);
    mapping.populate(0, reserved)?;
    let object = Shared::<T>::new(mapping, 0, Some(Arc::new(Home { dir, mode })))?;
    fill(&object);
    // The publication below makes it visible, whole. die here: the file has no name yet, and goes with this process.
    object.header().0.store(T::TAG.to_bits(), Release);
    if !file::publish(&fd, &path)? {
        return Err(name.already_exists());
    }
    Ok((object, fd))
}

/// Opens the object of that name.
pub(crate) fn open<T: Object>(name: &Name<'_>) -> Result<(Shared<T>, OwnedFd)> {
    let path = name.path()?;
    let fd = file::open_named(&path)?.ok_or_else(|| name.not_found())?;
    let (len, mode) = file::size_and_mode(&fd)?;
    if len < size_of::<u64>() {
        return Err(Error::Corrupted("this is no rsipc object: the file is too short to be one"));
    }
    let mapping = Arc::new(Mapping::new(&fd, len)?);
    check_tag::<T>(&mapping, 0)?;
    let home = path.parent().map(|dir| Arc::new(Home { dir: dir.into(), mode }));
    Ok((Shared::new(mapping, 0, home)?, fd))
}

/// Opens the object of that name, or creates it; whoever does so at the same time gets the same one.
pub(crate) fn open_or_create<O>(mut open: impl FnMut() -> Result<O>, mut create: impl FnMut() -> Result<O>) -> Result<O> {
    loop {
        match open() {
            Err(Error::NotFound { .. }) => {}
            result => return result,
        }
        match create() {
            Err(Error::AlreadyExists { .. }) => {}
            result => return result,
        }
    }
}

/// Checks that the object at `offset` of a mapping is a `T`.
fn check_tag<T: Object>(mapping: &Arc<Mapping>, offset: usize) -> Result<()> {
    T::TAG.expect(tag_bits(mapping, offset)?)
}

fn tag_bits(mapping: &Arc<Mapping>, offset: usize) -> Result<u64> {
    mapping.populate(offset, offset + 8)?;
    // Acquire: with the Release store of the header by its creator.
    Ok(Shared::<layout::Header>::new(Arc::clone(mapping), offset, None)?.0.load(Acquire))
}

// SAFETY: one atomic.
unsafe impl Layout for layout::Header {}

/// Makes an object in zeroed memory that others see already.
pub(crate) fn create_in<T: Object>(object: &Shared<T>, fill: impl FnOnce(&T)) -> Result<()> {
    let occupied = |bits| match Tag::from_bits(bits) {
        Some(tag) => Error::AlreadyExists { name: format!("{} (at this offset)", tag.kind.as_str()), dir: PathBuf::new() },
        None => Error::invalid("the memory at this offset is in use: an object is created in zeroed memory"),
    };
    let seen = object.header().0.load(Relaxed);
    if seen != 0 {
        return Err(occupied(seen));
    }
    let call = Call::enter(object.lock())?;
    let second = Deadline::after(Duration::from_secs(1));
    lock::acquire(&call, object.lock(), second).map_err(|e| match e {
        Error::TimedOut | Error::Deadlock => occupied(1),
        e => e,
    })?;
    let seen = object.header().0.load(Relaxed);
    let result = if seen == 0 {
        fill(object);
        // die here: there is no object yet, and the kernel frees the lock for the next who creates one.
        // Release: with the Acquire load of who opens it.
        object.header().0.store(T::TAG.to_bits(), Release);
        Ok(())
    } else {
        Err(occupied(seen))
    };
    lock::release(&call, object.lock());
    result
}

/// Checks an object placed in memory that others have created it in.
pub(crate) fn open_in<T: Object>(object: &Shared<T>) -> Result<()> {
    // Acquire: with the Release store of the header by its creator.
    match object.header().0.load(Acquire) {
        0 => Err(Error::NotFound { name: format!("{} (at this offset)", T::TAG.kind.as_str()), dir: PathBuf::new() }),
        bits => T::TAG.expect(bits),
    }
}

/// The kind of object in a file, if it is one.
pub(crate) fn kind_of_file(path: &Path) -> Option<Kind> {
    use std::io::Read;
    let mut bits = [0; 8];
    std::fs::File::from(file::open_named(path).ok()??).read_exact(&mut bits).ok()?;
    Tag::from_bits(u64::from_le_bytes(bits)).map(|tag| tag.kind)
}

/// What kind and flavour of object has that name; for kinds of which there are several.
pub(crate) fn tag_of(name: &Name<'_>) -> Result<Tag> {
    use std::io::Read;
    let fd = file::open_named(&name.path()?)?.ok_or_else(|| name.not_found())?;
    file::size_and_mode(&fd)?;
    let mut bits = [0; 8];
    let no_object = Error::Corrupted("this is no rsipc object: its first bytes are not those of one");
    std::fs::File::from(fd).read_exact(&mut bits).map_err(|_| no_object.clone())?;
    Tag::from_bits(u64::from_le_bytes(bits)).ok_or(no_object)
}
