//! One case: what is staged, what is given, what is expected.

use super::expect::{self, Expect};
use super::reader::{Fields, text};
use super::script::{KEYS, Settings, Shared};
use cofferdam_core::budget::Budget;
use cofferdam_core::spec::InputText;
use cofferdam_core::spec::authored::{Findings, Part};
use cofferdam_core::spec::code;
use cofferdam_core::spec::duration;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The keys of a case, besides those that it shares with its file.
pub(super) const OWN: [&str; 10] =
    ["name", "about", "inputs", "input", "answers", "maxConcurrency", "timeout", "budget", "coordinator", "expect"];

/// One case of a test file.
#[derive(Debug)]
pub struct Case {
    pub(super) name: String,
    pub(super) file: String,
    pub(super) line: u32,
    pub(super) directory: PathBuf,
    pub(super) settings: Settings,
    pub(super) inputs: Vec<(String, InputText)>,
    pub(super) input: Option<String>,
    pub(super) answers: BTreeMap<String, InputText>,
    pub(super) max_concurrency: Option<usize>,
    pub(super) timeout: Option<Duration>,
    /// What the run may spend.
    pub(super) budget: Budget,
    /// Whether a coordinator works beside the steps.
    pub(super) coordinator: bool,
    pub(super) expect: Expect,
}

impl Case {
    /// Its name, unique in the file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file, as it was named.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line that it begins in, from 1.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.line
    }
}

pub(super) fn decode(part: Part<'_>, shared: &Shared, findings: &mut Findings) -> Option<Case> {
    let known: Vec<&str> = OWN.iter().chain(&KEYS).copied().collect();
    let fields = Fields::open(part, &known, findings)?;
    let name = fields.required("name", findings);
    if let Some(part) = fields.get("about") {
        text(part, findings);
    }
    let settings = shared.read(fields, findings);
    if settings.document.is_none() && fields.get("workflow").is_none() {
        let hint = Some("give the case or the file a `workflow`".to_owned());
        findings.at(part, code::MISSING_KEY, "the case has no document", hint);
    }
    let values = |key, findings: &mut Findings| {
        let members = fields.members(key, findings).into_iter();
        members.map(|member| (member.key.to_owned(), InputText::Value(member.value.to_json()))).collect::<Vec<_>>()
    };
    let inputs = values("inputs", findings);
    let answers = values("answers", findings).into_iter().collect();
    let timeout = fields.get("timeout").and_then(|part| time(part, findings));
    let expect = match fields.get("expect") {
        Some(part) => expect::decode(part, findings),
        None => {
            let hint = Some("`expect: { status: completed }` is the least".to_owned());
            findings.at(part, code::MISSING_KEY, "the case expects nothing", hint);
            None
        }
    };
    Some(Case {
        name: name?.to_owned(),
        file: shared.file.clone(),
        line: part.line(),
        directory: shared.directory.clone(),
        settings,
        inputs,
        input: fields.text("input", findings).map(str::to_owned),
        answers,
        max_concurrency: fields.number("maxConcurrency", findings).and_then(|count| usize::try_from(count).ok()),
        timeout,
        budget: fields.get("budget").map(|part| budget(part, findings)).unwrap_or_default(),
        coordinator: fields.flag("coordinator", findings),
        expect: expect?,
    })
}

/// A budget as flags have it.
fn budget(part: Part<'_>, findings: &mut Findings) -> Budget {
    match text(part, findings).map(Budget::parse) {
        Some(Ok(budget)) => budget,
        Some(Err(error)) => {
            findings.at(part, code::WRONG_TYPE, error, None);
            Budget::default()
        }
        None => Budget::default(),
    }
}

fn time(part: Part<'_>, findings: &mut Findings) -> Option<Duration> {
    let parsed = duration::parse(text(part, findings)?);
    if parsed.is_none() {
        findings.at(part, code::BAD_DURATION, "not a duration", Some("write `90s`, `500ms` or `1h30m`".to_owned()));
    }
    parsed
}
