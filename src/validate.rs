//! The `validate` room.
/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
#[allow(missing_docs)]
pub enum Reason { Fields, Value, Nan, Timestamp, Name, Tags, Metrics20, TooLong, Unterminated }
#[allow(missing_docs)]
impl Reason {
    pub const COUNT: usize = 9;
    pub const ALL: [Reason; 9] = [Reason::Fields, Reason::Value, Reason::Nan, Reason::Timestamp, Reason::Name, Reason::Tags, Reason::Metrics20, Reason::TooLong, Reason::Unterminated];
    pub fn as_str(self) -> &'static str { "x" }
}
