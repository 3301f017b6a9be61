//! `schema`: the JSON Schema of documents, from the same tables as the decoder.

use crate::exit::Exit;
use crate::terminal;

pub(super) fn run() -> anyhow::Result<Exit> {
    terminal::print(&text()?)?;
    Ok(Exit::Done)
}

/// The schema as it is printed, and as `init` writes it.
pub(super) fn text() -> anyhow::Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(&cofferdam::core::spec::schema())?))
}
