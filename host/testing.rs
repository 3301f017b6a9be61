//! Tests of workflows, without a model: cases in files, each with a document, inputs, scripted answers, and what is
//! expected of the run. `cofferdam test` shows what comes of them.
//!
//! A case touches neither the network nor the records of a project, and its time is simulated. It must not print.
//!
//! ```
//! use cofferdam::testing::{Machine, TestFile, run};
//! let file = TestFile::parse(
//!     r#"
//! workflow: |
//!   name: greet
//!   steps: [{ id: hi, instructions: Say hello. }]
//! cases:
//!   - name: greets
//!     model: { default: { text: Hello! } }
//!     expect: { output: Hello!, messages: { hi: { contains: Say hello. } } }
//! "#,
//!     "greet.test.yaml",
//! )?;
//! let mut verdicts = Vec::new();
//! run(file.cases(), &Machine::default(), 2, |verdict| verdicts.push(verdict));
//! assert!(verdicts.iter().all(|verdict| verdict.passed()));
//! # Ok::<(), cofferdam::Error>(())
//! ```

mod file;

mod case;
mod expect;
mod matcher;
mod models;
mod observed;
mod plugin;
mod reader;
mod script;
mod shape;
mod stage;
mod tools;
mod verdict;

pub use case::Case;
pub use file::TestFile;
pub use plugin::{PluginCase, PluginTests, RecordError, Subject};
pub use stage::Machine;
pub use verdict::{Miss, Verdict};

pub(crate) use tools::StandIns;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

/// Every key that a test file may have, for its documentation.
#[must_use]
pub fn keys() -> Vec<&'static str> {
    let shapes = [&shape::RUN, &shape::STEP, &shape::FAULT, &shape::USAGE, &shape::LOOP, &shape::MESSAGE];
    let of_shapes = shapes.into_iter().chain([&shape::CALLS, &shape::REFUSAL]).flat_map(|shape| shape.keys);
    let lists = [&file::ROOT[..], &case::OWN, &script::KEYS, &expect::OTHER, &tools::KEYS, &matcher::OPERATORS];
    lists.into_iter().flatten().copied().chain(of_shapes.map(|(key, _)| *key)).collect()
}

/// Every key that a test file of a plugin may have, for its documentation.
#[must_use]
pub fn plugin_keys() -> Vec<&'static str> {
    plugin::keys()
}

/// Runs cases, so many at the same time, and tells of each in the order given.
pub fn run(cases: &[Arc<Case>], machine: &Machine, at_once: usize, tell: impl FnMut(Verdict)) {
    run_until(cases, machine, at_once, &AtomicBool::new(false), tell);
}

/// As [`run`], until somebody sets `stop`: then no case begins any more, and those under way are left. What was done by
/// then is told.
pub fn run_until(
    cases: &[Arc<Case>],
    machine: &Machine,
    at_once: usize,
    stop: &AtomicBool,
    mut tell: impl FnMut(Verdict),
) {
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..at_once.clamp(1, cases.len().max(1)) {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(index) else { return };
                    let Some(verdict) = stage::run(case, machine, stop) else { return };
                    // Nobody listens only when the one who tells has panicked.
                    _ = sender.send((index, verdict));
                }
            });
        }
        drop(sender);
        let mut early = BTreeMap::new();
        let mut told = 0;
        for (index, verdict) in receiver {
            early.insert(index, verdict);
            while let Some(verdict) = early.remove(&told) {
                tell(verdict);
                told += 1;
            }
        }
        // After a stop some are missing before these.
        early.into_values().for_each(tell);
    });
}
