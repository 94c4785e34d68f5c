//! Addresses, and the names of their files.

use std::fmt;

use crate::queue::Owner;
use crate::sys::process::Identity;

/// Where messages to one process go: it names an [`Endpoint`](crate::Endpoint), for as long as that is open.
///
/// It is made of the process's id and start time, so that it never comes to mean another process that gets the same id, and of a
/// serial number that tells the process's endpoints apart. Equal addresses name the same endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address {
    /// `Identity`; 0: nobody's.
    identity: u64,
    serial: u32,
}

/// From this serial number on they are the inboxes for replies.
pub(super) const REPLIES: u32 = 1 << 31;

impl Address {
    pub(super) fn new(identity: Identity, serial: u32) -> Self {
        Self { identity: identity.0, serial }
    }

    /// The process's id, in its pid namespace; 0 for what was sent by nobody.
    #[must_use]
    pub fn pid(self) -> u32 {
        self.identity().pid()
    }

    /// Which of the process's endpoints it is: 0 for the first in its namespace.
    #[must_use]
    pub fn serial(self) -> u32 {
        self.serial
    }

    /// What it is made of, for those who pass it on as numbers.
    #[cfg(feature = "capi")]
    pub(crate) fn to_numbers(self) -> (u64, u32) {
        (self.identity, self.serial)
    }

    /// The address made of these numbers, of which there need be no endpoint.
    #[cfg(feature = "capi")]
    pub(crate) fn from_numbers(identity: u64, serial: u32) -> Self {
        Self { identity, serial }
    }

    pub(super) fn identity(self) -> Identity {
        Identity(self.identity)
    }

    /// The owner of its inbox, with this life.
    pub(super) fn owner(self, life: u32) -> Owner {
        Owner { identity: self.identity(), serial: self.serial, life }
    }

    /// The name of its file: other processes with the same id have other files.
    pub(super) fn file_name(self) -> String {
        format!("@{}.{}.{}", self.pid(), self.identity().start(), self.serial)
    }

    /// The address whose file has this name.
    pub(crate) fn of_file(name: &str) -> Option<Self> {
        let mut numbers = name.strip_prefix('@')?.split('.');
        let identity = Identity::new(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
        let address = Self::new(identity, numbers.next()?.parse().ok()?);
        // Only as it is written above: `+1`, a fourth number and the like are something else.
        (address.file_name() == name).then_some(address)
    }
}

impl fmt::Display for Address {
    /// The process's id, and the serial number after a dot.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.pid(), self.serial)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_is_that_of_one_address() {
        for (pid, start, serial) in [(1, 0, 0), (4_194_303, 1, 7), (77, (1 << 38) - 1, REPLIES | 5)] {
            let address = Address::new(Identity::new(pid, start), serial);
            assert_eq!(Address::of_file(&address.file_name()), Some(address));
            assert_eq!((address.pid(), address.serial()), (pid, serial));
        }
        for other in ["", "@", "1.2.3", "@1.2", "@1.2.3.4", "@+1.2.3", "@01.2.3", "@1.2.-3", "@4194304.0.0", "@1.274877906944.0"]
        {
            assert_eq!(Address::of_file(other), None, "{other}");
        }
    }
}
