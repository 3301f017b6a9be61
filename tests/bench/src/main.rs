//! Measures Cofferdam beside its floors, in one run: `cargo run --release -p cofferdam-bench [NAME...]`.
//! `--list` names the groups, `--smoke` runs them with counts so small that they only show that they run.
//!
//! Figures are printed, never asserted: what counts is the ratio to the floor that was measured next to it.

mod agents;
mod bare;
mod calls;
mod commit;
mod crowd;
mod delta;
mod durable;
mod foreach;
mod graph;
mod load;
mod mail;
mod measure;
mod memory;
mod neighbour;
mod plugin;
mod process;
mod shown;
mod sink;
mod streamed;
mod tokens;
mod validate;

use anyhow::{Result, bail, ensure};
use measure::Extent;

/// One group of figures.
type Group = (&'static str, fn(&tokio::runtime::Runtime) -> Result<()>);

const GROUPS: &[Group] = &[
    // First, while no memory of others is there to be used again.
    ("agents", agents::run),
    ("crowd", crowd::run),
    ("graph", graph::run),
    ("foreach", foreach::run),
    ("mail", mail::run),
    ("validate", validate::run),
    ("delta", delta::run),
    ("streamed", streamed::run),
    ("tokens", tokens::run),
    ("plugin", plugin::run),
    ("calls", calls::run),
    ("load", load::run),
    ("memory", memory::run),
    ("neighbour", neighbour::run),
    ("sink", sink::run),
    ("commit", commit::run),
    ("durable", durable::run),
    ("process", process::run),
];

fn main() -> Result<()> {
    if let [serve, millis] = std::env::args().skip(1).collect::<Vec<_>>().as_slice()
        && serve == crowd::SERVE
    {
        return crowd::serve(millis);
    }
    if std::env::args().nth(1).is_some_and(|argument| argument == tokens::SERVE) {
        return tokens::serve();
    }
    let (flags, wanted): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with('-'));
    let names: Vec<&str> = GROUPS.iter().map(|(name, _)| *name).collect();
    if let Some(unknown) = wanted.iter().find(|wanted| !names.contains(&wanted.as_str())) {
        bail!("there is no group `{unknown}`; there are {}", names.join(", "));
    }
    match flags.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => measure::set_extent(Extent::Full),
        ["--smoke"] => measure::set_extent(Extent::Smoke),
        ["--list"] => {
            names.iter().for_each(|name| anstream::println!("{name}"));
            return Ok(());
        }
        _ => bail!("unknown arguments {flags:?}; there are --list and --smoke"),
    }
    measure::title();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for (name, run) in GROUPS.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name))
    {
        anstream::println!("\n[{name}]");
        let before = measure::figures();
        run(&runtime)?;
        ensure!(measure::figures() > before, "the group `{name}` prints no figure");
    }
    Ok(())
}
