//! The files behind shared memory: made without a name, filled, and given their name in one step.
//!
//! `open(2)` with O_TMPFILE, `linkat(2)`, `memfd_create(2)`, `fallocate(2)`, `madvise(2)` with MADV_POPULATE_WRITE (Linux 5.14),
//! `mremap(2)` with an old size of 0, which maps shared pages once more without a descriptor.

use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

use memmap2::{MmapOptions, MmapRaw};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, FallocateFlags, OFlag, fallocate, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, lstat};
use nix::unistd::{ftruncate, linkat};
use once_cell::race::OnceNonZeroUsize;

use crate::error::{Error, Result};
use crate::sys::thread::Uncancelled;
use crate::sys::truncation::{CUT_SHORT, Registered};

/// A file of shared memory that has no name (yet): it goes when the last process that has it open or mapped ends.
pub(crate) fn create_without_name(dir: &Path, mode: u32) -> Result<OwnedFd> {
    let doing = || format!("creating an object in {}", dir.display());
    let fd =
        open(dir, OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::S_IRUSR | Mode::S_IWUSR).map_err(|e| match e {
            Errno::EOPNOTSUPP | Errno::EISDIR => Error::Unsupported(format!(
                "{} is on a file system without O_TMPFILE: choose a directory on a tmpfs such as /dev/shm",
                dir.display()
            )),
            e => Error::os(e as i32, doing()),
        })?;
    // Exactly the mode that was asked for, whatever the umask is.
    fchmod(&fd, Mode::from_bits_truncate(mode)).map_err(|e| Error::os(e as i32, doing()))?;
    Ok(fd)
}

/// Anonymous shared memory: only a descriptor. It can grow, never shrink.
pub(crate) fn create_anonymous(label: &str) -> Result<OwnedFd> {
    memfd_create(label, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)
        .map_err(|e| Error::os(e as i32, "creating anonymous shared memory"))
}

/// Forbids everybody to cut an anonymous file short.
pub(crate) fn seal_against_shrinking(fd: &OwnedFd) -> Result<()> {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    fcntl(fd, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL))
        .map(drop)
        .map_err(|e| Error::os(e as i32, "sealing anonymous shared memory"))
}

/// Gives a file made by [`create_without_name`] its name, in one step; says false where the name is taken.
pub(crate) fn publish(fd: &OwnedFd, path: &Path) -> Result<bool> {
    // Not `self`: that of the first thread is empty once that has ended.
    let own = format!("/proc/thread-self/fd/{}", fd.as_raw_fd());
    match linkat(AT_FDCWD, own.as_str(), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW) {
        Ok(()) => Ok(true),
        Err(Errno::EEXIST) => Ok(false),
        Err(e) => Err(Error::os(e as i32, format!("naming a new object {}", path.display()))),
    }
}

/// Opens a file that [`publish`] named; None where there is none.
pub(crate) fn open_named(path: &Path) -> Result<Option<OwnedFd>> {
    // To open a pipe or a device may do something by itself.
    if let Ok(stat) = lstat(path)
        && !matches!(kind_of(&stat), SFlag::S_IFREG | SFlag::S_IFLNK)
    {
        return Err(NO_FILE);
    }
    let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    match open(path, flags, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ENOENT) => Ok(None),
        Err(Errno::ELOOP) => Err(Error::Corrupted("the name is a symbolic link, which rsipc never makes")),
        Err(Errno::EISDIR | Errno::ENXIO) => Err(NO_FILE),
        Err(e) => Err(Error::os(e as i32, format!("opening {}", path.display()))),
    }
}

const NO_FILE: Error = Error::Corrupted("the name is not that of a regular file");

fn kind_of(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// The length of a regular file.
pub(crate) fn size(fd: &OwnedFd) -> Result<usize> {
    let stat = fstat(fd).map_err(|e| Error::os(e as i32, "looking at an object's file"))?;
    if kind_of(&stat) != SFlag::S_IFREG {
        return Err(NO_FILE);
    }
    usize::try_from(stat.st_size).map_err(|_| Error::Corrupted("the object's file has an impossible size"))
}

/// Which file a descriptor is: its device and inode.
pub(crate) fn identity(fd: &OwnedFd) -> Result<(u64, u64)> {
    let stat = fstat(fd).map_err(|e| Error::os(e as i32, "looking at an object's file"))?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Makes a file `len` bytes long, without memory behind it.
pub(crate) fn set_len(fd: &OwnedFd, len: usize) -> Result<()> {
    within_file_size_limit(len)?;
    ftruncate(fd, i64::try_from(len).unwrap_or(i64::MAX)).map_err(|e| match e {
        Errno::EINVAL => Error::NoSpace(format!("the file system has no files of {len} bytes")),
        e => Error::os(e as i32, format!("making an object of {len} bytes")),
    })
}

/// Reserves memory for the first `len` bytes of a file, which is made at least that long.
pub(crate) fn reserve(fd: &OwnedFd, len: usize) -> Result<()> {
    within_file_size_limit(len)?;
    let _uncancelled = Uncancelled::new();
    loop {
        match fallocate(fd, FallocateFlags::empty(), 0, i64::try_from(len).unwrap_or(i64::MAX)) {
            Ok(()) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(Error::os(e as i32, format!("reserving {len} bytes of shared memory"))),
        }
    }
}

/// The kernel sends SIGXFSZ to a process that makes a file larger than RLIMIT_FSIZE allows: an error instead.
fn within_file_size_limit(len: usize) -> Result<()> {
    let (limit, _) = getrlimit(Resource::RLIMIT_FSIZE).map_err(|e| Error::os(e as i32, "reading RLIMIT_FSIZE"))?;
    if len as u64 > limit {
        return Err(Error::NoSpace(format!("{len} bytes are more than this process's file size limit (RLIMIT_FSIZE, {limit})")));
    }
    Ok(())
}

/// A file's first `len` bytes, mapped to be read and written, and shared with every process that maps them.
pub(crate) struct Mapping {
    /// Dropped before the memory is unmapped.
    registered: Registered,
    memory: MmapRaw,
}

impl Mapping {
    /// Maps the first `len` bytes of a file.
    pub(crate) fn new(fd: &OwnedFd, len: usize) -> Result<Self> {
        let doing = || format!("mapping {len} bytes of shared memory");
        let memory = MmapOptions::new().len(len).map_raw(fd).map_err(|e| match e.raw_os_error().unwrap_or(0) {
            libc::EAGAIN => Error::NoMemory(format!("{}: this process may not lock so much (mlockall, ulimit -l)", doing())),
            errno => Error::os(errno, doing()),
        })?;
        Ok(Self { registered: Registered::new(memory.as_ptr().addr(), memory.len()), memory })
    }

    /// Whether its file was found to be shorter than it is (`sys::truncation`): what there is instead is this process's alone.
    #[inline]
    pub(crate) fn is_cut(&self) -> bool {
        self.registered.is_cut()
    }

    /// What a call gave that used this memory: `Corrupted` where that was not there.
    #[inline]
    pub(crate) fn checked<T>(&self, result: Result<T>) -> Result<T> {
        if self.is_cut() { Err(CUT_SHORT) } else { result }
    }

    /// Where it begins.
    #[inline]
    pub(crate) fn base(&self) -> NonNull<u8> {
        // SAFETY: a mapping never begins at address 0.
        unsafe { NonNull::new_unchecked(self.memory.as_mut_ptr()) }
    }

    /// How many bytes it has.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.memory.len()
    }

    /// Reserves memory for the pages that the bytes from `start` to `end` lie on, so that touching them cannot fail. Needs no
    /// descriptor: a program may close all of its own (`daemon(3)`).
    pub(crate) fn populate(&self, start: usize, end: usize) -> Result<()> {
        self.advise_to_populate(start, end, libc::MADV_POPULATE_WRITE)
    }

    /// As [`Mapping::populate`], for who reads what others have written: less work where the memory is there.
    pub(crate) fn populate_to_read(&self, start: usize, end: usize) -> Result<()> {
        self.advise_to_populate(start, end, libc::MADV_POPULATE_READ)
    }

    fn advise_to_populate(&self, start: usize, end: usize, advice: libc::c_int) -> Result<()> {
        let end = end.min(self.len());
        let first = start / PAGE * PAGE;
        if first >= end {
            return Ok(());
        }
        loop {
            // SAFETY: the range lies in this mapping, and populating changes no byte of it.
            let result = unsafe { libc::madvise(self.base().as_ptr().add(first).cast(), end - first, advice) };
            if result == 0 {
                return Ok(());
            }
            match Errno::last() {
                Errno::EINTR | Errno::EAGAIN => {}
                Errno::EFAULT => {
                    return Err(Error::NoSpace(format!(
                        "the file system is full ({} bytes more were needed), or the object's file was cut short",
                        end - first
                    )));
                }
                Errno::EINVAL => {
                    return Err(Error::Unsupported("MADV_POPULATE_READ and MADV_POPULATE_WRITE (Linux 5.14 and later)".into()));
                }
                e => return Err(Error::os(e as i32, "reserving shared memory")),
            }
        }
    }

    /// Keeps the bytes from `start` to `end` out of core dumps: to read what has no memory yet would take some.
    pub(crate) fn keep_out_of_dumps(&self, start: usize, end: usize) {
        let (first, last) = (start.next_multiple_of(PAGE), end.min(self.len()) / PAGE * PAGE);
        if first < last {
            // SAFETY: the range lies in this mapping; this says nothing about its contents. Where it fails, dumps are large.
            unsafe { libc::madvise(self.base().as_ptr().add(first).cast(), last - first, libc::MADV_DONTDUMP) };
        }
    }

    /// Gives the memory of the pages between `start` and `end` back to the system; they read as zeros then. Says whether it did: not every
    /// file system can.
    pub(crate) fn punch(&self, start: usize, end: usize) -> bool {
        let (first, last) = (start.next_multiple_of(PAGE), end.min(self.len()) / PAGE * PAGE);
        // SAFETY: the range lies in this mapping; whose bytes they were has done with them.
        first >= last || unsafe { libc::madvise(self.base().as_ptr().add(first).cast(), last - first, libc::MADV_REMOVE) == 0 }
    }
}

/// A page of a shared mapping, mapped once more, with private memory right behind it. Stays mapped until the process ends.
pub(crate) struct Annex(NonNull<u8>);

// SAFETY: it is used for atomics, and by `sys::thread` for memory of the calling thread.
unsafe impl Send for Annex {}
// SAFETY: as above.
unsafe impl Sync for Annex {}

impl Annex {
    /// Two private pages.
    pub(crate) fn new() -> Result<Self> {
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: new memory, which overlaps nothing.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), 2 * page_size(), access, flags, -1, 0) };
        match NonNull::new(at.cast()).filter(|_| at != libc::MAP_FAILED) {
            Some(at) => {
                // It stays, as the memory does.
                std::mem::forget(Registered::new(at.addr().get(), page_size()));
                Ok(Self(at))
            }
            None => Err(Error::os(Errno::last_raw(), "mapping two pages of memory")),
        }
    }

    /// Puts the page at `offset` of `mapping` in front.
    ///
    /// # Safety
    ///
    /// No thread of this process uses the page that was there before.
    pub(crate) unsafe fn show(&self, mapping: &Mapping, offset: usize) -> Result<()> {
        assert!(offset.is_multiple_of(page_size()) && offset < mapping.len(), "it is a page of the mapping");
        // SAFETY: the first address is one of the mapping, the second that of our first page, which nobody uses.
        let result = unsafe {
            let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
            libc::mremap(mapping.base().as_ptr().add(offset).cast(), 0, page_size(), flags, self.0.as_ptr())
        };
        if result == libc::MAP_FAILED { Err(Error::os(Errno::last_raw(), "mapping a page once more")) } else { Ok(()) }
    }

    /// The word that ends `back` bytes before the private memory begins, a multiple of 4.
    pub(crate) fn word(&self, back: usize) -> &AtomicU32 {
        assert!(back.is_multiple_of(4) && (4..=page_size()).contains(&back), "it lies on the first page");
        // SAFETY: both pages stay mapped, and the word is an atomic.
        unsafe { self.0.add(page_size() - back).cast().as_ref() }
    }
}

/// How long a page is on this machine.
#[inline]
pub(crate) fn page_size() -> usize {
    static SIZE: OnceNonZeroUsize = OnceNonZeroUsize::new();
    // SAFETY: no preconditions.
    let ask = || usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok().and_then(NonZeroUsize::new);
    SIZE.get_or_init(|| ask().unwrap_or(const { NonZeroUsize::new(PAGE).unwrap() })).get()
}

/// The smallest page that Linux has: memory is reserved in steps of it, or of more.
pub(crate) const PAGE: usize = 4096;
