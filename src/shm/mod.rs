//! Shared memory: the only rooms that turn an offset into a reference.

pub(crate) mod bytes;
pub(crate) mod layout;
pub(crate) mod region;
pub(crate) mod slots;

use std::marker::PhantomData;
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::name::{Kind, Name};
use crate::sync::lock;
use crate::sys::file::{self, Mapping};
use crate::sys::memory::Ordering::{Acquire, Relaxed, Release};
use crate::sys::process::me;
use crate::sys::thread::Call;
use crate::time::Deadline;
use layout::{Header, Layout, Object, Tag};

/// A structure in shared memory, with the mapping that it lies in.
pub(crate) struct Shared<T> {
    mapping: Arc<Mapping>,
    at: NonNull<T>,
    layout: PhantomData<T>,
}

// SAFETY: it gives out `&T` only, and a `T` is made of atomics.
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

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: `at` is aligned and in the mapping, which lives as long as this; `Layout` allows for other processes' writes.
        unsafe { self.at.as_ref() }
    }
}

impl<T: Layout> Shared<T> {
    /// The structure at `offset` of a mapping.
    pub(crate) fn new(mapping: Arc<Mapping>, offset: usize) -> Result<Self> {
        if offset.checked_add(size_of::<T>()).is_none_or(|end| end > mapping.len()) {
            return Err(Error::Corrupted("the object is longer than the memory it lies in: it was cut short"));
        }
        // SAFETY: the offset lies in the mapping.
        let at: NonNull<T> = unsafe { mapping.base().byte_add(offset) }.cast();
        if !at.is_aligned() {
            return Err(Error::invalid(format!("an object of this kind lies at a multiple of {} bytes", align_of::<T>())));
        }
        Ok(Self { mapping, at, layout: PhantomData })
    }

    /// The bytes behind the structure: where they begin, and how many there are to the end of the mapping.
    pub(crate) fn rest(&self) -> (NonNull<u8>, usize) {
        let end = self.offset() + size_of::<T>();
        // SAFETY: `new` saw that the structure ends in the mapping.
        (unsafe { self.mapping.base().add(end) }, self.mapping.len() - end)
    }

    /// Whether the file was found to be cut short: what there is instead is this process's alone.
    #[inline]
    pub(crate) fn is_cut(&self) -> bool {
        self.mapping.is_cut()
    }

    /// What a call gave that used the structure, or `Corrupted` where its memory was not there. Asked when the call has done with it.
    #[inline]
    pub(crate) fn checked<R>(&self, result: Result<R>) -> Result<R> {
        self.mapping.checked(result)
    }

    /// A structure that is a part of this one.
    pub(crate) fn part<P: Layout>(&self, part: fn(&T) -> &P) -> Shared<P> {
        Shared { mapping: Arc::clone(&self.mapping), at: NonNull::from(part(self)), layout: PhantomData }
    }

    pub(crate) fn mapping(&self) -> &Arc<Mapping> {
        &self.mapping
    }

    /// Where the structure begins in its mapping.
    pub(crate) fn offset(&self) -> usize {
        self.at.addr().get() - self.mapping.base().addr().get()
    }
}

/// The structure at `offset` of a mapping.
///
/// # Panics
///
/// Where it is not all in the mapping, or not aligned: the caller computed the offset.
pub(crate) fn at<T: Layout>(mapping: &Mapping, offset: usize) -> &T {
    assert!(offset.checked_add(size_of::<T>()).is_some_and(|end| end <= mapping.len()), "it lies in the mapping");
    assert!(offset.is_multiple_of(align_of::<T>()), "it is aligned, as a mapping is to a page");
    // SAFETY: it lies in the mapping and is aligned; `Layout` allows for other processes' writes.
    unsafe { mapping.base().byte_add(offset).cast().as_ref() }
}

/// Creates an object of `len` bytes under a name. Its first `reserved` bytes get memory; `fill` sets what differs from zero.
pub(crate) fn create<T: Object>(
    name: &Name<'_>,
    len: usize,
    reserved: usize,
    fill: impl FnOnce(&T),
) -> Result<(Shared<T>, OwnedFd)> {
    // What keeps this thread from using the object keeps it from making it.
    drop(Call::enter_nowhere()?);
    let path = name.path()?;
    let mode = name.mode()?;
    let dir = name.make_dir()?;
    let fd = file::create_without_name(&dir, mode)?;
    let object = make(&fd, len, reserved, fill)?;
    // die here: the file has no name yet, and goes with this process.
    if !file::publish(&fd, &path)? {
        return Err(name.already_exists());
    }
    Ok((object, fd))
}

/// Creates an object of `len` bytes that has no name. As [`create`].
pub(crate) fn create_anonymous<T: Object>(len: usize, reserved: usize, fill: impl FnOnce(&T)) -> Result<(Shared<T>, OwnedFd)> {
    drop(Call::enter_nowhere()?);
    let fd = file::create_anonymous("rsipc")?;
    let object = make(&fd, len, reserved, fill)?;
    file::seal_against_shrinking(&fd)?;
    Ok((object, fd))
}

/// Makes an object in a file that nobody else sees yet.
fn make<T: Object>(fd: &OwnedFd, len: usize, reserved: usize, fill: impl FnOnce(&T)) -> Result<Shared<T>> {
    file::set_len(fd, len)?;
    let mapping = Arc::new(Mapping::new(fd, len)?);
    mapping.populate(0, reserved)?;
    let object = Shared::<T>::new(mapping, 0)?;
    fill(&object);
    vouch_for(&*object);
    Ok(object)
}

/// Makes an object of what its creator has filled in.
pub(crate) fn vouch_for<T: Object>(object: &T) {
    object.header().namespace.store(me().namespace, Relaxed);
    // Release: with the Acquire in `check`.
    object.header().tag.store(T::TAG.to_bits(), Release);
}

/// Opens the object of that name.
pub(crate) fn open<T: Object>(name: &Name<'_>) -> Result<(Shared<T>, OwnedFd)> {
    let path = name.path()?;
    let fd = file::open_named(&path)?.ok_or_else(|| name.not_found())?;
    Ok((open_file(&fd)?, fd))
}

/// Opens the object in a file.
pub(crate) fn open_file<T: Object>(fd: &OwnedFd) -> Result<Shared<T>> {
    let len = file::size(fd)?;
    if len < size_of::<Header>() {
        return Err(Error::Corrupted("this is no rsipc object: the file is too short to be one"));
    }
    let mapping = Arc::new(Mapping::new(fd, len)?);
    mapping.populate(0, size_of::<Header>())?;
    let header = Shared::<Header>::new(Arc::clone(&mapping), 0)?;
    check::<T>(&header)?;
    let object = Shared::<T>::new(Arc::clone(&mapping), 0)?;
    mapping.populate(0, size_of::<T>())?;
    Ok(object)
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

/// Checks that a header is that of a `T`.
pub(crate) fn check<T: Object>(header: &Header) -> Result<()> {
    // Acquire: with the Release in `vouch_for`.
    T::TAG.expect(header.tag.load(Acquire))
}

/// Checks that an object is of this process's pid namespace: one whose users cannot be strangers to each other.
pub(crate) fn check_home(header: &Header) -> Result<()> {
    if header.namespace.load(Relaxed) != me().namespace {
        let why = "the object belongs to processes of another pid namespace, whose thread ids mean nothing in this one";
        return Err(Error::Unsupported(why.into()));
    }
    Ok(())
}

/// Makes an object in zeroed memory that others see already.
pub(crate) fn create_in<T: Object>(object: &Shared<T>, fill: impl FnOnce(&T)) -> Result<()> {
    let occupied = |bits| match Tag::from_bits(bits) {
        Some(tag) => Error::AlreadyExists { name: tag.kind.as_str().into(), dir: "the region at this offset".into() },
        None => Error::invalid("the memory at this offset is in use: an object is created in zeroed memory"),
    };
    let seen = object.header().tag.load(Relaxed);
    if seen != 0 {
        return Err(occupied(seen));
    }
    let call = Call::enter(object.lock())?;
    let second = Deadline::after(Duration::from_secs(1));
    lock::acquire(&call, object.lock(), second).map_err(|e| match e {
        Error::TimedOut | Error::Deadlock => occupied(1),
        e => e,
    })?;
    let seen = object.header().tag.load(Relaxed);
    let result = if seen == 0 {
        fill(object);
        // die here: there is no object yet, and the kernel frees the lock for the next who creates one.
        vouch_for(&**object);
        Ok(())
    } else {
        Err(occupied(seen))
    };
    lock::release(&call, object.lock());
    result
}

/// Checks an object placed in memory that others have created it in.
pub(crate) fn open_in<T: Object>(object: &Shared<T>) -> Result<()> {
    if object.header().tag.load(Relaxed) == 0 {
        return Err(Error::NotFound { name: T::TAG.kind.as_str().into(), dir: "the region at this offset".into() });
    }
    check::<T>(object.header())
}

/// The pid namespace of the object in a file, if it is one.
pub(crate) fn namespace_of_file(path: &Path) -> Option<u32> {
    use std::io::Read;
    let mut bytes = [0; 12];
    std::fs::File::from(file::open_named(path).ok()??).read_exact(&mut bytes).ok()?;
    let (tag, namespace) = (bytes.first_chunk()?, bytes.last_chunk()?);
    Tag::from_bits(u64::from_le_bytes(*tag))?;
    Some(u32::from_le_bytes(*namespace))
}

/// The kind of object in a file, if it is one that this user may open.
pub(crate) fn kind_of_file(path: &Path) -> Result<Option<Kind>> {
    use std::io::Read;
    let fd = match file::open_named(path) {
        Ok(Some(fd)) => fd,
        Ok(None) | Err(Error::Corrupted(_) | Error::PermissionDenied(_)) => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut bits = [0; 8];
    let is_read = std::fs::File::from(fd).read_exact(&mut bits).is_ok();
    Ok(Tag::from_bits(u64::from_le_bytes(bits)).filter(|_| is_read).map(|tag| tag.kind))
}

/// What kind and flavour of object has that name; for kinds of which there are several.
pub(crate) fn tag_of(name: &Name<'_>) -> Result<Tag> {
    use std::io::Read;
    let fd = file::open_named(&name.path()?)?.ok_or_else(|| name.not_found())?;
    file::size(&fd)?;
    let mut bits = [0; 8];
    let no_object = Error::Corrupted("this is no rsipc object: its first bytes are not those of one");
    std::fs::File::from(fd).read_exact(&mut bits).map_err(|_| no_object.clone())?;
    Tag::from_bits(u64::from_le_bytes(bits)).ok_or(no_object)
}
