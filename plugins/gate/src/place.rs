//! Places in the view: `steps.scan.result.items[0].score`, also with hyphens in names.

use cofferdam_sdk::{Error, Result};
use serde_json::Value;

/// The value at a place, none where there is none or where it is null.
pub(crate) fn find<'v>(view: &'v Value, place: &str) -> Result<Option<&'v Value>> {
    let mut at = Some(view);
    for part in place.split('.') {
        let (name, indices) = split(part).ok_or_else(|| malformed(place))?;
        if !name.is_empty() {
            at = at.and_then(|value| value.get(name));
        }
        for index in indices {
            at = at.and_then(|value| value.get(index));
        }
    }
    Ok(at.filter(|value| !value.is_null()))
}

/// A name, and the indices after it.
fn split(part: &str) -> Option<(&str, Vec<usize>)> {
    let (name, mut rest) = part.find('[').map_or((part, ""), |at| part.split_at(at));
    let mut indices = Vec::new();
    while !rest.is_empty() {
        let (index, after) = rest.strip_prefix('[')?.split_once(']')?;
        indices.push(index.parse().ok()?);
        rest = after;
    }
    (!name.is_empty() || !indices.is_empty()).then_some((name, indices))
}

fn malformed(place: &str) -> Error {
    Error::invalid_input(format!("`{place}` is no place of a value; write it like `steps.scan.result.items[0]`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_place_leads_through_tables_and_lists() {
        let view = json!({ "a-b": { "c": [[1, 2], null] } });
        assert_eq!(find(&view, "a-b.c[0][1]").unwrap(), Some(&json!(2)));
        for nothing in ["a-b.c[1]", "a-b.x", "a-b.c[7]", "x.y"] {
            assert_eq!(find(&view, nothing).unwrap(), None, "{nothing}");
        }
        for wrong in ["", "a..b", "a[", "a[x]", "a[0"] {
            assert!(find(&view, wrong).is_err(), "{wrong}");
        }
    }
}
