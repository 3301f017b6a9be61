//! Runs through the executor, with every port scripted: nothing here touches a disk, a network or the real time.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails loudly, also where clippy sees only a function of one"
)]

mod asks;
mod background;
mod branches;
mod closures;
mod crowd;
mod evaluations;
mod includes;
mod loops;
mod mail;
mod memory;
mod messages;
mod pure;
mod recalled;
mod replayed;
mod resumed;
mod scene;
mod sensitive;
mod sequels;
mod timing;
mod variables;
