//! `limits`: every bound, and what would happen without it.

use crate::exit::Exit;
use crate::terminal;
use crate::ui::table::{self, Wide};
use cofferdam::core::limits;
use serde_json::json;

pub(super) fn run(json: bool) -> anyhow::Result<Exit> {
    terminal::print(&if json { as_json() } else { as_text() })?;
    Ok(Exit::Done)
}

fn as_text() -> String {
    let mut rows = table::with_head(Wide::Break, &["LIMIT", "VALUE", "WITHOUT IT"]);
    for limit in limits::ALL {
        rows.add_row([limit.name.to_lowercase(), value(limit.value, limit.unit), limit.reason.to_owned()]);
    }
    table::render(&rows)
}

fn as_json() -> String {
    let lines = limits::ALL.iter().map(|limit| {
        let name = limit.name.to_lowercase();
        json!({ "name": name, "value": limit.value, "unit": limit.unit, "reason": limit.reason }).to_string() + "\n"
    });
    lines.collect()
}

/// Round sizes and times in units that people read.
fn value(value: u64, unit: &str) -> String {
    match unit {
        "bytes" if value >= 1 << 20 && value.is_multiple_of(1 << 20) => format!("{} MiB", value >> 20),
        "bytes" if value >= 1 << 10 && value.is_multiple_of(1 << 10) => format!("{} KiB", value >> 10),
        "ms" if value >= 1_000 && value.is_multiple_of(1_000) => format!("{} s", value / 1_000),
        _ => format!("{value} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_listed() {
        assert_eq!(as_json().lines().count(), limits::ALL.len());
        assert_eq!(value(1 << 20, "bytes"), "1 MiB");
        assert_eq!(value(1_500, "ms"), "1500 ms");
        assert!(as_text().contains("document_bytes"));
    }
}
