//! Regions: named or anonymous shared memory for the user's own bytes, and for objects placed among them.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::name::Name;
use crate::shm::layout::{Object, REGION_DATA, RegionLayout};
use crate::shm::{self, Shared};
use crate::sys::file::{self, Mapping};
use crate::sys::memory::Ordering::{AcqRel, Acquire, Relaxed};

/// Memory that processes share: bytes that they arrange as they like, and in which mutexes, semaphores and queues can be placed.
///
/// All its memory is reserved when it is created or grown, so touching it never fails for want of memory. It begins at a multiple of 4096,
/// zeroed. It can grow, never shrink. What several processes change at the same time is theirs to order, with a mutex placed in it for
/// example; a death of one of them does nothing to the bytes.
///
/// Dropping it closes this handle. The memory goes when the name is unlinked and the last handle and view are gone.
///
/// All methods may be called from any thread.
///
/// ```
/// # fn main() -> rsipc::Result<()> {
/// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-region-{}", std::process::id())));
/// let region = rsipc::Region::create(namespace.name("table"), 1 << 16)?;
/// // SAFETY: the first bytes are left to the mutex, and nobody else writes the others.
/// let lock = unsafe { rsipc::Mutex::create_in(&region, 0, 0u64)? };
/// *lock.lock()? += 1;
/// unsafe { region.view()?.write(4096, b"beside it")? };
/// # namespace.unlink("table")?;
/// # std::fs::remove_dir_all(namespace.dir()?).ok();
/// # Ok(())
/// # }
/// ```
pub struct Region {
    layout: Shared<RegionLayout>,
    fd: ManuallyDrop<OwnedFd>,
    /// The file behind `fd` (device and inode), since a program may close all its descriptors and use their numbers again.
    file: (u64, u64),
    /// All mappings made so far. They stay, for who still points into them.
    mappings: boxcar::Vec<Arc<Mapping>>,
}

impl Region {
    /// Creates a region of `len` bytes.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`; `InvalidArgument` for an impossible name or a length of 0; `NoSpace` where so much memory cannot be reserved;
    /// `PermissionDenied` and other errors of the system.
    pub fn create<'a>(name: impl Into<Name<'a>>, len: usize) -> Result<Self> {
        Self::create_with(name, len, |_| Ok(()))
    }

    /// Creates a region of `len` bytes, and lets `init` fill it before anybody can open it: objects can be placed in it, which all
    /// who open it then find. Errors of `init` are returned, and nothing is created then.
    ///
    /// ```
    /// # fn main() -> rsipc::Result<()> {
    /// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-create-with-{}", std::process::id())));
    /// use rsipc::{Mutex, Region};
    ///
    /// let region = Region::create_with(namespace.name("table"), 1 << 16, |region| {
    ///     // SAFETY: the first bytes are left to the mutex.
    ///     unsafe { Mutex::create_in(region, 0, 0u64).map(drop) }
    /// })?;
    /// // Whoever opens it finds the mutex there.
    /// # assert!(Region::open(namespace.name("table")).is_ok());
    /// // SAFETY: as above.
    /// *unsafe { Mutex::<u64>::open_in(&region, 0)? }.lock()? += 1;
    /// # std::fs::remove_dir_all(namespace.dir()?).ok();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Region::create`].
    pub fn create_with<'a>(name: impl Into<Name<'a>>, len: usize, init: impl FnOnce(&Self) -> Result<()>) -> Result<Self> {
        let name = name.into();
        let path = name.path()?;
        let mode = name.mode()?;
        let dir = name.make_dir()?;
        let fd = file::create_without_name(&dir, mode)?;
        let region = Self::fill(fd, len)?;
        init(&region)?;
        // die here: the file has no name yet, and goes with this process.
        if !file::publish(&region.fd, &path)? {
            return Err(name.already_exists());
        }
        Ok(region)
    }

    /// Opens a region.
    ///
    /// # Errors
    ///
    /// `NotFound`; `WrongKind`, `WrongVersion`, `Corrupted`, `PermissionDenied` and other errors of the system.
    pub fn open<'a>(name: impl Into<Name<'a>>) -> Result<Self> {
        let (layout, fd) = shm::open::<RegionLayout>(&name.into())?;
        Self::new(layout, fd)
    }

    /// Opens a region, or creates it with `len` bytes. Processes that do so at the same time get the same one.
    /// An existing region keeps its length.
    ///
    /// # Errors
    ///
    /// As [`Region::create`] and [`Region::open`], less `AlreadyExists` and `NotFound`.
    pub fn open_or_create<'a>(name: impl Into<Name<'a>>, len: usize) -> Result<Self> {
        let name = name.into();
        shm::open_or_create(|| Self::open(name.clone()), || Self::create(name.clone(), len))
    }

    /// Makes a region of `len` bytes without a name (`memfd_create(2)`). Others get it by its descriptor: a child inherits it, a Unix
    /// socket carries it (`SCM_RIGHTS`), and [`Region::from_fd`] opens it there. The descriptor is closed on exec.
    ///
    /// ```
    /// # fn main() -> rsipc::Result<()> {
    /// use std::os::fd::AsFd;
    ///
    /// use rsipc::Region;
    ///
    /// let region = Region::anonymous(4096)?;
    /// let fd = region.as_fd().try_clone_to_owned().expect("a descriptor is left"); // to be sent to another process
    /// let same = Region::from_fd(fd)?; // there
    /// // SAFETY: no other thread uses these bytes.
    /// unsafe { region.view()?.write(100, b"hello")? };
    /// let mut bytes = [0; 5];
    /// // SAFETY: as above.
    /// unsafe { same.view()?.read(100, &mut bytes)? };
    /// assert_eq!(&bytes, b"hello");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a length of 0; `NoSpace` or `NoMemory` where so much memory cannot be reserved; other errors of the system.
    pub fn anonymous(len: usize) -> Result<Self> {
        let region = Self::fill(file::create_anonymous("rsipc")?, len)?;
        file::seal_against_shrinking(&region.fd)?;
        Ok(region)
    }

    /// Opens the region behind a descriptor that came from [`Region::as_fd`] in this or another process.
    ///
    /// # Errors
    ///
    /// `Corrupted` where it is not that of a region; `WrongKind`, `WrongVersion`; errors of the system.
    pub fn from_fd(fd: OwnedFd) -> Result<Self> {
        let len = file::size(&fd)?;
        if len < REGION_DATA {
            return Err(Error::Corrupted("this is no region: the file is too short to be one"));
        }
        let layout = Shared::<RegionLayout>::new(Arc::new(Mapping::new(&fd, len)?), 0)?;
        layout.mapping().populate(0, size_of::<RegionLayout>())?;
        shm::check::<RegionLayout>(layout.header())?;
        Self::new(layout, fd)
    }

    fn fill(fd: OwnedFd, len: usize) -> Result<Self> {
        let whole = whole_len(len)?;
        file::reserve(&fd, whole)?;
        let layout = Shared::<RegionLayout>::new(Arc::new(Mapping::new(&fd, whole)?), 0)?;
        layout.size.store(len as u64, Relaxed);
        // die here: nobody else has seen the file yet.
        shm::vouch_for(&*layout);
        Self::new(layout, fd)
    }

    fn new(layout: Shared<RegionLayout>, fd: OwnedFd) -> Result<Self> {
        let file = file::identity(&fd)?;
        let mapping = Arc::clone(layout.mapping());
        let region = Self { layout, fd: ManuallyDrop::new(fd), file, mappings: boxcar::vec![mapping] };
        region.view()?;
        Ok(region)
    }

    /// How many bytes it has now; another process may have grown it.
    #[must_use]
    pub fn len(&self) -> usize {
        // Acquire: with the release in `grow`.
        self.layout.size.load(Acquire) as usize
    }

    /// Always false: a region has at least one byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Makes it at least `len` bytes long, for all processes. Views made before stay valid, and as long as they were: take a new one.
    ///
    /// ```
    /// # fn main() -> rsipc::Result<()> {
    /// let region = rsipc::Region::anonymous(4096)?;
    /// let before = region.view()?;
    /// region.grow(1 << 20)?;
    /// assert_eq!((before.len(), region.view()?.len()), (4096, 1 << 20));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `NoSpace` where so much memory cannot be reserved (the region is as it was); `InvalidArgument` for a `len` below its length:
    /// regions only grow; errors of the system.
    pub fn grow(&self, len: usize) -> Result<()> {
        let now = self.len();
        self.check()?;
        if len < now {
            return Err(Error::invalid(format!("the region has {} bytes, and cannot shrink to {len}", now)));
        }
        if file::identity(&self.fd)? != self.file {
            return Err(Error::invalid("the program has closed the region's file descriptor: open the region anew to grow it"));
        }
        file::reserve(&self.fd, whole_len(len)?)?;
        // die here: the file is longer than the region says, which the next growth uses.
        // Release: with the Acquire in `len`. Acquire: with the same of others who grow it.
        self.layout.size.fetch_max(len as u64, AcqRel);
        Ok(())
    }

    /// The region's bytes as they are now: all of them, also those that another process has added.
    ///
    /// # Errors
    ///
    /// `Corrupted` where the file was cut short; `NoMemory` where the address space has no room.
    pub fn view(&self) -> Result<View> {
        let len = self.len();
        self.check()?;
        let whole = whole_len(len).map_err(|_| Error::Corrupted("the region's length is impossible"))?;
        if let Some((_, mapping)) = self.mappings.iter().find(|(_, mapping)| mapping.len() >= whole) {
            return Ok(View { mapping: Arc::clone(mapping), len });
        }
        if file::size(&self.fd)? < whole || file::identity(&self.fd)? != self.file {
            return Err(Error::Corrupted("the region's file is shorter than the region: it was cut short"));
        }
        let mapping = Arc::new(Mapping::new(&self.fd, whole)?);
        self.mappings.push(Arc::clone(&mapping));
        Ok(View { mapping, len })
    }

    /// `Corrupted` where the file was found to be cut short.
    fn check(&self) -> Result<()> {
        self.mappings.iter().try_for_each(|(_, mapping)| mapping.checked(Ok(())))
    }

    /// The structure at `offset` of the user's bytes.
    pub(crate) fn place<T: shm::layout::Layout>(&self, offset: usize) -> Result<Shared<T>> {
        let view = self.view()?;
        if offset.checked_add(size_of::<T>()).is_none_or(|end| end > view.len) {
            return Err(Error::invalid(format!(
                "an object of {} bytes at offset {offset} does not fit into a region of {} bytes",
                size_of::<T>(),
                view.len
            )));
        }
        Shared::new(view.mapping, REGION_DATA + offset)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // A program may have closed all its descriptors (`daemon(3)`): then this number is somebody else's by now.
        if file::identity(&self.fd).is_ok_and(|file| file == self.file) {
            // SAFETY: nobody uses it after this.
            unsafe { ManuallyDrop::drop(&mut self.fd) };
        }
    }
}

impl AsFd for Region {
    /// The region's descriptor, to be handed to another process. It stays this handle's.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl std::fmt::Debug for Region {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Region").field("len", &self.len()).finish_non_exhaustive()
    }
}

fn whole_len(len: usize) -> Result<usize> {
    if len == 0 {
        return Err(Error::invalid("a region has at least one byte"));
    }
    match len.checked_add(REGION_DATA) {
        Some(whole) if isize::try_from(whole).is_ok() => Ok(whole),
        _ => Err(Error::invalid(format!("a region cannot have {len} bytes: there is no address space for them"))),
    }
}

/// A region's bytes, mapped. It keeps them mapped for as long as it lives, also when the [`Region`] is gone.
#[derive(Clone)]
pub struct View {
    mapping: Arc<Mapping>,
    len: usize,
}

impl View {
    /// Where the bytes begin: a multiple of 4096, the same for as long as the view lives, and another one in every process.
    ///
    /// The pointer is valid for [`View::len`] bytes. Other processes may change them at any time, so do not make a Rust reference to them
    /// unless something else, such as a mutex, keeps the others away.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        // SAFETY: the mapping is longer than its first page.
        unsafe { self.mapping.base().add(REGION_DATA) }.as_ptr()
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Always false: a region has at least one byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Copies the bytes from `offset` on into `into`. Bytes that others change meanwhile may be old or new.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` where they are not all in the view; nothing is copied then. `Corrupted` where the region's file was cut short
    /// ([`catch_truncation`](crate::catch_truncation)); what was copied may be zeros then.
    ///
    /// # Safety
    ///
    /// No other thread of this process writes these bytes meanwhile.
    pub unsafe fn read(&self, offset: usize, into: &mut [u8]) -> Result<()> {
        self.check(offset, into.len())?;
        // SAFETY: the range was checked, and a user's slice does not overlap it but by unsafe code of theirs.
        unsafe { self.as_ptr().add(offset).copy_to(into.as_mut_ptr(), into.len()) };
        self.mapping.checked(Ok(()))
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Errors
    ///
    /// As [`View::read`].
    ///
    /// # Safety
    ///
    /// The bytes belong to no object that is placed in the region, and no other thread of this process uses them meanwhile.
    pub unsafe fn write(&self, offset: usize, bytes: &[u8]) -> Result<()> {
        self.check(offset, bytes.len())?;
        // SAFETY: as in `read`.
        unsafe { self.as_ptr().add(offset).copy_from(bytes.as_ptr(), bytes.len()) };
        self.mapping.checked(Ok(()))
    }

    fn check(&self, offset: usize, len: usize) -> Result<()> {
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(Error::invalid(format!(
                "{len} bytes at offset {offset} are not all within the {} bytes of the region",
                self.len
            )));
        }
        Ok(())
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("len", &self.len).finish_non_exhaustive()
    }
}
