//! The repository's own files as text, and Rust source with everything blanked out that is not code.
//!
//! A lexer of forty lines instead of a parser: it has to know where code ends, not what it means.

use super::repository;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that are not part of the repository.
const OUTSIDE: [&str; 3] = [".git", ".cofferdam", "target"];

/// A file of the repository.
#[derive(Debug)]
pub(crate) struct Source {
    /// Relative to the repository, with `/`.
    pub(crate) path: String,
    /// As it is.
    pub(crate) text: String,
    /// With comments and the contents of strings replaced by spaces. Line breaks stay.
    pub(crate) code: String,
}

/// A function and the lines of its body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// The line of `fn`, from 1.
    pub(crate) line: usize,
    /// Lines of the body that hold code.
    pub(crate) length: usize,
}

impl Source {
    fn new(path: String, text: String) -> Self {
        let code = code_of(&text);
        Self { path, text, code }
    }

    /// The code without the tests at the end of the file.
    pub(crate) fn code_without_tests(&self) -> &str {
        let begins = ["mod tests {", "pub(crate) mod tests {"].map(|begins| format!("#[cfg(test)]\n{begins}"));
        let end = begins.iter().filter_map(|begins| self.code.find(begins)).min();
        self.code.get(..end.unwrap_or(self.code.len())).unwrap_or(&self.code)
    }

    /// All functions with a body, inner ones included.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let bytes = self.code.as_bytes();
        let mut found = Vec::new();
        for (at, _) in self.code.match_indices("fn ") {
            let is_word = at == 0 || !bytes.get(at - 1).is_some_and(|byte| is_name(*byte));
            let rest = self.code.get(at + 3..).unwrap_or_default();
            let name: String = rest.chars().take_while(|found| found.is_alphanumeric() || *found == '_').collect();
            if !is_word || name.is_empty() {
                continue;
            }
            let Some(body) = body(rest) else { continue };
            let length = body.lines().filter(|line| !line.trim().is_empty()).count().saturating_sub(2);
            let line = self.code.get(..at).unwrap_or_default().matches('\n').count() + 1;
            found.push(Function { name, line, length });
        }
        found
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// From the first brace to its partner; none when a semicolon comes first: a declaration.
fn body(rest: &str) -> Option<&str> {
    let mut depth = 0_usize;
    let mut brackets = 0_usize;
    let mut start = None;
    for (at, found) in rest.char_indices() {
        match found {
            '(' | '[' if start.is_none() => brackets += 1,
            ')' | ']' if start.is_none() => brackets = brackets.saturating_sub(1),
            ';' if start.is_none() && brackets == 0 => return None,
            '{' => {
                start = start.or(Some(at));
                depth += 1;
            }
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return start.and_then(|start| rest.get(start..=at));
                }
            }
            _ => {}
        }
    }
    None
}

/// Replaces comments, strings and character literals by spaces.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    let mut last_is_name = false;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            'b' | 'c' | 'r' if !last_is_name => prefixed_literal(rest).unwrap_or_default(),
            '"' => quoted(rest, '"'),
            '\'' => character(rest),
            _ => 0,
        };
        last_is_name = length == 0 && (first.is_alphanumeric() || first == '_');
        let (taken, left) = rest.split_at(if length == 0 { first.len_utf8() } else { length });
        if length == 0 {
            code.push(first);
        } else {
            code.extend(taken.chars().map(|found| if found == '\n' { '\n' } else { ' ' }));
        }
        rest = left;
    }
    code
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(left) = rest.get(at..).filter(|left| !left.is_empty()) {
        if left.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if left.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += left.chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// `r"..."`, `r#"..."#`, `b"..."`, `br#"..."#`, `b'.'`.
fn prefixed_literal(rest: &str) -> Option<usize> {
    let prefix: usize = rest.chars().take_while(|found| matches!(found, 'b' | 'c' | 'r')).count();
    let is_raw = rest.get(..prefix)?.contains('r');
    let left = rest.get(prefix..)?;
    if !is_raw {
        return match left.chars().next()? {
            '"' => Some(prefix + quoted(left, '"')),
            '\'' => Some(prefix + character(left)),
            _ => None,
        };
    }
    let hashes = left.chars().take_while(|found| *found == '#').count();
    let inner = left.get(hashes..)?.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = inner.find(&end).map_or(inner.len(), |at| at + end.len());
    Some(prefix + hashes + 1 + length)
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, found) in rest.char_indices().skip(1) {
        match found {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if found == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character literal; 0 for a lifetime.
fn character(rest: &str) -> usize {
    let mut inner = rest.chars().skip(1);
    match (inner.next(), inner.next()) {
        (Some('\\'), _) => quoted(rest, '\''),
        (Some(found), Some('\'')) => 2 + found.len_utf8(),
        _ => 0,
    }
}

/// All Rust sources of the repository, by path.
pub(crate) fn rust_sources() -> Vec<Source> {
    let is_rust = |path: &PathBuf| path.extension().is_some_and(|found| found == "rs");
    let mut sources: Vec<Source> = tracked_files()
        .into_iter()
        .filter(is_rust)
        .map(|path| Source::new(relative(&path), fs::read_to_string(&path).unwrap()))
        .collect();
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(sources.len() > 100, "only {} sources were found", sources.len());
    sources
}

/// All files of the repository but build products and records of runs.
pub(crate) fn tracked_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![repository()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_symlink() || OUTSIDE.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn relative(path: &Path) -> String {
    path.strip_prefix(repository()).unwrap().to_str().unwrap().replace('\\', "/")
}

#[test]
fn only_code_is_left_of_a_source() {
    let text = "fn a<'x>() { // \"no\nlet c = '\\''; let s = r#\"}\"#; /* { /* */ */ b\"{\"; }\nfn b();\n";
    let source = Source::new("a.rs".into(), text.into());
    assert!(!source.code.contains(['"', '/']), "{}", source.code);
    assert_eq!(source.code.len(), text.len());
    let functions = source.functions();
    assert_eq!(functions.len(), 1);
    assert_eq!((functions[0].name.as_str(), functions[0].line), ("a", 1));
}
