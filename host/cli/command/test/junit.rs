//! Verdicts as JUnit XML, the form that build servers read.
//!
//! What a model or a document said ends in it: every text is escaped, and what XML cannot hold is left out.

use cofferdam::testing::{Miss, Verdict};
use std::fmt::Write as _;

/// The report, one suite a file.
pub(super) fn render(verdicts: &[Verdict]) -> String {
    let failed = |verdicts: &[Verdict]| verdicts.iter().filter(|verdict| !verdict.passed()).count();
    let seconds = |verdicts: &[Verdict]| verdicts.iter().map(|verdict| verdict.took.as_secs_f64()).sum::<f64>();
    let head = |verdicts: &[Verdict]| {
        format!("tests=\"{}\" failures=\"{}\" time=\"{:.3}\"", verdicts.len(), failed(verdicts), seconds(verdicts))
    };
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing into a string cannot fail.
    let _ = writeln!(text, "<testsuites {}>", head(verdicts));
    for suite in verdicts.chunk_by(|a, b| a.file == b.file) {
        let file = suite.first().map(|verdict| escaped(&verdict.file)).unwrap_or_default();
        let _ = writeln!(text, "  <testsuite name=\"{file}\" {}>", head(suite));
        suite.iter().for_each(|verdict| push(&mut text, verdict));
        text.push_str("  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

fn push(text: &mut String, verdict: &Verdict) {
    let (file, name) = (escaped(&verdict.file), escaped(&verdict.case));
    let (line, time) = (verdict.line, verdict.took.as_secs_f64());
    let case = format!(
        "    <testcase classname=\"{file}\" name=\"{name}\" file=\"{file}\" line=\"{line}\" time=\"{time:.3}\""
    );
    if verdict.passed() {
        let _ = writeln!(text, "{case}/>");
        return;
    }
    let _ = writeln!(text, "{case}>");
    for Miss { about, expected, found } in &verdict.misses {
        let (about, body) = (escaped(about), escaped(&format!("expected: {expected}\nfound:    {found}")));
        let _ = writeln!(text, "      <failure message=\"{about} differs\" type=\"expectation\">{body}</failure>");
    }
    text.push_str("    </testcase>\n");
}

/// Text as it may stand in an element or an attribute.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' | '\t' => safe.push(letter),
            // Not even as references: XML 1.0 has no place for them.
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => {}
            letter => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn whatever_was_said_is_escaped() {
        let miss = Miss {
            about: "output".into(),
            expected: "</failure>]]>".into(),
            found: "a\u{0}\u{1b}[31m & \"b\"\u{ffff}".into(),
        };
        let verdict = Verdict {
            file: "a.test.yaml".into(),
            case: "<quotes \"and\" more>".into(),
            line: 3,
            misses: vec![miss],
            spent: None,
            took: Duration::from_millis(1_500),
        };
        let text = render(&[verdict]);
        assert!(text.contains("name=\"&lt;quotes &quot;and&quot; more&gt;\""), "{text}");
        assert!(
            text.contains("expected: &lt;/failure&gt;]]&gt;\nfound:    a[31m &amp; &quot;b&quot;</failure>"),
            "{text}"
        );
        assert!(text.contains("<testsuites tests=\"1\" failures=\"1\" time=\"1.500\">"), "{text}");
    }
}
