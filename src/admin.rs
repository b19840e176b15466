//! Administration: what may be seen of a running relay, and how it is shown.

pub mod access;
pub mod charts;
pub mod command;
pub mod desk;
pub mod http;
pub mod samples;
pub mod telnet;
pub mod traced;
pub mod view;
