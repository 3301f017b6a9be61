//! Guests against the host: an honest one, and many that are not.
//!
//! `probes` is the table of guests as data: what each tries and how that must end. `stage` is the one harness that runs
//! them, fresh and warm, pooled and on demand, and asserts what holds for all. What cannot be a row has a file of its own.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail loudly")]

mod endurance;
mod guest;
mod in_step;
mod loader;
mod loading;
mod matrix;
mod peer;
mod probe;
mod probes;
mod sandbox;
mod scene;
mod shipped;
mod slots;
mod stage;
mod supervision;
mod table;
mod versions;
mod watch;
