//! The survey of a folder: its files one by one, in total, and by kind.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use crate::count;
use crate::source::Skipped;

const KINDS_IN_SUMMARY: usize = 12;

/// What a folder consists of.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Survey {
    /// All files together.
    pub(crate) totals: Totals,
    /// The kinds of files, that with the most lines first.
    pub(crate) kinds: Vec<Kind>,
    /// The files in the order given.
    pub(crate) files: Vec<File>,
    /// Files that could not be read.
    pub(crate) skipped: Vec<Skipped>,
}

/// Sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Totals {
    pub(crate) files: usize,
    pub(crate) bytes: usize,
    pub(crate) lines: usize,
    pub(crate) blank: usize,
    pub(crate) words: usize,
}

/// Sums over the files of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Kind {
    /// A language or format by the file's name, else its ending.
    pub(crate) kind: String,
    #[serde(flatten)]
    pub(crate) totals: Totals,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) kind: String,
    pub(crate) bytes: usize,
    pub(crate) lines: usize,
    pub(crate) blank: usize,
    pub(crate) words: usize,
}

impl Survey {
    /// Adds a file.
    pub(crate) fn add(&mut self, path: &str, bytes: &[u8]) {
        let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
        let kind = if text.is_some() { kind(path) } else { "binary".to_owned() };
        let text = text.unwrap_or_default();
        let lines = count::lines(text);
        let counted = Totals {
            files: 1,
            bytes: bytes.len(),
            lines: lines.lines,
            blank: lines.blank,
            words: count::split(text).count(),
        };
        self.totals.add(counted);
        match self.kinds.iter_mut().find(|known| known.kind == kind) {
            Some(known) => known.totals.add(counted),
            None => self.kinds.push(Kind { kind: kind.clone(), totals: counted }),
        }
        self.kinds.sort_by(|a, b| {
            let order = b.totals.lines.cmp(&a.totals.lines);
            order.then_with(|| b.totals.bytes.cmp(&a.totals.bytes)).then_with(|| a.kind.cmp(&b.kind))
        });
        let Totals { bytes, lines, blank, words, .. } = counted;
        self.files.push(File { path: path.to_owned(), kind, bytes, lines, blank, words });
    }

    /// Notes a file that cannot be read.
    pub(crate) fn skip(&mut self, path: &str, reason: &str) {
        self.skipped.push(Skipped { path: path.to_owned(), reason: reason.to_owned() });
    }

    /// The survey in a few lines, for a model.
    pub(crate) fn summary(&self) -> String {
        let Totals { files, bytes, lines, words, .. } = self.totals;
        let mut text = format!("{files} files, {lines} lines, {words} words, {bytes} bytes");
        for Kind { kind, totals } in self.kinds.iter().take(KINDS_IN_SUMMARY) {
            write!(text, "\n{kind}: {} files, {} lines", totals.files, totals.lines).expect("a string takes any text");
        }
        if !self.skipped.is_empty() {
            write!(text, "\n{} files not read", self.skipped.len()).expect("a string takes any text");
        }
        text
    }
}

impl Totals {
    fn add(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.lines += other.lines;
        self.blank += other.blank;
        self.words += other.words;
    }
}

/// Names for the endings that most repositories are made of.
#[rustfmt::skip]
const ENDINGS: &[(&str, &str)] = &[
    ("rs", "Rust"), ("py", "Python"), ("js", "JavaScript"), ("mjs", "JavaScript"), ("jsx", "JavaScript"),
    ("ts", "TypeScript"), ("tsx", "TypeScript"), ("go", "Go"), ("java", "Java"), ("kt", "Kotlin"),
    ("c", "C"), ("h", "C"), ("cc", "C++"), ("cpp", "C++"), ("hpp", "C++"), ("cs", "C#"), ("rb", "Ruby"),
    ("php", "PHP"), ("swift", "Swift"), ("scala", "Scala"), ("sh", "Shell"), ("bash", "Shell"),
    ("sql", "SQL"), ("html", "HTML"), ("css", "CSS"), ("scss", "CSS"), ("md", "Markdown"),
    ("rst", "reStructuredText"), ("txt", "text"), ("json", "JSON"), ("jsonl", "JSON"), ("yaml", "YAML"),
    ("yml", "YAML"), ("toml", "TOML"), ("xml", "XML"), ("csv", "CSV"), ("wit", "WIT"),
    ("wat", "WebAssembly text"), ("proto", "Protocol Buffers"), ("tf", "Terraform"), ("lock", "lock file"),
];

fn kind(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name {
        "Dockerfile" | "Makefile" => return name.to_owned(),
        _ => {}
    }
    let ending = match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() => ending.to_ascii_lowercase(),
        _ => return "other".to_owned(),
    };
    match ENDINGS.iter().find(|(known, _)| *known == ending) {
        Some((_, kind)) => (*kind).to_owned(),
        None => format!(".{ending}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_files() {
        let mut survey = Survey::default();
        survey.add("a.rs", b"fn a() {}\n\n");
        survey.add("b/c.rs", b"one two\n");
        survey.add("x.md", b"word\n");
        let expected = Totals { files: 3, bytes: 24, lines: 4, blank: 1, words: 5 };
        assert_eq!(survey.totals, expected);
        let kinds: Vec<_> = survey.kinds.iter().map(|k| (k.kind.as_str(), k.totals.lines)).collect();
        assert_eq!(kinds, [("Rust", 3), ("Markdown", 1)]);
    }

    #[test]
    fn a_binary_has_bytes_only() {
        let mut survey = Survey::default();
        survey.add("a.png", b"\x89PNG\0\n\n");
        assert_eq!((survey.files[0].kind.as_str(), survey.files[0].lines), ("binary", 0));
        assert_eq!(survey.totals.bytes, 7);
    }

    #[test]
    fn kinds_come_from_names() {
        for (path, expected) in [
            ("src/a.RS", "Rust"),
            ("Makefile", "Makefile"),
            (".gitignore", "other"),
            ("LICENSE", "other"),
            ("a.weird", ".weird"),
        ] {
            assert_eq!(kind(path), expected, "{path}");
        }
    }
}
