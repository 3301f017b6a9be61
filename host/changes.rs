//! What changed between the sources of two documents: file by file, by what each is to the document.
//!
//! The document itself is compared with the document, and a file that it names with the one of the same name beside it,
//! wherever both were and however the user called them. It must not know why they are compared.

use crate::error::SourceChange;
use cofferdam_core::event::Source;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is another text, or only in one of them; the document first. The first source of each is its document.
#[must_use]
pub fn source_changes(before: &[Source], now: &[Source]) -> Vec<SourceChange> {
    let mut changes = Vec::new();
    let (old, new) = (before.first(), now.first());
    let text = |source: Option<&Source>| source.map(|source| Arc::clone(&source.text));
    if text(old) != text(new) {
        let path = old.or(new).map(|source| file_name(&source.path).to_owned()).unwrap_or_default();
        changes.push(SourceChange { path, before: text(old), now: text(new) });
    }
    let (before, now) = (named(before), named(now));
    let names: BTreeSet<&str> = before.keys().chain(now.keys()).copied().collect();
    for name in names {
        let (before, now) = (before.get(name), now.get(name));
        if before != now {
            changes.push(SourceChange { path: name.to_owned(), before: before.cloned(), now: now.cloned() });
        }
    }
    changes
}

/// The files that a document names, by their names beside it.
fn named(sources: &[Source]) -> BTreeMap<&str, Arc<str>> {
    let rest = sources.iter().skip(1);
    rest.map(|source| (beside(sources, &source.path), Arc::clone(&source.text))).collect()
}

/// The name of a file relative to the document that is the first of the sources.
pub(crate) fn beside<'s>(sources: &[Source], path: &'s str) -> &'s str {
    let directory = sources.first().map(|root| directory(&root.path)).unwrap_or_default();
    path.strip_prefix(directory).unwrap_or(path)
}

/// The directory in a path, with its final `/`.
fn directory(path: &str) -> &str {
    path.rfind('/').and_then(|at| path.get(..=at)).unwrap_or_default()
}

fn file_name(path: &str) -> &str {
    path.strip_prefix(directory(path)).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(of: &[(&str, &str)]) -> Vec<Source> {
        of.iter()
            .map(|(path, text)| Source { path: (*path).to_owned(), sha256: String::new(), text: (*text).into() })
            .collect()
    }

    fn names(before: &[(&str, &str)], now: &[(&str, &str)]) -> Vec<String> {
        source_changes(&sources(before), &sources(now)).into_iter().map(|change| change.path).collect()
    }

    #[test]
    fn where_a_document_is_and_what_it_is_called_is_no_change() {
        let before = [("flows/a.yaml", "a"), ("flows/lib/b.yaml", "b")];
        assert_eq!(names(&before, &[("/p/flows/a.yaml", "a"), ("/p/flows/lib/b.yaml", "b")]), [""; 0]);
        assert_eq!(names(&before, &[("a.yaml", "a"), ("lib/b.yaml", "b")]), [""; 0]);
        assert_eq!(names(&before, &[("other.yaml", "a"), ("lib/b.yaml", "b")]), [""; 0]);
    }

    #[test]
    fn only_what_differs_is_listed_the_document_first() {
        let before = [("z.yaml", "z"), ("a.yaml", "a"), ("b.md", "b"), ("c.md", "c")];
        let now = [("/x/z.yaml", "other"), ("/x/b.md", "b"), ("/x/c.md", "changed"), ("/x/d.md", "d")];
        assert_eq!(names(&before, &now), ["z.yaml", "a.yaml", "c.md", "d.md"]);
    }
}
