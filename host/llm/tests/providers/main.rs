//! Models of providers, from outside: against a provider on loopback that answers and misbehaves in five protocols.
//!
//! It must not look into the client: what it checks is what a step sees, and what the provider was sent.

#![cfg(test)]

mod answers;
mod bench;
mod expected;
mod failures;
mod modes;
mod policy;
mod requests;
mod sdks;
mod sdks_differ;
mod trips;
