//! The forms of what `validate` found: for people, as lines of JSON, as annotations of GitHub.

use crate::args::FindingForm;
use crate::terminal;
use crate::ui::{finding, paint};
use cofferdam::core::diagnostic::{Diagnostic, Diagnostics, Severity};
use cofferdam::core::text::escaped;
use serde::Serialize;
use serde_json::{Value, json};
use std::path::Path;

/// A document and what was found.
pub(super) struct Checked<'a> {
    pub(super) file: &'a Path,
    pub(super) findings: &'a Diagnostics,
}

/// What was found in all documents together.
#[derive(Debug, Default, Serialize)]
pub(super) struct Totals {
    pub(super) documents: usize,
    pub(super) invalid: usize,
    pub(super) errors: usize,
    pub(super) warnings: usize,
}

impl Checked<'_> {
    fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    fn is_valid(&self) -> bool {
        !self.findings.has_errors()
    }
}

impl Totals {
    pub(super) fn add(&mut self, checked: &Checked<'_>) {
        self.documents += 1;
        self.invalid += usize::from(!checked.is_valid());
        self.errors += checked.count(Severity::Error);
        self.warnings += checked.count(Severity::Warning);
    }

    /// `2 documents, 1 invalid: 3 errors, 0 warnings`.
    fn in_words(&self) -> String {
        let count = |number: usize, word: &str| format!("{number} {word}{}", if number == 1 { "" } else { "s" });
        let (errors, warnings) = (count(self.errors, "error"), count(self.warnings, "warning"));
        format!("{}, {} invalid: {errors}, {warnings}", count(self.documents, "document"), self.invalid)
    }
}

/// Shows one document.
pub(super) fn show(form: FindingForm, checked: &Checked<'_>) -> std::io::Result<()> {
    match form {
        FindingForm::Human => {
            if !checked.findings.is_empty() {
                terminal::tell(&finding::render(checked.findings));
            }
            let word = if checked.is_valid() { paint::good("valid") } else { paint::bad("invalid") };
            terminal::print(&format!("{}: {word}\n", terminal::name(checked.file)))
        }
        FindingForm::Json => {
            let lines = checked.findings.iter().map(|finding| line(checked.file, finding));
            let end = json!({
                "kind": "document", "document": checked.file.display().to_string(), "valid": checked.is_valid(),
                "errors": checked.count(Severity::Error), "warnings": checked.count(Severity::Warning),
            });
            terminal::print(&lines.chain([end]).map(|line| format!("{line}\n")).collect::<String>())
        }
        FindingForm::Github => {
            let lines = checked.findings.iter().map(|finding| annotation(checked.file, finding));
            terminal::print(&lines.collect::<String>())
        }
    }
}

/// Says how it all went.
pub(super) fn conclude(form: FindingForm, totals: &Totals) -> std::io::Result<()> {
    match form {
        FindingForm::Human if totals.documents > 1 => {
            terminal::tell(&paint::quiet(&totals.in_words()));
            Ok(())
        }
        FindingForm::Human => Ok(()),
        FindingForm::Json => {
            let mut value = json!(totals);
            if let Some(map) = value.as_object_mut() {
                map.insert("kind".to_owned(), "summary".into());
            }
            terminal::print(&format!("{value}\n"))
        }
        FindingForm::Github => {
            terminal::tell(&totals.in_words());
            Ok(())
        }
    }
}

fn line(file: &Path, finding: &Diagnostic) -> Value {
    let mut value = json!(finding);
    if let Some(map) = value.as_object_mut() {
        map.insert("kind".to_owned(), "finding".into());
        map.insert("document".to_owned(), file.display().to_string().into());
    }
    value
}

/// A workflow command of GitHub, in a line of its own. A finding without a place is about its document.
fn annotation(file: &Path, finding: &Diagnostic) -> String {
    let command = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let place = match &finding.place {
        Some(place) => format!("file={},line={},col={}", property(&escaped(&place.file)), place.line, place.column),
        None => format!("file={}", property(&terminal::name(file))),
    };
    let mut message = finding.message.clone();
    if !finding.path.is_empty() {
        message.push_str(&format!(" (at {})", finding.path));
    }
    if let Some(hint) = &finding.hint {
        message.push_str(&format!("\nhint: {hint}"));
    }
    format!("::{command} {place},title={}::{}\n", property(finding.code), data(&message))
}

/// The text of a workflow command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property of a workflow command: colons and commas end it.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam::core::diagnostic::Place;

    #[test]
    fn an_annotation_says_where_and_cannot_be_broken_out_of() {
        let place = Some(Place { file: "a,b:c%.yaml".into(), line: 3, column: 5 });
        let finding = Diagnostic {
            code: "W021",
            severity: Severity::Error,
            place,
            path: "steps[0]".into(),
            message: "50% of\r\n::warning::it".into(),
            hint: Some("mend, it: now".into()),
        };
        assert_eq!(
            annotation(Path::new("x.yaml"), &finding),
            "::error file=a%2Cb%3Ac%25.yaml,line=3,col=5,title=W021::50%25 of%0D%0A::warning::it (at steps[0])%0Ahint: mend, it: now\n"
        );
        let finding =
            Diagnostic { severity: Severity::Warning, place: None, hint: None, path: String::new(), ..finding };
        assert!(annotation(Path::new("x.yaml"), &finding).starts_with("::warning file=x.yaml,title=W021::50%25 of"));
    }
}
