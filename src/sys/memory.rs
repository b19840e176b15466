//! Memory that two processes share: memfds, mapped as words or as a ring of bytes.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use rustix::fs::{MemfdFlags, SealFlags};

/// A new memfd of `len` bytes, all zero, close-on-exec. Pages cost memory once they are touched.
pub fn memfd(name: &str, len: u64) -> io::Result<OwnedFd> {
    let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(&fd, len)?;
    // A shrunk memfd would turn an access to a mapping into SIGBUS.
    rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW)?;
    Ok(fd)
}

/// A sealed memfd that holds these parts, one after the other: a message too large for a packet.
pub fn memfd_with<P: AsRef<[u8]>>(name: &str, parts: &[P]) -> io::Result<OwnedFd> {
    let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut end = 0;
    for part in parts {
        let mut rest = part.as_ref();
        while !rest.is_empty() {
            let n = rustix::io::pwrite(&fd, rest, end)?;
            (rest, end) = (&rest[n..], end + n as u64);
        }
    }
    seal(fd.as_fd())?;
    Ok(fd)
}

/// Seals a memfd against every change.
pub fn seal(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::fs::fcntl_add_seals(
        fd,
        SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL,
    )?)
}

/// The whole content of a memfd, at most `limit` bytes.
///
/// # Errors
/// `InvalidData` when it is larger than `limit`.
pub fn read_memfd(fd: BorrowedFd<'_>, limit: u64) -> io::Result<Vec<u8>> {
    let len = rustix::fs::fstat(fd)?.st_size as u64;
    if len > limit {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a memfd of {len} bytes, over the limit of {limit}"),
        ));
    }
    let mut bytes = vec![0; len as usize];
    let mut at = 0;
    while at < bytes.len() {
        match rustix::io::pread(fd, &mut bytes[at..], at as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => at += n,
        }
    }
    Ok(bytes)
}

/// One mapping; unmapped when dropped.
#[derive(Debug)]
struct Mapping {
    start: *mut u8,
    len: NonZeroUsize,
}

// SAFETY: the mapping is plain memory owned by this value; what is done with its bytes is
// governed by `Words` (atomics only) and `MappedRing` (its contract).
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `start` and `len` are those of a mapping that this value made and alone owns;
        // everything borrowed from it has a lifetime bound to `&self`.
        unsafe { libc::munmap(self.start.cast(), self.len.get()) };
    }
}

fn file_len(fd: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(rustix::fs::fstat(fd)?.st_size as u64)
}

/// A memfd seen as an array of atomic 64-bit words.
#[derive(Debug)]
pub struct Words {
    mapping: Mapping,
    count: usize,
}

impl Words {
    /// Maps the first `count` words of a memfd.
    ///
    /// # Errors
    /// `InvalidData` when the memfd is shorter; what mmap(2) says.
    pub fn map(fd: BorrowedFd<'_>, count: usize) -> io::Result<Words> {
        Words::map_at(fd, 0, count)
    }

    /// Maps `count` words of a memfd from the byte `offset` on, a multiple of the page size.
    ///
    /// # Errors
    /// As `map`.
    pub fn map_at(fd: BorrowedFd<'_>, offset: u64, count: usize) -> io::Result<Words> {
        let bytes = count * size_of::<u64>();
        let end = offset.checked_add(bytes as u64);
        let length = file_len(fd)?;
        if end.is_none_or(|end| length < end) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the memfd is too short",
            ));
        }
        let len = NonZeroUsize::new(bytes).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: a new shared mapping at an address of the kernel's choice touches no existing
        // memory. The length is covered by the file, which is sealed against shrinking.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_NORESERVE,
                fd.as_raw_fd(),
                offset as libc::off_t,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Words {
            mapping: Mapping {
                start: start.cast(),
                len,
            },
            count,
        })
    }

    /// The word at `index`. Panics when it is out of bounds.
    #[inline]
    pub fn at(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.count, "word {index} of {}", self.count);
        // SAFETY: in bounds by the assertion, aligned since mappings are page-aligned, alive as
        // long as `self`; every access anywhere, in the other process too, is atomic.
        unsafe { AtomicU64::from_ptr(self.mapping.start.cast::<u64>().add(index)) }
    }

    /// Reads a word.
    #[inline]
    pub fn load(&self, index: usize) -> u64 {
        self.at(index).load(Ordering::Acquire)
    }

    /// Writes a word.
    #[inline]
    pub fn store(&self, index: usize, value: u64) {
        self.at(index).store(value, Ordering::Release);
    }
}

/// A memfd mapped twice, back to back, so that every range of a ring of bytes is one slice.
///
/// Contract, kept by `queue::Ring`, its only user: a range is read only between the moment
/// its bytes are published (the ring's head moved over them) and the moment they are freed (its tail moved
/// over them), and is never written in that time. A range is written by one writer at a time (the ring's lock).
///
/// The memory can be replaced while nobody reads or writes (the gate is closed). Mappings that were replaced live on until the ring is
/// dropped, so that a slice stays valid as long as its lifetime says.
#[derive(Debug)]
pub struct MappedRing {
    start: AtomicPtr<u8>,
    size: AtomicUsize,
    mappings: Mutex<Vec<Mapping>>,
}

impl MappedRing {
    /// Maps `size` bytes of a memfd from `offset` on, both multiples of the page size.
    pub fn map(fd: BorrowedFd<'_>, offset: u64, size: usize) -> io::Result<MappedRing> {
        let mapping = Self::map_twice(fd, offset, size)?;
        Ok(MappedRing {
            start: AtomicPtr::new(mapping.start),
            size: AtomicUsize::new(size),
            mappings: Mutex::new(vec![mapping]),
        })
    }

    /// Goes on in another memfd.
    pub fn replace(&self, fd: BorrowedFd<'_>, offset: u64, size: usize) -> io::Result<()> {
        let mapping = Self::map_twice(fd, offset, size)?;
        let mut mappings = self.mappings.lock().unwrap_or_else(|e| e.into_inner());
        self.start.store(mapping.start, Ordering::Release);
        self.size.store(size, Ordering::Release);
        mappings.push(mapping);
        Ok(())
    }

    fn map_twice(fd: BorrowedFd<'_>, offset: u64, size: usize) -> io::Result<Mapping> {
        let page = rustix::param::page_size();
        let end = offset.checked_add(size as u64);
        let fits = end.is_some_and(|end| file_len(fd).is_ok_and(|len| end <= len));
        let aligned = size.is_multiple_of(page) && offset.is_multiple_of(page as u64);
        if !fits || !aligned {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a ring's memfd must cover it, in multiples of the page size",
            ));
        }
        let len = NonZeroUsize::new(size * 2).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: reserves fresh address space of the kernel's choice; nothing existing is touched.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len.get(),
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // From here on the drop of `mapping` cleans up.
        let mapping = Mapping {
            start: start.cast(),
            len,
        };
        for half in [0, size] {
            // SAFETY: both halves lie inside the space reserved above, which this function alone
            // owns; MAP_FIXED replaces just that. The file covers the range and cannot shrink.
            let at = unsafe {
                libc::mmap(
                    mapping.start.add(half).cast(),
                    size,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_SHARED | libc::MAP_NORESERVE | libc::MAP_FIXED,
                    fd.as_raw_fd(),
                    offset as libc::off_t,
                )
            };
            if at == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(mapping)
    }

    /// How many bytes it holds.
    #[inline]
    pub fn size(&self) -> usize {
        self.size.load(Ordering::Acquire)
    }

    /// The published bytes from stream position `position` on.
    #[inline]
    pub fn bytes(&self, position: u64, len: usize) -> &[u8] {
        let size = self.size();
        assert!(len <= size, "a range longer than the ring");
        let at = (position % size as u64) as usize;
        // SAFETY: `at < size` and `len <= size`, so the range lies in the two halves of the
        // mapping, which lives as long as `self`. By the contract above nobody writes a published
        // range, and `start` and `size` don't change while anybody reads.
        unsafe { std::slice::from_raw_parts(self.start.load(Ordering::Acquire).add(at), len) }
    }

    /// Copies the parts, `len` bytes in all, one behind the other to stream position `position`, which isn't published yet.
    #[inline]
    pub fn write<'a>(&self, position: u64, len: usize, parts: impl IntoIterator<Item = &'a [u8]>) {
        let size = self.size();
        assert!(len <= size, "a range longer than the ring");
        let at = (position % size as u64) as usize;
        let mut written = 0;
        for part in parts {
            assert!(part.len() <= len - written, "more than was said");
            // SAFETY: in bounds as in `bytes`; the source can't overlap, since by the contract
            // nobody holds a slice of an unpublished range, and there is one writer at a time.
            unsafe {
                let to = self.start.load(Ordering::Acquire).add(at + written);
                std::ptr::copy_nonoverlapping(part.as_ptr(), to, part.len());
            }
            written += part.len();
        }
        assert!(written == len, "less than was said");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_across_the_end_of_the_ring_is_one_slice() {
        let fd = memfd("test", 4096).unwrap();
        let ring = MappedRing::map(fd.as_fd(), 0, 4096).unwrap();
        let text: Vec<u8> = (0..100).collect();
        ring.write(4096 * 7 - 50, 100, [&text[..30], &text[30..]]);
        assert_eq!(ring.bytes(4096 * 7 - 50, 100), text);
        assert_eq!(ring.bytes(0, 50), &text[50..]);
    }

    #[test]
    fn two_mappings_of_one_memfd_see_each_others_words() {
        let fd = memfd("test", 4096).unwrap();
        let (a, b) = (
            Words::map(fd.as_fd(), 512).unwrap(),
            Words::map(fd.as_fd(), 512).unwrap(),
        );
        a.store(511, 7);
        assert_eq!(b.load(511), 7);
        assert!(Words::map(fd.as_fd(), 513).is_err());
    }

    #[test]
    fn a_sealed_message_reads_back_and_is_bounded() {
        let fd = memfd_with("test", &["he", "llo"]).unwrap();
        assert_eq!(read_memfd(fd.as_fd(), 5).unwrap(), b"hello");
        assert!(read_memfd(fd.as_fd(), 4).is_err());
        assert!(rustix::io::pwrite(&fd, b"x", 0).is_err(), "sealed");
    }
}
