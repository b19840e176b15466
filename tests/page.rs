//! The page, as people use it: in a real browser, at a real Baton with real lines, by mouse and by keyboard.
#![allow(missing_docs)]

#[path = "page/access.rs"]
mod access;
#[path = "table/api.rs"]
#[expect(dead_code, reason = "each of the test programs uses a part of it")]
mod api;
#[path = "page/browser.rs"]
mod browser;
#[path = "page/changes.rs"]
mod changes;
#[path = "page/crowd.rs"]
mod crowd;
#[path = "page/files.rs"]
mod files;
#[path = "page/focus.rs"]
mod focus;
#[path = "page/link.rs"]
mod link;
#[path = "page/login.rs"]
mod login;
#[path = "page/looks.rs"]
mod looks;
#[path = "inputs/relay.rs"]
#[expect(dead_code, reason = "each of the test programs uses a part of it")]
mod relay;
