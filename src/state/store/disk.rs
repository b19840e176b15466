//! How much room there is on the disk, and for what it is wanted.

use super::super::{Disk, StoreError};
use super::{Store, file_length};

impl Store {
    /// What the disk has room for.
    ///
    /// # Errors
    ///
    /// When it can't be told.
    pub fn disk(&self) -> Result<Disk, StoreError> {
        let length = self.pragma("page_count")? * self.pragma("page_size")?;
        let folder = self.path.parent().filter(|folder| *folder != "");
        let disk = rustix::fs::statvfs(folder.unwrap_or(".".as_ref()))
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let room = match disk.f_blocks {
            // A file system that doesn't tell.
            0 => u64::MAX / 4,
            _ => disk.f_bavail.saturating_mul(disk.f_frsize),
        };
        Ok(Disk {
            promised: length.saturating_sub(file_length(&self.path)),
            room: room.min(u64::MAX / 4),
        })
    }
}
