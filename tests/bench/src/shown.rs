//! How soon a long run is shown: the whole process, from its start to its last line.

use crate::measure::{count, row};
use crate::process::{binary, median, millis, with};
use anyhow::{Result, ensure};
use std::process::Stdio;

const SCRIPT: &str = "chunk: 0\ndefault: { text: a few words about it }\n";

pub(crate) fn run() -> Result<()> {
    let (binary, dir) = (binary()?, tempfile::tempdir()?);
    let items: Vec<String> = (0..count(10_000, 4)).map(|item| item.to_string()).collect();
    let items = items.join(", ");
    let document =
        format!("name: many\nsteps:\n  - {{ id: each, instructions: look, loop: {{ forEach: [{items}] }} }}\n");
    std::fs::write(dir.path().join("many.yaml"), document)?;
    std::fs::write(dir.path().join("script.yaml"), SCRIPT)?;
    let mut command = with(&binary, &["run", "many.yaml", "--model", "scripted/script.yaml"]);
    command.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    ensure!(command.status()?.success(), "the run of many items completes");
    for (arguments, goal) in [
        (&["runs", "show", "last"][..], "200 ms"),
        (&["runs", "show", "last", "--json"], "200 ms"),
        (&["runs", "show", "last", "--transcript"], "200 ms"),
        (&["runs", "list"], ""),
    ] {
        let took = median(|| with(&binary, arguments), dir.path())?;
        row(&format!("sqlite, 10 000 finished steps: {}", arguments.join(" ")), &millis(took), goal);
    }
    Ok(())
}
