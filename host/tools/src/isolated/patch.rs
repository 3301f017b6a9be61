//! Differences of files as `git apply` takes them.
//!
//! It must not read anything: both sides of a file come as text.

use cofferdam_core::limits;
use similar::{DiffTag, TextDiff};
use std::fmt::Write as _;
use std::ops::Range;

/// Lines around a change.
const CONTEXT: usize = 3;

/// What stands on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Side<'t> {
    pub(super) mode: Mode,
    /// Of a link, where it leads.
    pub(super) text: &'t str,
}

/// What git tells of a file besides its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Plain,
    Executable,
    Link,
}

impl Mode {
    fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "100644",
            Self::Executable => "100755",
            Self::Link => "120000",
        }
    }
}

/// Adds what became of a file; one that is of another kind than before is deleted and added.
pub(super) fn push(patch: &mut String, path: &str, old: Option<Side<'_>>, new: Option<Side<'_>>) {
    match (old, new) {
        (None, None) => {}
        (Some(old), Some(new)) if (old.mode == Mode::Link) != (new.mode == Mode::Link) => {
            push(patch, path, Some(old), None);
            push(patch, path, None, Some(new));
        }
        (old, new) => {
            head(patch, path, old, new);
            let (before, after) = (old.map_or("", |side| side.text), new.map_or("", |side| side.text));
            if before != after {
                let name = |side: &str, there: bool| if there { named(side, path) } else { "/dev/null".to_owned() };
                // Writing into a string cannot fail.
                let _ = writeln!(patch, "--- {}", name("a", old.is_some()));
                let _ = writeln!(patch, "+++ {}", name("b", new.is_some()));
                hunks(patch, before, after);
            }
        }
    }
}

fn head(patch: &mut String, path: &str, old: Option<Side<'_>>, new: Option<Side<'_>>) {
    let _ = writeln!(patch, "diff --git {} {}", quoted("a", path), quoted("b", path));
    match (old, new) {
        (Some(old), Some(new)) if old.mode != new.mode => {
            let _ = writeln!(patch, "old mode {}\nnew mode {}", old.mode.as_str(), new.mode.as_str());
        }
        (Some(old), None) => {
            let _ = writeln!(patch, "deleted file mode {}", old.mode.as_str());
        }
        (None, Some(new)) => {
            let _ = writeln!(patch, "new file mode {}", new.mode.as_str());
        }
        _ => {}
    }
    // An empty file has nothing else by which git would know it.
    match (old, new) {
        (None, Some(Side { text: "", .. })) => patch.push_str("index 0000000..e69de29\n"),
        (Some(Side { text: "", .. }), None) => patch.push_str("index e69de29..0000000\n"),
        _ => {}
    }
}

/// A name where nothing follows it on its line; one with spaces ends with a tab.
fn named(side: &str, path: &str) -> String {
    let mut name = quoted(side, path);
    if path.contains(' ') && !name.starts_with('"') {
        name.push('\t');
    }
    name
}

/// A path as git quotes it.
fn quoted(side: &str, path: &str) -> String {
    let plain = |letter: char| !letter.is_ascii_control() && letter != '"' && letter != '\\';
    if path.chars().all(plain) {
        return format!("{side}/{path}");
    }
    let mut name = format!("\"{side}/");
    for letter in path.chars() {
        match letter {
            '"' | '\\' => name.extend(['\\', letter]),
            '\n' => name.push_str("\\n"),
            '\t' => name.push_str("\\t"),
            letter if letter.is_ascii_control() => {
                let _ = write!(name, "\\{:03o}", u32::from(letter));
            }
            letter => name.push(letter),
        }
    }
    name.push('"');
    name
}

type Operation = (DiffTag, Range<usize>, Range<usize>);

fn hunks(patch: &mut String, before: &str, after: &str) {
    let (old, new): (Vec<&str>, Vec<&str>) =
        (before.split_inclusive('\n').collect(), after.split_inclusive('\n').collect());
    // What is the same at both ends costs nothing.
    let shared = |pairs: &mut dyn Iterator<Item = (&&str, &&str)>| pairs.take_while(|(old, new)| old == new).count();
    let first = shared(&mut old.iter().zip(&new));
    let shorter = old.len().min(new.len());
    let last = shared(&mut old.iter().rev().zip(new.iter().rev())).min(shorter - first);
    let start = first.saturating_sub(CONTEXT);
    let around = last.min(CONTEXT);
    let part = |lines: &[&str]| start..lines.len() - last + around;
    let (old_part, new_part) = (part(&old), part(&new));
    let (before, after) =
        (old.get(old_part).unwrap_or_default().to_vec(), new.get(new_part).unwrap_or_default().to_vec());
    for group in groups(&before, &after, first - start, around) {
        hunk(patch, &group, (&before, &after), start);
    }
}

/// The operations of each hunk. Of very long texts the whole middle is exchanged: comparing them takes too long.
fn groups(before: &[&str], after: &[&str], head: usize, tail: usize) -> Vec<Vec<Operation>> {
    if before.len().max(after.len()) <= limits::DIFF_LINES {
        let groups = TextDiff::from_slices(before, after).grouped_ops(CONTEXT);
        return groups.iter().map(|group| group.iter().map(similar::DiffOp::as_tag_tuple).collect()).collect();
    }
    let (old, new) = (before.len() - tail, after.len() - tail);
    vec![vec![
        (DiffTag::Equal, 0..head, 0..head),
        (DiffTag::Replace, head..old, head..new),
        (DiffTag::Equal, old..before.len(), new..after.len()),
    ]]
}

fn hunk(patch: &mut String, group: &[Operation], (before, after): (&[&str], &[&str]), start: usize) {
    let span = |ranges: &mut dyn Iterator<Item = Range<usize>>| {
        let ranges: Vec<Range<usize>> = ranges.collect();
        let from = ranges.first().map_or(0, |range| range.start);
        from..ranges.last().map_or(from, |range| range.end)
    };
    let old = span(&mut group.iter().map(|(_, old, _)| old.clone()));
    let new = span(&mut group.iter().map(|(_, _, new)| new.clone()));
    // Nothing stands after a line, and a line stands at its number.
    let place = |range: &Range<usize>| start + range.start + usize::from(!range.is_empty());
    let _ = writeln!(patch, "@@ -{},{} +{},{} @@", place(&old), old.len(), place(&new), new.len());
    for (tag, old, new) in group {
        let (gone, came) = (before.get(old.clone()).unwrap_or_default(), after.get(new.clone()).unwrap_or_default());
        if *tag == DiffTag::Equal {
            lines(patch, ' ', gone);
            continue;
        }
        lines(patch, '-', gone);
        lines(patch, '+', came);
    }
}

fn lines(patch: &mut String, sign: char, lines: &[&str]) {
    for line in lines {
        patch.push(sign);
        patch.push_str(line);
        if !line.ends_with('\n') {
            patch.push_str("\n\\ No newline at end of file\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Option<Side<'_>> {
        Some(Side { mode: Mode::Plain, text })
    }

    fn of(path: &str, old: Option<Side<'_>>, new: Option<Side<'_>>) -> String {
        let mut patch = String::new();
        push(&mut patch, path, old, new);
        patch
    }

    #[test]
    fn a_change_stands_between_what_is_around_it() {
        let patch = of("f", plain("1\n2\n3\n4\n5\n6\n7\n8\n9"), plain("1\n2\n3\n4\nfive\n6\n7\n8\n9\n"));
        assert_eq!(
            patch,
            "diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -2,8 +2,8 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n-9\n\
             \\ No newline at end of file\n+9\n"
        );
    }

    #[test]
    fn files_come_and_go() {
        assert_eq!(
            of("a b", None, plain("x\n")),
            "diff --git a/a b b/a b\nnew file mode 100644\n--- /dev/null\n+++ b/a b\t\n@@ -0,0 +1,1 @@\n+x\n"
        );
        assert_eq!(of("f", plain(""), None), "diff --git a/f b/f\ndeleted file mode 100644\nindex e69de29..0000000\n");
        let link = Some(Side { mode: Mode::Link, text: "to" });
        assert!(of("f", plain("x\n"), link).ends_with("@@ -0,0 +1,1 @@\n+to\n\\ No newline at end of file\n"));
        let executable = Some(Side { mode: Mode::Executable, text: "x\n" });
        assert_eq!(of("f", plain("x\n"), executable), "diff --git a/f b/f\nold mode 100644\nnew mode 100755\n");
        assert!(of("q\"\n", None, plain("")).starts_with("diff --git \"a/q\\\"\\n\" \"b/q\\\"\\n\"\n"));
    }
}
