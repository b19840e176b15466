//! What the words of an object mean. The numbers are shared with older and newer versions: new
//! ones are added, none is ever given another meaning.

use crate::aggregate::Refused;
use crate::validate::Reason;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum Kind {
    /// A listen address, by its text.
    Listener = 1,
    /// A route, by its key.
    Route = 2,
    /// A destination, by its id.
    Destination = 3,
    /// A blocklist rule, by its text.
    Rule = 4,
    /// A destination's send ring, by the destination's id: only cells.
    Queue = 5,
    /// A destination's intake ring, by the destination's id: only cells.
    Intake = 6,
    /// An aggregation, by its text.
    Aggregation = 7,
}

impl Kind {
    pub(super) fn from_number(number: u64) -> Option<Kind> {
        Some(match number {
            1 => Kind::Listener,
            2 => Kind::Route,
            3 => Kind::Destination,
            4 => Kind::Rule,
            5 => Kind::Queue,
            6 => Kind::Intake,
            7 => Kind::Aggregation,
            _ => return None,
        })
    }
}

/// A counter of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Listener: lines in, empty ones not counted. Route: lines taken. Rule: lines blocked. Aggregation: points taken into
    /// windows.
    Lines,
    /// Listener: connections accepted.
    Accepted,
    /// Listener: connections closed.
    Closed,
    /// Listener: bytes read.
    Bytes,
    /// Listener: bytes that a killed worker had read and not queued, and the rest of the line that
    /// was cut.
    LostByCrash,
    /// Listener: bytes that lay in the kernel unread when a stop ended.
    UnreadAtStop,
    /// Listener: lines dropped by the blocklist.
    Blocked,
    /// Listener: lines that no destination took.
    Unrouted,
    /// Listener: lines that at least one destination took.
    Routed,
    /// Listener: lines routed × destinations that took them.
    Copies,
    /// Listener: lines that an aggregation took, and let go no further.
    Consumed,
    /// Listener `internal`: wrong tokens, by whatever way they came.
    WrongTokens,
    /// Listener `internal`: lines that subscribers have lost.
    Unseen,
    /// Listener: lines rejected, by reason.
    Rejected(Reason),
    /// Aggregation: windows that were closed, and their lines placed.
    Windows,
    /// Aggregation: the points that were in them.
    Flushed,
    /// Aggregation: the lines that came of them.
    Out,
    /// Aggregation: points that were in windows which were lost with their worker.
    Lost,
    /// Aggregation: points in windows that were kept over a stop.
    Restored,
    /// Aggregation: points that went into no window, by reason.
    Refused(Refused),
    /// Destination: lines that routes gave it.
    Given,
    /// Destination: lines acknowledged (by TCP, or written to the file).
    Acknowledged,
    /// Destination: lines written, the re-sent ones not counted.
    Sent,
    /// Destination: lines written again after a lost connection.
    Resent,
    /// Destination: connections made.
    Connects,
    /// Destination: attempts to connect that failed.
    ConnectFailures,
    /// Destination: connections lost.
    Disconnects,
    /// Destination: lines found in its spool that no route gave it since the service was started: from before, added by hand, or moved
    /// from another member of its route that is down.
    Imported,
    /// Destination: lines that were queued for it, and given to another member of its route since it was down.
    Moved,
    /// Destination: lines dropped, by reason.
    Dropped(DropReason),
}

/// Why a destination dropped lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum DropReason {
    /// Its ring was full and its policy is `drop`.
    Full,
    /// Its ring was full, its policy is `block`, and the line came by UDP, which can't wait.
    FullUdp,
    /// Undelivered when a stop ended.
    Stop,
    /// The destination was removed from the config and didn't take the rest in time.
    Removed,
    /// The spool was full (`spool_max`, `max_size`, the disk) and its policy is to drop, or there was none.
    SpoolFull,
    /// They lay in the spool's file, which was damaged.
    SpoolDamaged,
    /// They were older than `replay_from` allows when it was their turn.
    TooOld,
    /// Somebody purged the spool.
    Purged,
    /// They are no points that a pickle could hold; and the destination takes only such.
    Unencodable,
}

impl DropReason {
    /// All of them.
    pub const ALL: [DropReason; 9] = [
        DropReason::Full,
        DropReason::FullUdp,
        DropReason::Stop,
        DropReason::Removed,
        DropReason::SpoolFull,
        DropReason::SpoolDamaged,
        DropReason::TooOld,
        DropReason::Purged,
        DropReason::Unencodable,
    ];

    /// As in metrics and the status.
    pub fn as_str(self) -> &'static str {
        match self {
            DropReason::Full => "full",
            DropReason::FullUdp => "full-udp",
            DropReason::Stop => "stop",
            DropReason::Removed => "removed",
            DropReason::SpoolFull => "spool-full",
            DropReason::SpoolDamaged => "spool-damaged",
            DropReason::TooOld => "too-old",
            DropReason::Purged => "purged",
            DropReason::Unencodable => "unencodable",
        }
    }
}

impl From<DropReason> for Count {
    fn from(reason: DropReason) -> Count {
        Count::Dropped(reason)
    }
}

impl From<Refused> for Count {
    fn from(reason: Refused) -> Count {
        Count::Refused(reason)
    }
}

impl From<Reason> for Count {
    fn from(reason: Reason) -> Count {
        Count::Rejected(reason)
    }
}

impl Count {
    pub(super) fn word(self) -> usize {
        match self {
            Count::Lines | Count::Given => 0,
            Count::Accepted | Count::Acknowledged | Count::Windows => 1,
            Count::Closed | Count::Sent | Count::Flushed => 2,
            Count::Bytes | Count::Resent | Count::Out => 3,
            Count::LostByCrash | Count::Connects | Count::Lost => 4,
            Count::UnreadAtStop | Count::ConnectFailures | Count::Restored => 5,
            Count::Blocked | Count::Disconnects => 6,
            Count::Unrouted | Count::Imported => 7,
            Count::Routed | Count::Moved => 8,
            Count::Copies => 9,
            Count::Consumed => 10,
            Count::WrongTokens => 11,
            Count::Unseen => 12,
            Count::Rejected(reason) => 16 + reason as usize,
            Count::Dropped(reason) => 16 + reason as usize,
            Count::Refused(reason) => 16 + reason as usize,
        }
    }
}

/// A single value, mostly of a ring. Positions are bytes since the ring exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Cell {
    /// End of the newest line.
    Head = 0,
    /// Beginning of the oldest line that isn't acknowledged.
    Acked = 1,
    /// Beginning of the oldest line that is kept: `Acked`, or earlier with `resend`.
    Tail = 2,
    /// Lines that ever came in.
    LinesIn = 3,
    /// Lines that ever were acknowledged or dropped after they came in.
    LinesOut = 4,
    /// The cookie of the connection that the ring is sent on as text; the device and inode of a file.
    Link = 5,
    /// The ring position of the first byte sent on that connection (written to that file), in frames or not.
    LinkBase = 6,
    /// The length of the file at `LinkBase`.
    FileLength = 7,
    /// When the oldest line that isn't acknowledged came in, ms since 1970; 0 when there is none.
    OldestAt = 8,
    /// Lines before this position were sent at least once.
    SentUpTo = 9,
    /// Send ring: new lines go to the intake ring.
    Spooling = 10,
    /// Send ring: the spool's rows up to this one are in it …
    Cursor = 11,
    /// … and the last of them ends here. Signed, as the next; 0: none.
    CursorEnd = 12,
    /// Rows up to this one are to be deleted …
    Barrier = 13,
    /// … when the tail is here.
    BarrierEnd = 14,
    /// Intake ring: a random number that names it in the database; 0: none yet.
    RingId = 15,
    /// Intake ring: lines that ever came into the spool …
    SpooledIn = 16,
    /// … and that ever left it for the send ring, or were dropped.
    SpooledOut = 17,
    /// Send ring: 0: its route takes it for up; else for down, and above 1 it is up since then (ms since 1970).
    Standing = 18,
    /// Send ring: the cookie of the connection that it is sent on in frames; then `Link` is 0.
    FramedLink = 19,
    /// Frames that were begun on that connection …
    FramesBegun = 20,
    /// … and those of them that were acknowledged.
    FramesDone = 21,
    /// Where the last frame that was acknowledged ends, in bytes sent on that connection …
    FramesDoneWire = 22,
    /// … and in the ring.
    FramesDoneText = 23,
    /// Listener `aggregation`: the lines of all windows that were due by then are placed (seconds since 1970).
    ClosedTo = 24,
    /// Listener `aggregation`: what names are hashed with to see their points in order; 0: none yet.
    OrderSeed = 25,
    /// Listener `aggregation`: so many of the windows that a predecessor has passed are placed, in its order; above 32 bits
    /// the generation of the worker that has placed them.
    Passed = 26,
}

impl Cell {
    /// Those that mean nothing for a ring in new memory.
    pub const RESET: [Cell; 13] = [
        Cell::Link,
        Cell::OldestAt,
        Cell::Spooling,
        Cell::Cursor,
        Cell::CursorEnd,
        Cell::Barrier,
        Cell::BarrierEnd,
        Cell::RingId,
        Cell::FramedLink,
        Cell::FramesBegun,
        Cell::FramesDone,
        Cell::FramesDoneWire,
        Cell::FramesDoneText,
    ];
}
