//! The units under a real systemd: Baton as a service, from its first connection to a reboot, each line counted.
//!
//! Each test boots a machine of its own (`tests/systemd_real/machine`), which takes root. Elsewhere it says so and tries
//! nothing.

#[path = "systemd_real/clients.rs"]
mod clients;
#[path = "pickle/frame.rs"]
mod frame;
#[path = "systemd_real/guest.rs"]
mod guest;
#[path = "packaging/guide.rs"]
mod guide;
#[path = "systemd_real/kills.rs"]
mod kills;
#[path = "systemd_real/moves.rs"]
mod moves;
#[path = "systemd_real/package.rs"]
mod package;
#[path = "systemd_real/restarts.rs"]
mod restarts;
#[path = "systemd_real/service.rs"]
mod service;
#[path = "systemd_real/shipped.rs"]
mod shipped;
#[path = "systemd_real/site.rs"]
mod site;
#[path = "systemd_real/upgrade.rs"]
mod upgrade;
