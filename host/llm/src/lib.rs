//! Models: scripted, extractive, and over HTTP.
//!
//! Implements the ports `Model` and `Models` of the core. It must not know the engine, stores or plugins, must not read
//! the environment, the clock or files by itself, and reaches the network only through `cofferdam-egress`.
//!
//! In reading order: [`kind`] says what can go wrong; [`scripted`] and [`extract`] answer without any network.

pub mod extract;
pub mod kind;
pub mod scripted;
#[cfg(test)]
mod sse;

#[cfg(test)]
mod testing;

pub use extract::Extract;
pub use scripted::Scripted;
