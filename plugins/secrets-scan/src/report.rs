//! What a scan returns: the findings, what was looked at, and what was not.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use crate::file;
use crate::finding::{Confidence, Finding};
use crate::lines::{self, Located};
use crate::wide;

// More would not be read, and results have a bounded size.
const MOST_FINDINGS: usize = 1_000;
const MOST_SKIPPED_LISTED: usize = 1_000;
const MOST_IN_SUMMARY: usize = 20;

/// The outcome of a scan.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Report {
    /// In order of files and lines.
    pub(crate) findings: Vec<Finding>,
    /// How many findings there are of each kind.
    pub(crate) by_kind: BTreeMap<&'static str, usize>,
    /// How many files were read to their end.
    pub(crate) files_scanned: usize,
    /// How many bytes these have.
    pub(crate) bytes_scanned: usize,
    /// How many findings were below `min_confidence` and are not listed.
    pub(crate) below_confidence: usize,
    /// Files that were not scanned, and why.
    pub(crate) skipped: Vec<Skipped>,
    /// How many files were not scanned, listed or not.
    pub(crate) skipped_count: usize,
    /// How many of these are binary: no text, so nothing to read.
    pub(crate) skipped_binary: usize,
    /// How many of these are longer than `max_file_bytes`.
    pub(crate) skipped_too_large: usize,
    /// How many of these could not be read.
    pub(crate) skipped_unreadable: usize,
    /// Whether there are more findings than are listed.
    pub(crate) truncated: bool,
}

/// A file that was not scanned.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Skipped {
    pub(crate) path: String,
    /// `binary`, or what went wrong.
    pub(crate) reason: String,
}

/// Why a file was not scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Its bytes are no text.
    Binary,
    /// It is longer than was asked for.
    TooLarge,
    /// It is not there, not a file, or not to be opened.
    Unreadable,
}

impl Report {
    /// The report in a few lines, for a model.
    pub(crate) fn summary(&self) -> String {
        let mut text = format!(
            "{} possible secrets in {} files scanned, {} skipped",
            self.findings.len(),
            self.files_scanned,
            self.skipped_count
        );
        for finding in self.findings.iter().take(MOST_IN_SUMMARY) {
            let Finding { path, line, column, kind, masked, .. } = finding;
            write!(text, "\n{path}:{line}:{column} {kind} {masked}").expect("a string takes any text");
        }
        if self.findings.len() > MOST_IN_SUMMARY {
            write!(text, "\nand {} more", self.findings.len() - MOST_IN_SUMMARY).expect("a string takes any text");
        }
        text
    }
}

/// Builds a report file by file.
pub(crate) struct Reporter {
    report: Report,
    least: Confidence,
}

impl Reporter {
    pub(crate) fn new(least: Confidence) -> Self {
        let report = Report {
            findings: Vec::new(),
            by_kind: BTreeMap::new(),
            files_scanned: 0,
            bytes_scanned: 0,
            below_confidence: 0,
            skipped: Vec::new(),
            skipped_count: 0,
            skipped_binary: 0,
            skipped_too_large: 0,
            skipped_unreadable: 0,
            truncated: false,
        };
        Self { report, least }
    }

    /// Scans one file.
    pub(crate) fn add(&mut self, path: &str, bytes: &[u8]) {
        if let Some(text) = wide::decode(bytes) {
            self.report.files_scanned += 1;
            self.report.bytes_scanned += bytes.len();
            lines::scan(path, text.as_bytes(), |located| self.found(path, located));
            return;
        }
        if file::is_binary(bytes) {
            self.skip(path, Why::Binary, "binary");
            return;
        }
        self.report.files_scanned += 1;
        self.report.bytes_scanned += bytes.len();
        lines::scan(path, bytes, |located| self.found(path, located));
    }

    /// Notes a file that cannot be scanned.
    pub(crate) fn skip(&mut self, path: &str, why: Why, reason: &str) {
        let count = match why {
            Why::Binary => &mut self.report.skipped_binary,
            Why::TooLarge => &mut self.report.skipped_too_large,
            Why::Unreadable => &mut self.report.skipped_unreadable,
        };
        *count += 1;
        self.report.skipped_count += 1;
        if self.report.skipped.len() < MOST_SKIPPED_LISTED {
            self.report.skipped.push(Skipped { path: path.to_owned(), reason: reason.to_owned() });
        }
    }

    pub(crate) fn finish(self) -> Report {
        self.report
    }

    fn found(&mut self, path: &str, located: Located<'_>) {
        let Located { line, text, hit } = located;
        if hit.confidence < self.least {
            self.report.below_confidence += 1;
            return;
        }
        *self.report.by_kind.entry(hit.kind).or_default() += 1;
        if self.report.findings.len() >= MOST_FINDINGS {
            self.report.truncated = true;
            return;
        }
        let before = text.get(..hit.start).unwrap_or_default();
        self.report.findings.push(Finding {
            path: path.to_owned(),
            line,
            column: String::from_utf8_lossy(before).chars().count() + 1,
            kind: hit.kind,
            confidence: hit.confidence,
            masked: hit.masked,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "q8Zr1Lw0pXv7Kd2m9Ts4";

    fn report(path: &str, text: &[u8], least: Confidence) -> Report {
        let mut reporter = Reporter::new(least);
        reporter.add(path, text);
        reporter.finish()
    }

    #[test]
    fn a_column_counts_characters() {
        let text = format!("/* \u{e4}\u{f6} */ token = \"{VALUE}\"");
        let report = report("a.js", text.as_bytes(), Confidence::Medium);
        assert_eq!((report.findings[0].line, report.findings[0].column), (1, 19));
    }

    #[test]
    fn no_part_of_a_report_holds_the_secret() {
        let text = format!("token = \"{VALUE}\"");
        let report = report("a.js", text.as_bytes(), Confidence::Low);
        assert!(!serde_json::to_string(&report).unwrap().contains(VALUE.get(4..).unwrap()));
        assert!(!report.summary().contains(VALUE.get(4..).unwrap()));
        assert!(report.summary().contains("a.js:1:10 secret-value"));
    }

    #[test]
    fn findings_below_the_wanted_confidence_are_counted() {
        let text = format!("token = \"{VALUE}\"");
        let report = report("tests/a.js", text.as_bytes(), Confidence::Medium);
        assert_eq!((report.findings.len(), report.below_confidence), (0, 1));
    }

    #[test]
    fn a_binary_is_skipped_and_listed() {
        let report = report("a.png", b"\x89PNG\0\0", Confidence::Medium);
        assert_eq!(report.files_scanned, 0);
        assert_eq!(report.skipped[0].reason, "binary");
    }

    #[test]
    fn text_in_two_bytes_a_character_is_read() {
        let text = format!("\u{feff}\r\npassword = \"{VALUE}\"\r\n");
        for big in [false, true] {
            let bytes = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
            let wide: Vec<u8> = text.encode_utf16().flat_map(bytes).collect();
            let report = report("a.ps1", &wide, Confidence::Medium);
            assert_eq!((report.findings.len(), report.findings[0].line, report.skipped_count), (1, 2, 0));
        }
    }

    #[test]
    fn too_many_findings_are_counted_and_cut() {
        let text = format!("token = \"{VALUE}\"\n").repeat(MOST_FINDINGS + 5);
        let report = report("a.js", text.as_bytes(), Confidence::Medium);
        assert!(report.truncated);
        assert_eq!(report.findings.len(), MOST_FINDINGS);
        assert_eq!(report.by_kind["secret-value"], MOST_FINDINGS + 5);
    }
}
