//! Tables without lines, as wide as what is in them.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};

/// What happens to a table that is wider than the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wide {
    /// Texts are broken inside their columns, except in the first, which holds what people copy.
    Break,
    /// It stays as it is: what is in it would not be read in pieces.
    Keep,
}

/// A table with these headings.
pub(crate) fn with_head(wide: Wide, head: &[&str]) -> Table {
    let mut table = Table::new();
    let arrangement = match wide {
        Wide::Break => ContentArrangement::Dynamic,
        Wide::Keep => ContentArrangement::Disabled,
    };
    table.load_style(presets::NOTHING).set_content_arrangement(arrangement).set_header(head.to_vec());
    if let Some(first) = table.column_mut(0) {
        first.set_constraint(ColumnConstraint::ContentWidth);
    }
    table
}

/// The text of a table, without the margin that the library puts at the left.
pub(crate) fn render(table: &Table) -> String {
    let text = table.to_string();
    let lines = text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
    lines.fold(String::new(), |all, line| all + line + "\n")
}
