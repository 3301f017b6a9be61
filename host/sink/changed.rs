//! Files that a step changed, in words.
//!
//! It must not know where the directories of runs are.

use cofferdam_core::event::{Changes, FileChange};

/// Most files that are named.
const NAMED: usize = 5;

/// `2 files: src/a.rs, +src/b.rs`, with a sign for those that came or went.
#[must_use]
pub fn changed(changes: &Changes) -> String {
    let count = changes.count();
    let mut names: Vec<String> = changes
        .files
        .iter()
        .take(NAMED)
        .map(|file| {
            let sign = match file.change {
                FileChange::Added => "+",
                FileChange::Modified => "",
                FileChange::Deleted => "-",
            };
            format!("{sign}{}", file.path)
        })
        .collect();
    if count > names.len() {
        names.push(format!("and {} more", count - names.len()));
    }
    let files = if count == 1 { "file" } else { "files" };
    let list = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
    let whole = changes.incomplete.as_ref().map(|why| format!("; the patch is not whole: {why}")).unwrap_or_default();
    format!("{count} {files}{list}{whole}")
}

/// Which files other steps changed as well, a line for each of these steps.
#[must_use]
pub fn overlaps(changes: &Changes) -> Vec<String> {
    let mut steps: Vec<&str> = changes.conflicts.iter().map(|conflict| conflict.with.as_str()).collect();
    steps.sort_unstable();
    steps.dedup();
    let of = |step: &str| {
        let files = changes.conflicts.iter().filter(|conflict| conflict.with.as_str() == step);
        let files: Vec<&str> = files.map(|conflict| conflict.path.as_str()).collect();
        let shown = files.get(..files.len().min(NAMED)).unwrap_or_default().join(", ");
        let more = files.len().saturating_sub(NAMED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        format!("`{step}` changed {shown}{more} as well")
    };
    steps.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_core::event::{ChangedFile, Conflict};

    #[test]
    fn files_are_named_and_counted() {
        let file = |path: &str, change| ChangedFile { path: path.to_owned(), change, binary: false };
        let conflict = Conflict { path: "a".to_owned(), with: "other".into() };
        let files = vec![file("a", FileChange::Modified), file("b", FileChange::Added), file("c", FileChange::Deleted)];
        let changes = Changes { files, more: 7, conflicts: vec![conflict], ..Changes::default() };
        assert_eq!(changed(&changes), "10 files: a, +b, -c, and 7 more");
        assert_eq!(overlaps(&changes), ["`other` changed a as well"]);
    }
}
