//! Tables without lines, as wide as what is in them.

use comfy_table::{ContentArrangement, Table, presets};

/// A table with these headings.
pub(crate) fn with_head(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(head.to_vec());
    table
}

/// The text of a table, without the margin that the library puts at the left.
pub(crate) fn render(table: &Table) -> String {
    let text = table.to_string();
    let lines = text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
    lines.fold(String::new(), |all, line| all + line + "\n")
}
