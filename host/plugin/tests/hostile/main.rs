//! Guests against the host: an honest one, and many that are not.
//!
//! The code of each guest stands as text beside this file; the component around it comes from `wit/`, so that the
//! guests follow the contract without being written again. Bounds are lowered, so that the whole takes seconds.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail loudly")]

mod attacks;
mod guest;
mod in_step;
mod loading;
mod sandbox;
mod scene;
mod shipped;
mod versions;
