//! Regions: bytes that others see, growth, descriptors, and running out of memory, descriptors and file size.

#![allow(clippy::undocumented_unsafe_blocks, reason = "objects placed in a region are left the bytes that are theirs")]

mod support;

use std::fs;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use nix::mount::{MsFlags, mount, umount};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};
use rsipc::{Error, Mutex, Namespace, Queue, QueueOptions, Region, Semaphore};
use support::{Board, LONG, Test, fork};

fn bytes_at(region: &Region, offset: usize, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xff; len];
    unsafe { region.view().unwrap().read(offset, &mut bytes) }.unwrap();
    bytes
}

#[test]
fn others_see_what_is_written() {
    let test = Test::new("bytes");
    let region = Region::create(test.name("r"), 10_000).unwrap();
    assert_eq!(region.len(), 10_000);
    assert_eq!(bytes_at(&region, 0, 10_000), vec![0; 10_000]);
    let view = region.view().unwrap();
    assert_eq!((view.len(), view.as_ptr().addr() % 4096), (10_000, 0));
    unsafe { view.write(9_995, b"hello") }.unwrap();
    fork("reader", || {
        let region = Region::open(test.name("r")).unwrap();
        assert_eq!(bytes_at(&region, 9_995, 5), b"hello");
        unsafe { region.view().unwrap().write(0, b"and back") }.unwrap();
    })
    .join();
    assert_eq!(bytes_at(&region, 0, 8), b"and back");
    for (offset, len) in [(9_996, 5), (10_001, 0), (usize::MAX, 2), (0, 10_001)] {
        assert!(matches!(unsafe { view.write(offset, &vec![1; len]) }, Err(Error::InvalidArgument(_))));
        assert!(matches!(unsafe { view.read(offset, &mut vec![1; len]) }, Err(Error::InvalidArgument(_))));
    }
    unsafe { view.write(10_000, b"") }.unwrap();
}

#[test]
fn impossible_lengths_are_refused() {
    let test = Test::new("lengths");
    for len in [0, usize::MAX, usize::MAX / 2, isize::MAX as usize] {
        assert!(matches!(Region::create(test.name("r"), len), Err(Error::InvalidArgument(_))), "{len}");
        assert!(matches!(Region::anonymous(len), Err(Error::InvalidArgument(_))), "{len}");
    }
    // More than the machine has.
    for len in [1 << 44, 1 << 50, 1 << 61] {
        let refused = Region::create(test.name("r"), len).unwrap_err();
        assert!(matches!(refused, Error::NoSpace(_) | Error::NoMemory(_)), "{len}: {refused}");
    }
    assert!(test.files().is_empty());
}

#[test]
fn growth_is_seen_by_others_and_old_views_stay_valid() {
    let test = Test::new("growth");
    let region = Region::create(test.name("r"), 5000).unwrap();
    let old = region.view().unwrap();
    unsafe { old.write(0, b"old") }.unwrap();
    let board = Board::new(2);
    let grower = fork("grower", || {
        let region = Region::open(test.name("r")).unwrap();
        for len in [5000, 5001, 100_000, 1_000_000] {
            region.grow(len).unwrap();
        }
        unsafe { region.view().unwrap().write(999_995, b"there") }.unwrap();
        board.set(0, 1);
        board.wait(1, 1);
        assert_eq!(bytes_at(&region, 1_500_000, 4), b"more");
    });
    board.wait(0, 1);
    assert_eq!(region.len(), 1_000_000);
    assert_eq!(bytes_at(&region, 999_995, 5), b"there");
    assert_eq!(old.len(), 5000);
    unsafe { old.write(4995, b"valid") }.unwrap();
    assert_eq!(bytes_at(&region, 4995, 5), b"valid");
    assert!(matches!(region.grow(10), Err(Error::InvalidArgument(_))));
    region.grow(2_000_000).unwrap();
    unsafe { region.view().unwrap().write(1_500_000, b"more") }.unwrap();
    board.set(1, 1);
    grower.join();
    drop(region);
    let mut bytes = [0; 3];
    unsafe { old.read(0, &mut bytes) }.unwrap();
    assert_eq!(&bytes, b"old");
}

#[test]
fn many_grow_at_once() {
    let test = Test::new("many grow");
    let region = Region::create(test.name("r"), 1).unwrap();
    let growers: Vec<_> = (0..4)
        .map(|i| {
            let test = &test;
            fork("grower", move || {
                let region = Region::open(test.name("r")).unwrap();
                for step in 0..100 {
                    let len = region.len() + 1000 * i + step;
                    // Another may have grown it further.
                    let _ = region.grow(len);
                    let view = region.view().unwrap();
                    unsafe { view.write(view.len() - 1, b"x") }.unwrap();
                }
            })
        })
        .collect();
    growers.into_iter().for_each(support::Child::join);
    assert!(region.len() > 4950);
    region.view().unwrap();
}

#[test]
fn a_region_is_filled_before_it_has_its_name() {
    let test = Test::new("create_with");
    let region = Region::create_with(test.name("r"), 100_000, |region| {
        assert!(matches!(Region::open(test.name("r")), Err(Error::NotFound { .. })));
        unsafe { Mutex::create_in(region, 0, 5u64) }?;
        unsafe { Queue::create_in(region, 1024, &QueueOptions::new().capacity(2).max_message(10)) }?;
        Ok(())
    })
    .unwrap();
    fork("user", || {
        let region = Region::open(test.name("r")).unwrap();
        assert_eq!(*unsafe { Mutex::<u64>::open_in(&region, 0) }.unwrap().lock().unwrap(), 5);
        unsafe { Queue::open_in(&region, 1024) }.unwrap().send(b"x").unwrap();
    })
    .join();
    assert_eq!(unsafe { Queue::open_in(&region, 1024) }.unwrap().recv().unwrap(), b"x");
    let failed = Region::create_with(test.name("s"), 100, |_| Err(Error::WouldBlock));
    assert_eq!(failed.err(), Some(Error::WouldBlock));
    assert_eq!(test.files(), ["r"]);
}

#[test]
fn an_anonymous_region_goes_through_a_socket() {
    let _test = Test::new("anonymous");
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::empty()).unwrap();
    let child = fork("receiver", || {
        let mut byte = [0];
        let mut parts = [IoSliceMut::new(&mut byte)];
        let mut room = nix::cmsg_space!(RawFd);
        let got = recvmsg::<()>(theirs.as_raw_fd(), &mut parts, Some(&mut room), MsgFlags::empty()).unwrap();
        let Some(ControlMessageOwned::ScmRights(fds)) = got.cmsgs().unwrap().next() else { panic!("no descriptor came") };
        // SAFETY: it was just received, and belongs to nobody else.
        let region = Region::from_fd(unsafe { OwnedFd::from_raw_fd(fds[0]) }).unwrap();
        assert_eq!(unsafe { Queue::open_in(&region, 1024) }.unwrap().recv_timeout(LONG).unwrap(), b"from the parent");
        region.grow(1 << 20).unwrap();
        unsafe { region.view().unwrap().write((1 << 20) - 4, b"grew") }.unwrap();
        std::mem::forget(unsafe { Mutex::<()>::open_in(&region, 0) }.unwrap().lock().unwrap());
        drop(region);
    });
    let region = Region::anonymous(65536).unwrap();
    let mutex = unsafe { Mutex::create_in(&region, 0, ()) }.unwrap();
    let queue = unsafe { Queue::create_in(&region, 1024, &QueueOptions::new().capacity(1).max_message(100).leases(0)) }.unwrap();
    queue.send(b"from the parent").unwrap();
    let fds = [region.as_fd().as_raw_fd()];
    sendmsg::<()>(ours.as_raw_fd(), &[IoSlice::new(b"x")], &[ControlMessage::ScmRights(&fds)], MsgFlags::empty(), None).unwrap();
    child.join();
    assert_eq!(queue.len(), Ok(0));
    assert_eq!(bytes_at(&region, (1 << 20) - 4, 4), b"grew");
    assert!(mutex.lock_timeout(LONG).unwrap().owner_died());
}

#[test]
fn descriptors_that_are_no_regions_are_refused() {
    let test = Test::new("descriptors");
    Queue::create(test.name("q"), &QueueOptions::new()).unwrap();
    fs::write(test.dir.join("short"), b"x").unwrap();
    fs::write(test.dir.join("garbage"), [7; 10_000]).unwrap();
    fs::write(test.dir.join("zeros"), [0; 10_000]).unwrap();
    let open = |name: &str| {
        let file = fs::File::options().read(true).write(true).open(test.dir.join(name)).unwrap();
        Region::from_fd(file.into()).unwrap_err()
    };
    assert!(matches!(open("q"), Error::WrongKind { .. }));
    for name in ["short", "garbage", "zeros"] {
        assert!(matches!(open(name), Error::Corrupted(_)), "{name}: {}", open(name));
    }
    let (pipe, _other) = nix::unistd::pipe().unwrap();
    assert!(matches!(Region::from_fd(pipe), Err(Error::Corrupted(_))));
}

/// A small tmpfs, unmounted at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(test: &Test, size: &str) -> Self {
        let dir = test.dir.join("disk");
        fs::create_dir_all(&dir).unwrap();
        mount(Some("tmpfs"), &dir, Some("tmpfs"), MsFlags::empty(), Some(format!("size={size},mode=700").as_str()))
            .expect("the tests run as root");
        Self(dir)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        umount(&self.0).unwrap();
    }
}

#[test]
fn a_full_file_system_is_an_error_and_not_a_signal() {
    let test = Test::new("full");
    let disk = SmallDisk::new(&test, "1m");
    // In a process of its own: what it unmaps is mapped by no child of the other tests.
    fork("one that fills the disk", || fill(&Namespace::at(&disk.0))).join();
}

fn fill(space: &Namespace) {
    let full = |e: Option<Error>| assert!(matches!(e, Some(Error::NoSpace(_))), "{e:?}");
    full(Region::create(space.name("large"), 1 << 21).err());
    let region = Region::create(space.name("r"), 100_000).unwrap();
    let spare = Region::create(space.name("spare"), 100_000).unwrap();
    full(region.grow(1 << 21).err());
    assert_eq!(region.len(), 100_000);
    // The queue's memory is taken as it is needed.
    let queue = Queue::create(space.name("q"), &QueueOptions::new().capacity(100).max_message(100_000)).unwrap();
    let mut sent = 0;
    let refused = loop {
        match queue.try_send(&[sent as u8; 100_000]) {
            Ok(()) => sent += 1,
            Err(e) => break e,
        }
    };
    assert!(matches!(refused, Error::NoSpace(_)), "{refused}");
    assert!((3..10).contains(&sent), "{sent}");
    // What was sent is there, and the places that have memory go on.
    for i in 0..sent {
        assert_eq!(queue.recv_timeout(LONG).unwrap(), [i as u8; 100_000]);
    }
    // Fill the rest: nothing at all can be created any more.
    let mut rest = vec![];
    while let Ok(region) = Region::create(space.name(&format!("rest{}", rest.len())), 4096) {
        rest.push(region);
    }
    full(Mutex::create(space.name("m"), ()).err());
    full(Semaphore::create(space.name("s"), 0).err());
    full(Queue::create(space.name("q2"), &QueueOptions::new()).err());
    // A place without memory is not waited for as one that is taken.
    while queue.try_send(b"x").is_ok() {
        assert_eq!(queue.try_recv(), Ok(b"x".to_vec()));
    }
    full(queue.send_timeout(&[0; 100_000], LONG).err());
    assert!(space.list().unwrap().len() == 3 + rest.len());
    unsafe { region.view().unwrap().write(0, &[1; 100_000]) }.unwrap();
    // Room that comes back is used.
    space.unlink("spare").unwrap();
    drop(spare);
    Mutex::create(space.name("m"), ()).unwrap();
    queue.send(&[3; 100_000]).unwrap();
    assert_eq!(queue.recv().unwrap(), [3; 100_000]);
}

#[test]
fn limits_on_descriptors_and_file_sizes_are_errors() {
    let test = Test::new("limits");
    let region = Region::create(test.name("r"), 1000).unwrap();
    fork("one without descriptors", || {
        let open = fs::read_dir("/proc/self/fd").unwrap().count() as u64;
        setrlimit(Resource::RLIMIT_NOFILE, open - 1, open - 1).unwrap();
        let none = |e: Option<Error>| assert!(matches!(e, Some(Error::TooManyFiles(_))), "{e:?}");
        let mut kept = vec![];
        while let Ok(fd) = region.as_fd().try_clone_to_owned() {
            kept.push(fd);
        }
        none(Region::open(test.name("r")).err());
        none(Region::create(test.name("s"), 10).err());
        none(Region::anonymous(10).err());
        none(Queue::open_or_create(test.name("q"), &QueueOptions::new()).err());
        none(Semaphore::open(test.name("r")).err());
        none(Mutex::create(test.name("m"), ()).err());
    })
    .join();
    fork("one with a limit on file sizes", || {
        setrlimit(Resource::RLIMIT_FSIZE, 100_000, 100_000).unwrap();
        let refused = |e: Option<Error>| assert!(matches!(e, Some(Error::NoSpace(_))), "{e:?}");
        refused(Region::create(test.name("s"), 200_000).err());
        refused(region.grow(200_000).err());
        refused(Queue::create(test.name("q"), &QueueOptions::new().capacity(1000)).err());
        Region::create(test.name("small"), 50_000).unwrap();
    })
    .join();
    assert_eq!(test.files(), ["r", "small"]);
}
