//! Names, and the directory that they live in.
//!
//! A namespace is a directory on a tmpfs, flat, one file an object. The default one belongs to the user alone: nobody else can
//! open, list, squat on or replace what is in it.

use std::borrow::Cow;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{geteuid, unlink};

use crate::error::{Error, Result};
use crate::sys::thread::Uncancelled;

/// The longest name, in bytes.
pub const MAX_NAME: usize = 200;

/// The environment variable that names another directory than the user's own for the default namespace.
pub const DIR_VARIABLE: &str = "RSIPC_DIR";

/// A directory of objects, and who may open those that are created in it.
///
/// The default is the directory that the environment variable `RSIPC_DIR` names, or else `/dev/shm/rsipc-UID`, made on first use and
/// private to the user. Containers, groups of users and tests choose another with [`Namespace::at`] or the variable.
///
/// ```
/// # fn main() -> rsipc::Result<()> {
/// let directory = std::env::temp_dir().join(format!("rsipc-doc-{}", std::process::id()));
/// let namespace = rsipc::Namespace::at(&directory).mode(0o660);
/// let mutex = rsipc::Mutex::create(namespace.name("table"), ())?;
/// assert_eq!(namespace.list()?[0].name, "table");
/// namespace.unlink("table")?;
/// # std::fs::remove_dir(directory).unwrap();
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// None for the default one, which is looked for when it is used.
    dir: Option<PathBuf>,
    mode: u32,
}

impl Default for Namespace {
    fn default() -> Self {
        Self { dir: None, mode: 0o600 }
    }
}

/// An object's kind, as [`Namespace::list`] tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A [`Region`](crate::Region).
    Region,
    /// A [`Mutex`](crate::Mutex).
    Mutex,
    /// A [`Semaphore`](crate::Semaphore) of either kind.
    Semaphore,
    /// A [`Queue`](crate::Queue).
    Queue,
    /// The name of an [`Endpoint`](crate::Endpoint).
    Endpoint,
}

impl Kind {
    /// The kind in a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Region => "region",
            Self::Mutex => "mutex",
            Self::Semaphore => "semaphore",
            Self::Queue => "queue",
            Self::Endpoint => "endpoint",
        }
    }
}

/// One object in a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// How long its memory is, in bytes.
    pub size: u64,
    /// How much memory it costs now, in bytes.
    pub memory: u64,
}

impl Namespace {
    /// The namespace in `dir`, which is made (for this user alone) if it does not exist. It should be on a tmpfs.
    ///
    /// Whoever may write to the directory can replace the objects in it: for several users, make it writable for a group they share.
    #[must_use]
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: Some(dir.into()), ..Self::default() }
    }

    /// The permission bits that objects created in this namespace get, whatever the umask is: 0o600 by default, 0o660 for a
    /// group. Those who are to use an object need to read *and* write it.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// The name `name` in this namespace, to be given to a `create` or `open`.
    #[must_use]
    pub fn name<'a>(&self, name: &'a str) -> Name<'a> {
        Name { namespace: Cow::Owned(self.clone()), name, address: false }
    }

    /// The name of an address's file.
    pub(crate) fn address<'a>(&self, name: &'a str) -> Name<'a> {
        Name { address: true, ..self.name(name) }
    }

    /// The objects in this namespace, sorted by name. Files that are not objects are left out, and those that this user may not open.
    ///
    /// # Errors
    ///
    /// `PermissionDenied` and other errors of the system when the directory cannot be read; `TooManyFiles` and the like when an
    /// object cannot.
    pub fn list(&self) -> Result<Vec<Entry>> {
        let _uncancelled = Uncancelled::new();
        let dir = self.dir()?;
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::os(e.raw_os_error().unwrap_or(0), format!("listing {}", dir.display()))),
        };
        let mut list = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| Error::os(e.raw_os_error().unwrap_or(0), format!("listing {}", dir.display())))?;
            let Some(name) = entry.file_name().into_string().ok().filter(|name| check_name(name).is_ok()) else { continue };
            let kind = crate::shm::kind_of_file(&entry.path())?;
            // It may have been unlinked meanwhile.
            if let (Some(kind), Ok(meta)) = (kind, entry.metadata()) {
                list.push(Entry { name, kind, size: meta.len(), memory: meta.blocks() * 512 });
            }
        }
        list.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(list)
    }

    /// Takes the name `name` away. Processes that have the object open go on using it; its memory goes with the last of them.
    /// A new object of that name is another object.
    ///
    /// # Errors
    ///
    /// `NotFound` where there is none, `InvalidArgument` for an impossible name, `PermissionDenied`.
    pub fn unlink(&self, name: &str) -> Result<()> {
        let name = self.name(name);
        match unlink(&name.path()?) {
            Ok(()) => Ok(()),
            Err(Errno::ENOENT) => Err(name.not_found()),
            Err(e) => Err(Error::os(e as i32, format!("unlinking {:?}", name.name))),
        }
    }

    /// The namespace's directory.
    ///
    /// # Errors
    ///
    /// `PermissionDenied` where the default directory cannot be this user's own, `InvalidArgument` where it is not a directory.
    pub fn dir(&self) -> Result<PathBuf> {
        let chosen = self.dir.clone().or_else(|| std::env::var_os(DIR_VARIABLE).filter(|dir| !dir.is_empty()).map(PathBuf::from));
        match chosen {
            None => own_dir(Path::new("/dev/shm")),
            Some(dir) if dir.as_os_str().as_bytes().contains(&0) => {
                Err(Error::invalid(format!("{dir:?} cannot be a directory: its name contains a null character")))
            }
            Some(dir) => Ok(dir),
        }
    }
}

/// Where an object is: a name in a namespace. A plain string is a name in the default namespace.
///
/// ```
/// # fn main() -> rsipc::Result<()> {
/// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-name-{}", std::process::id())));
/// # unsafe { std::env::set_var(rsipc::DIR_VARIABLE, namespace.dir()?) };
/// use rsipc::{Mutex, Namespace};
///
/// let _mine = Mutex::create("table", ())?; // in the user's own namespace
/// let shared = Namespace::at(namespace.dir()?).mode(0o660);
/// let _ours = Mutex::create(shared.name("our table"), ())?;
/// # assert_eq!(shared.list()?.len(), 2);
/// # std::fs::remove_dir_all(namespace.dir()?).ok();
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Name<'a> {
    namespace: Cow<'a, Namespace>,
    name: &'a str,
    /// Whether it is the name of an address, which users cannot choose.
    address: bool,
}

impl<'a> From<&'a str> for Name<'a> {
    fn from(name: &'a str) -> Self {
        static DEFAULT: Namespace = Namespace { dir: None, mode: 0o600 };
        Self { namespace: Cow::Borrowed(&DEFAULT), name, address: false }
    }
}

impl<'a> From<&'a String> for Name<'a> {
    fn from(name: &'a String) -> Self {
        name.as_str().into()
    }
}

impl Name<'_> {
    pub(crate) fn as_str(&self) -> &str {
        self.name
    }

    pub(crate) fn path(&self) -> Result<PathBuf> {
        if !self.address {
            check_name(self.name)?;
        }
        Ok(self.namespace.dir()?.join(self.name))
    }

    /// The directory.
    pub(crate) fn dir(&self) -> Result<PathBuf> {
        self.namespace.dir()
    }

    /// The directory, made if need be.
    pub(crate) fn make_dir(&self) -> Result<PathBuf> {
        loop {
            let dir = self.namespace.dir()?;
            make_private_dir(&dir)?;
            // Another user may have taken the default name just now: then the directory to use is another one.
            if self.namespace.dir()? == dir {
                return Ok(dir);
            }
        }
    }

    pub(crate) fn mode(&self) -> Result<u32> {
        match self.namespace.mode {
            mode if mode & !0o666 == 0 && mode & 0o600 == 0o600 => Ok(mode),
            mode => Err(Error::invalid(format!(
                "mode {mode:#o} is not one for an object: the owner reads and writes, others may (0o600, 0o660, 0o666)"
            ))),
        }
    }

    #[cold]
    pub(crate) fn not_found(&self) -> Error {
        Error::NotFound { name: self.name.into(), dir: self.namespace.dir().unwrap_or_default() }
    }

    #[cold]
    pub(crate) fn already_exists(&self) -> Error {
        Error::AlreadyExists { name: self.name.into(), dir: self.namespace.dir().unwrap_or_default() }
    }
}

fn check_name(name: &str) -> Result<()> {
    let wrong = if name.is_empty() {
        "it is empty"
    } else if name.len() > MAX_NAME {
        "it is longer than 200 bytes"
    } else if name.starts_with('.') {
        "it begins with a dot"
    } else if name.starts_with('@') {
        "it begins with an at sign, as only addresses do"
    } else if name.contains('/') {
        "it contains a slash: namespaces are flat"
    } else if name.contains(char::is_control) {
        "it contains a control character"
    } else {
        return Ok(());
    };
    let shown: String = name.chars().take(40).collect();
    Err(Error::invalid(format!("{shown:?} cannot be a name: {wrong}")))
}

/// The user's own directory in `parent`, a directory where anybody may make files and remove only their own (`/dev/shm`).
///
/// Another user may have taken the plain name. Then the first of some other names is used that is this user's, or can be.
fn own_dir(parent: &Path) -> Result<PathBuf> {
    const CANDIDATES: u32 = 8;
    let user = geteuid().as_raw();
    let candidate = |n: u32| match n {
        0 => parent.join(format!("rsipc-{user}")),
        n => parent.join(format!("rsipc-{user}.{n}")),
    };
    let mut free = None;
    for n in 0..CANDIDATES {
        let dir = candidate(n);
        match fs::symlink_metadata(&dir) {
            Ok(meta) if meta.is_dir() && meta.uid() == user && meta.mode() & 0o077 == 0 => return Ok(dir),
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => free = free.or(Some(dir)),
            Err(e) => return Err(Error::os(e.raw_os_error().unwrap_or(0), format!("looking at {}", dir.display()))),
        }
    }
    free.ok_or_else(|| {
        Error::PermissionDenied(format!(
            "{} and its {} alternatives are all another user's, or open to others: set {DIR_VARIABLE} to a directory of your own",
            candidate(0).display(),
            CANDIDATES - 1
        ))
    })
}

fn make_private_dir(dir: &Path) -> Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            if dir.is_dir() {
                Ok(())
            } else {
                Err(Error::invalid(format!("{} is not a directory", dir.display())))
            }
        }
        Err(_) if dir.is_dir() => Ok(()),
        Err(e) => Err(Error::os(e.raw_os_error().unwrap_or(0), format!("making the directory {}", dir.display()))),
    }
}
