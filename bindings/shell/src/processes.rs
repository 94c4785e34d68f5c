//! Which processes have an object mapped, and which of those sleep in a call on it: from `/proc`, as far as this user may look.
//!
//! `proc_pid_maps(5)` tells what is mapped. A thread that waits sleeps in futex(2) or futex_waitv(2) on an address in the mapping, which
//! `proc_pid_syscall(5)` shows to those who may trace the process.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use nix::sys::stat::{major, minor};

/// futex_wait(2), which Linux has since 6.7, by the same number on all machines.
const SYS_FUTEX_WAIT: i64 = 455;

/// A process that has an object mapped.
#[derive(Clone)]
pub struct Attached {
    pub pid: u32,
    pub command: String,
    /// None where that cannot be known.
    pub waiting: Option<bool>,
}

/// A file: its device and inode.
pub type FileId = (u64, u64);

/// Who has which of these files mapped.
pub fn attached(files: &[FileId]) -> HashMap<FileId, Vec<Attached>> {
    let names: HashMap<(String, u64), FileId> =
        files.iter().map(|&(dev, inode)| ((format!("{:02x}:{:02x}", major(dev), minor(dev)), inode), (dev, inode))).collect();
    let mut found: HashMap<FileId, Vec<Attached>> = HashMap::new();
    for pid in processes().filter(|pid| *pid != std::process::id()) {
        // It may end, or be another user's, at any moment.
        let Some(mapped) = mapped(pid, &names).filter(|mapped| !mapped.is_empty()) else { continue };
        let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned();
        let waits = waits(pid);
        for (file, ranges) in mapped {
            let is_in = |address: &u64| ranges.iter().any(|(start, end)| (start..end).contains(&address));
            let waiting = waits.as_ref().map(|addresses| addresses.iter().any(is_in));
            found.entry(file).or_default().push(Attached { pid, command: command.clone(), waiting });
        }
    }
    found
}

/// The process that a thread belongs to.
pub fn process_of(thread: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok())
}

/// A process's name.
pub fn command(pid: u32) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end().to_owned())
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Where in a process's memory the files are.
fn mapped(pid: u32, names: &HashMap<(String, u64), FileId>) -> Option<BTreeMap<FileId, Vec<(u64, u64)>>> {
    let mut mapped: BTreeMap<FileId, Vec<(u64, u64)>> = BTreeMap::new();
    for line in String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/maps")).ok()?).lines() {
        let mut fields = line.split_ascii_whitespace();
        let (Some(range), Some(device), Some(inode)) = (fields.next(), fields.nth(2), fields.next()) else { continue };
        let Ok(inode) = inode.parse() else { continue };
        let Some(file) = names.get(&(device.to_owned(), inode)) else { continue };
        if let Some((start, end)) = range.split_once('-') {
            let range = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
            mapped.entry(*file).or_default().push(range);
        }
    }
    Some(mapped)
}

/// The addresses of the futexes that a process's threads sleep on; None where that is not shown.
fn waits(pid: u32) -> Option<Vec<u64>> {
    let mut addresses = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let Ok(call) = fs::read_to_string(thread.path().join("syscall")) else { return None };
        // "running" for one that does not sleep.
        let mut fields = call.split_ascii_whitespace();
        let Some(number) = fields.next().and_then(|number| number.parse::<i64>().ok()) else { continue };
        let mut arguments = fields.filter_map(|field| u64::from_str_radix(field.trim_start_matches("0x"), 16).ok());
        let (Some(first), Some(second)) = (arguments.next(), arguments.next()) else { continue };
        if number == libc::SYS_futex || number == SYS_FUTEX_WAIT {
            addresses.push(first);
        } else if number == libc::SYS_futex_waitv {
            addresses.extend(waited_for(pid, first, second)?);
        }
    }
    Some(addresses)
}

/// The addresses in the array that a thread gave to futex_waitv(2): of 24 bytes each, of which the second 8 are the address.
fn waited_for(pid: u32, array: u64, count: u64) -> Option<Vec<u64>> {
    const ENTRY: usize = 24;
    const MOST: u64 = 128;
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut bytes = vec![0; usize::try_from(count.min(MOST)).ok()? * ENTRY];
    memory.read_exact_at(&mut bytes, array).ok()?;
    Some(bytes.chunks_exact(ENTRY).filter_map(|entry| Some(u64::from_ne_bytes(entry.get(8..16)?.try_into().ok()?))).collect())
}
