//! Lines and columns of offsets in a text, both from 1, columns in characters.

use cofferdam::core::diagnostic::Place;
use std::path::Path;

/// The place of an offset in bytes.
pub(super) fn place(path: &Path, text: &str, offset: usize) -> Place {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Place { file: path.display().to_string().into(), line: small(line), column: small(column) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters() {
        let found = place(Path::new("x"), "a\nü = 1", 5);
        assert_eq!((found.line, found.column), (2, 3));
    }
}
