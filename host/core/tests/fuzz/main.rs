//! What a document, an expression or a template may be, and what it may not do to us: round trips, hostile
//! documents, and fuzzing with seeds.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

#[path = "../support/dice.rs"]
mod dice;
mod document;
mod hostile;
mod meter;
mod mutate;
mod round_trip;
mod targets;

#[global_allocator]
static METER: meter::Meter = meter::Meter;
