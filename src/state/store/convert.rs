//! Between SQLite's words and ours.

use std::io;

use rusqlite::ErrorCode;
use rusqlite::ffi::{
    SQLITE_IOERR_CORRUPTFS, SQLITE_IOERR_DATA, SQLITE_IOERR_READ, SQLITE_IOERR_SHORT_READ,
};

use super::super::StoreError;

/// What SQLite says, as what is to be done about it. To be called at once: the cause of an I/O error is in `errno`.
pub fn fault(error: rusqlite::Error) -> StoreError {
    let errno = io::Error::last_os_error().kind();
    let full = matches!(
        errno,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    );
    let text = error.to_string();
    match &error {
        rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreError::Damaged(text),
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::FileLockingProtocolFailed => StoreError::Busy,
            ErrorCode::DiskFull => StoreError::Full,
            // They were there when it was opened.
            ErrorCode::Unknown if text.starts_with("no such table") => StoreError::Damaged(text),
            ErrorCode::SystemIoFailure if failure.extended_code == SQLITE_IOERR_SHORT_READ => {
                StoreError::Damaged(text)
            }
            ErrorCode::SystemIoFailure | ErrorCode::CannotOpen if full => StoreError::Full,
            _ => StoreError::Unavailable(text),
        },
        // STRICT tables hold what they say: another type is damage.
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::Utf8Error(..) => StoreError::Damaged(text),
        _ => StoreError::Unavailable(text),
    }
}

/// Whether it is what was read that is bad, and reading something else may go well.
pub fn is_local(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => {
            let reading = [
                SQLITE_IOERR_READ,
                SQLITE_IOERR_SHORT_READ,
                SQLITE_IOERR_CORRUPTFS,
                SQLITE_IOERR_DATA,
            ];
            failure.code == ErrorCode::DatabaseCorrupt || reading.contains(&failure.extended_code)
        }
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::Utf8Error(..)
        | rusqlite::Error::QueryReturnedNoRows => true,
        _ => false,
    }
}

/// SQLite's integers are signed.
pub fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What [`signed`] has made; nothing here is less than nothing.
pub fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
