//! Pickles of datapoints: what becomes of each form of them, and that frames pass through restarts and crashes.

#[path = "pickle/crashes.rs"]
mod crashes;
#[path = "pickle/forms.rs"]
mod forms;
#[path = "pickle/frame.rs"]
mod frame;
#[path = "pickle/hostile.rs"]
mod hostile;
#[path = "inputs/relay.rs"]
#[allow(dead_code, reason = "each of the test programs uses a part of it")]
mod relay;
#[path = "pickle/restarts.rs"]
mod restarts;
#[path = "handover/trial.rs"]
mod trial;
#[path = "pickle/vectors.rs"]
mod vectors;
