//! Measures Cofferdam beside its floors, in one run: `cargo run --release -p cofferdam-bench [NAME...]`.
//!
//! Figures are printed, never asserted: what counts is the ratio to the floor that was measured next to it.

mod agents;
mod bare;
mod commit;
mod delta;
mod foreach;
mod graph;
mod measure;
mod plugin;
mod process;
mod validate;

use anyhow::Result;

/// One group of figures.
type Group = (&'static str, fn(&tokio::runtime::Runtime) -> Result<()>);

const GROUPS: &[Group] = &[
    // First, while no memory of others is there to be used again.
    ("agents", agents::run),
    ("graph", graph::run),
    ("foreach", foreach::run),
    ("validate", validate::run),
    ("delta", delta::run),
    ("plugin", plugin::run),
    ("commit", commit::run),
    ("process", process::run),
];

fn main() -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    measure::title();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for (name, run) in GROUPS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            run(&runtime)?;
        }
    }
    Ok(())
}
