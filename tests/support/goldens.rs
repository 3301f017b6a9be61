//! Expected texts in files: compared, or rewritten with `UPDATE=1`.

use similar::TextDiff;
use std::fs;
use std::path::{Path, PathBuf};

/// A text and the file that says what it should be.
#[derive(Debug)]
pub(crate) struct Golden {
    pub(crate) path: PathBuf,
    pub(crate) actual: String,
}

/// Whether expected texts are rewritten.
pub(crate) fn is_update() -> bool {
    std::env::var_os("UPDATE").is_some_and(|value| value == "1")
}

/// Compares, or rewrites. The error is a difference that can be read.
pub(crate) fn check_golden(golden: &Golden) -> Result<(), String> {
    let expected = fs::read_to_string(&golden.path).unwrap_or_default();
    if expected == golden.actual {
        return Ok(());
    }
    if is_update() {
        fs::create_dir_all(golden.path.parent().unwrap_or(Path::new("."))).unwrap();
        fs::write(&golden.path, &golden.actual).unwrap();
        return Ok(());
    }
    let diff = TextDiff::from_lines(&expected, &golden.actual);
    let diff = diff.unified_diff().context_radius(2).header("expected", "actual").to_string();
    Err(format!("{} differs; `UPDATE=1 cargo test --test all` rewrites it\n{diff}", golden.path.display()))
}
