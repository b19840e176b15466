//! The units under a real systemd: Baton as a service, from its first connection to a reboot, each line counted.
//!
//! Each test boots a machine of its own (`tests/systemd_real/machine`), which takes root. Elsewhere it says so and tries
//! nothing.

#[path = "systemd_real/guest.rs"]
mod guest;
#[path = "systemd_real/kills.rs"]
mod kills;
#[path = "systemd_real/restarts.rs"]
mod restarts;
#[path = "systemd_real/service.rs"]
mod service;
#[path = "systemd_real/site.rs"]
mod site;
