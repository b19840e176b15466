//! Administration: what may be seen of a running relay, and how it is shown.

pub mod access;
pub mod charts;
pub mod desk;
pub mod http;
pub mod samples;
pub mod view;
