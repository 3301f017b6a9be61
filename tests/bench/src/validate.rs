//! Reading and checking a document of 1 000 steps with 1 000 expressions.

use crate::graph::Nowhere;
use crate::measure::{best, count, row};
use anyhow::Result;
use std::fmt::Write as _;
use tokio::runtime::Runtime;

pub(crate) fn run(_: &Runtime) -> Result<()> {
    let steps = count(1_000, 3);
    let document = document(steps)?;
    let time = best(count(9, 1), || {
        let loaded = cofferdam_core::spec::parse(&document, "bench.yaml", &Nowhere);
        assert!(loaded.is_ok(), "the document has no faults");
    });
    let what = format!("validate {steps} steps with {steps} expressions, {} KiB", document.len() / 1024);
    row(&what, &format!("{:.1} ms", time.as_secs_f64() * 1e3), "50 ms");
    Ok(())
}

/// A chain in which every step has a condition that reads the one before it.
fn document(steps: usize) -> Result<String> {
    let mut text = String::from("name: bench\nsteps:\n  - {id: step-0, instructions: begin, condition: 'true'}\n");
    for at in 1..steps {
        let before = at - 1;
        write!(
            text,
            "  - id: step-{at}\n    dependsOn: [step-{before}]\n    instructions: go on\n    \
             condition: steps.step-{before}.status == 'completed' && size(steps.step-{before}.content) > {at}\n"
        )?;
    }
    Ok(text)
}
