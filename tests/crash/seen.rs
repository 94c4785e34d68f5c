//! What others can see of a process: the memory that it shares, and what the kernel looks at when it dies.
//!
//! Killed after an instruction that changed none of this a process leaves behind what it would have left one instruction earlier, whatever
//! it had in its registers and its own memory. So one that is killed after each instruction that did, and before and after each
//! system call, was killed in every way of this run that others can tell apart.

use std::collections::HashMap;
use std::fs::File;
use std::io::IoSliceMut;
use std::ops::Range;
use std::os::unix::fs::{DirEntryExt, FileExt};
use std::path::Path;

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::{Pid, Whence, lseek};

/// A stretch of memory.
struct Part {
    start: u64,
    bytes: Vec<u8>,
    /// What was there before, where the next look goes to.
    other: Vec<u8>,
}

impl Part {
    fn new(Range { start, end }: Range<u64>) -> Self {
        let len = (end - start) as usize;
        Self { start, bytes: vec![0; len], other: vec![0; len] }
    }

    fn range(&self) -> Range<u64> {
        self.start..self.start + self.bytes.len() as u64
    }

    fn has_changed(&mut self, read: impl FnOnce(u64, &mut [u8])) -> bool {
        read(self.start, &mut self.other);
        std::mem::swap(&mut self.other, &mut self.bytes);
        self.other != self.bytes
    }
}

/// A file that the process has mapped for others to see.
struct Shared {
    file: File,
    /// Where it has memory: the rest is not read, since that would take some.
    parts: Vec<Part>,
}

impl Shared {
    /// Whether it is not as it was when this was asked last.
    fn has_changed(&mut self) -> bool {
        let mut changed = !data(&self.file).eq(self.parts.iter().map(Part::range));
        if changed {
            self.parts = data(&self.file).map(Part::new).collect();
        }
        for part in &mut self.parts {
            changed |= part.has_changed(|start, bytes| {
                let mut len = 0;
                while let Some(more) = self.file.read_at(&mut bytes[len..], start + len as u64).ok().filter(|more| *more > 0) {
                    len += more;
                }
                // What it does not have any more reads as zeroes.
                bytes[len..].fill(0);
            });
        }
        changed
    }
}

/// Where a file has memory.
fn data(file: &File) -> impl Iterator<Item = Range<u64>> {
    let mut end = 0;
    std::iter::from_fn(move || {
        let start = lseek(file, end, Whence::SeekData).ok()?;
        end = lseek(file, start, Whence::SeekHole).ok()?;
        Some(start as u64..end as u64)
    })
}

/// What could be seen of a process when it was looked at last.
pub struct Seen {
    pid: Pid,
    /// By inode: one that has lost its name since may be another's still.
    files: HashMap<u64, Shared>,
    /// What is shared without a name, such as the tests' boards: where the process has it.
    boards: Vec<Part>,
    /// The thread's robust list, and where the head of it is.
    robust: Vec<u64>,
    head: u64,
    /// Where the kernel's own code is.
    vdso: Range<u64>,
}

impl Seen {
    pub fn of(pid: Pid) -> Self {
        let (mut head, mut len) = (0_u64, 0_usize);
        // SAFETY: it writes to these two.
        let result = unsafe { libc::syscall(libc::SYS_get_robust_list, pid.as_raw(), &raw mut head, &raw mut len) };
        assert_eq!(result, 0, "the robust list of a process that is traced can be asked for");
        let mut seen = Self { pid, files: HashMap::new(), boards: vec![], robust: vec![], head, vdso: 0..0 };
        seen.has_changed(0, true);
        seen
    }

    /// Whether it is not as it was when this was asked last, before the instruction at `place`. After a system call there may be
    /// other files.
    pub fn has_changed(&mut self, place: u64, after_call: bool) -> bool {
        // It reads the clock again if that has moved on meanwhile, which it does all the time if each step lasts.
        if self.vdso.contains(&place) {
            return false;
        }
        if after_call {
            self.look_for_files();
        }
        let robust = self.robust_list();
        let mut changed = robust != self.robust;
        self.robust = robust;
        for file in self.files.values_mut() {
            changed |= file.has_changed();
        }
        for board in &mut self.boards {
            changed |= board.has_changed(|start, bytes| _ = read(self.pid, start, bytes));
        }
        changed
    }

    fn look_for_files(&mut self) {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.pid)).unwrap();
        for line in maps.lines() {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let [range, access, _, _, inode, path, ..] = fields[..] else { continue };
            let number = |text| u64::from_str_radix(text, 16).unwrap();
            let (start, end) = range.split_once('-').map(|(start, end)| (number(start), number(end))).unwrap();
            let inode = inode.parse().unwrap();
            if path == "[vdso]" {
                self.vdso = start..end;
            }
            if !access.ends_with('s') || self.files.contains_key(&inode) {
                continue;
            }
            if path.starts_with("/memfd:") && self.boards.iter().all(|board| board.start != start) {
                self.boards.push(Part::new(start..end));
            }
            if path.starts_with("/dev/shm/") {
                self.files.extend(named(inode, Path::new(path)).map(|file| (inode, Shared { file, parts: vec![] })));
            }
        }
    }

    fn robust_list(&self) -> Vec<u64> {
        let mut list = self.words::<3>(self.head).unwrap().to_vec();
        let mut node = list[0];
        // The kernel goes no further, either.
        while node != self.head && list.len() < 2048 {
            // The lowest bit says of which kind it is.
            let Some([next]) = self.words(node & !1) else { break };
            node = next;
            list.push(node);
        }
        list
    }

    fn words<const COUNT: usize>(&self, address: u64) -> Option<[u64; COUNT]> {
        let mut words = [[0_u8; 8]; COUNT];
        read(self.pid, address, words.as_flattened_mut()).then(|| words.map(u64::from_ne_bytes))
    }
}

/// The file with this inode, if it has a name in the directory of `path`: that of a mapping is not always its name, since objects are made
/// without one and get it when they are whole. Others cannot see one that has none.
fn named(inode: u64, path: &Path) -> Option<File> {
    let entries = path.parent()?.read_dir().ok()?;
    File::open(entries.flatten().find(|entry| entry.ino() == inode)?.path()).ok()
}

/// Reads what a process has at an address; says whether it could.
fn read(pid: Pid, address: u64, bytes: &mut [u8]) -> bool {
    let len = bytes.len();
    let remote = [RemoteIoVec { base: address as usize, len }];
    process_vm_readv(pid, &mut [IoSliceMut::new(bytes)], &remote) == Ok(len)
}
