//! What a case stages: its document, the model's answers, the tools' answers, files of the working directory, rules. A
//! file may say it for all its cases.

use super::models::Voice;
use super::reader::{Fields, members, text};
use super::tools::{self, ToolScript};
use cofferdam_core::id::ToolName;
use cofferdam_core::limits;
use cofferdam_core::permission::Rule;
use cofferdam_core::spec::authored::{Findings, Part};
use cofferdam_core::spec::code;
use cofferdam_llm::Scripted;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// The keys that a file and its cases have in common.
pub(super) const KEYS: [&str; 6] = ["workflow", "model", "tools", "files", "allow", "deny"];

/// What is staged. A case takes from its file what it does not say itself; of `tools` and `files` each entry.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) document: Option<Document>,
    pub(super) model: Option<Voice>,
    pub(super) tools: BTreeMap<ToolName, Arc<[ToolScript]>>,
    pub(super) files: BTreeMap<PathBuf, Arc<str>>,
    pub(super) allow: Vec<Rule>,
    pub(super) deny: Vec<Rule>,
}

/// Where the document of a case is.
#[derive(Clone, Debug)]
pub(super) enum Document {
    /// In a file.
    File(PathBuf),
    /// In the test file; what it names is relative to that.
    Text(Arc<str>),
}

/// What the cases of a file share.
pub(super) struct Shared {
    /// The file, as it was named.
    pub(super) file: String,
    /// The directory that paths are relative to.
    pub(super) directory: PathBuf,
    pub(super) settings: Settings,
}

impl Shared {
    pub(super) fn new(file: String, directory: PathBuf) -> Self {
        Self { file, directory, settings: Settings::default() }
    }

    /// What these fields stage, and what the file stages for all.
    pub(super) fn read(&self, fields: Fields<'_>, findings: &mut Findings) -> Settings {
        let mut settings = self.settings.clone();
        if let Some(part) = fields.get("workflow") {
            settings.document = self.document(part, findings).or(settings.document);
        }
        if let Some(part) = fields.get("model") {
            settings.model = match part.member("recording") {
                Some(folder) => self.recording(part, folder, findings),
                None => self.model(part, findings).map(|script| Voice::Script(Arc::new(script))),
            };
        }
        for member in fields.members("tools", findings) {
            match ToolName::parse(member.key) {
                Ok(name) => _ = settings.tools.insert(name, tools::decode(member.value, findings).into()),
                Err(error) => findings.at(member.value, code::BAD_TOOL, error.to_string(), None),
            }
        }
        for member in fields.members("files", findings) {
            let path = PathBuf::from(member.key);
            if path.components().any(|part| !matches!(part, Component::Normal(_))) || member.key.is_empty() {
                let hint = Some("write a path below the working directory, `src/main.rs`".to_owned());
                findings.at(
                    member.value,
                    code::FILE,
                    format!("`{}` leads out of the working directory", member.key),
                    hint,
                );
            } else if let Some(content) = content(member.value, findings) {
                settings.files.insert(path, content);
            }
        }
        settings.allow.extend(rules(fields, "allow", findings));
        settings.deny.extend(rules(fields, "deny", findings));
        settings
    }

    fn document(&self, part: Part<'_>, findings: &mut Findings) -> Option<Document> {
        let text = text(part, findings)?;
        if text.contains('\n') {
            return Some(Document::Text(text.into()));
        }
        let path = self.directory.join(text);
        if !path.is_file() {
            let hint =
                Some("paths are relative to the test file; a document may also stand here, after `|`".to_owned());
            findings.at(part, code::FILE, format!("there is no document `{text}`"), hint);
        }
        Some(Document::File(path))
    }

    /// What providers were recorded to answer.
    fn recording(&self, part: Part<'_>, folder: Part<'_>, findings: &mut Findings) -> Option<Voice> {
        for member in part.members().into_iter().flatten().filter(|member| !matches!(member.key, "recording" | "name"))
        {
            findings.unknown_key(member, &["recording", "name"]);
        }
        let name = part.member("name").and_then(|name| text(name, findings)).map(str::to_owned);
        let path = text(folder, findings)?;
        let folder_of = self.directory.join(path);
        if !folder_of.is_dir() {
            let hint =
                Some("`cofferdam run --record DIR` makes recordings; paths are relative to the test file".to_owned());
            findings.at(folder, code::FILE, format!("there is no folder `{path}`"), hint);
            return None;
        }
        Some(Voice::Recording { folder: folder_of, name })
    }

    fn model(&self, part: Part<'_>, findings: &mut Findings) -> Option<Scripted> {
        let Some(name) = part.text() else {
            members(part, findings)?;
            return inline_model(part, findings);
        };
        let Some(path) = name.strip_prefix('@') else {
            let hint = Some("`@answers.yaml` names a file; a table gives the answers here".to_owned());
            findings.at(part, code::WRONG_TYPE, format!("`{name}` is no script of a model"), hint);
            return None;
        };
        let script = read_text(&self.directory.join(path), limits::SCRIPT_BYTES)
            .and_then(|text| Scripted::parse(&text).map_err(|fault| fault.message));
        match script {
            Ok(model) => Some(model.named(format!("scripted/{path}"))),
            Err(message) => {
                findings.at(part, code::FILE, format!("{path}: {message}"), None);
                None
            }
        }
    }
}

fn inline_model(part: Part<'_>, findings: &mut Findings) -> Option<Scripted> {
    match Scripted::parse(&part.to_json().to_string()) {
        Ok(model) => Some(model),
        Err(fault) => {
            // The place inside is that of the JSON which it was turned into.
            let message = fault.message.split(" at line ").next().unwrap_or_default().to_owned();
            let message = message.strip_prefix("the script of a scripted model cannot be ").unwrap_or(&message);
            let message = message.split_once(": ").map_or(message, |(_, what)| what);
            let message = message.strip_prefix("error: line 1 column ").map_or(message, after_column).to_owned();
            findings.at(
                culprit(part, &message),
                code::WRONG_TYPE,
                format!("the model's script: {message}"),
                fault.hint,
            );
            None
        }
    }
}

fn after_column(rest: &str) -> &str {
    rest.split_once(": ").map_or(rest, |(_, what)| what)
}

/// The answer that a message of the script's reader is about.
fn culprit<'a>(part: Part<'a>, message: &str) -> Part<'a> {
    if let Some(rest) = message.strip_prefix("answer ") {
        let number: usize = rest.split([' ', ':']).next().and_then(|number| number.parse().ok()).unwrap_or(1);
        return part.nearest(&format!("answers[{}]", number.saturating_sub(1)));
    }
    if message.starts_with("the default") {
        return part.nearest("default");
    }
    let key = message.split_once("unknown field `").and_then(|(_, rest)| rest.split_once('`')).map(|(key, _)| key);
    key.and_then(|key| find_key(part, key)).unwrap_or(part)
}

fn find_key<'a>(part: Part<'a>, key: &str) -> Option<Part<'a>> {
    let inner = |part: Part<'a>| find_key(part, key);
    part.member(key)
        .or_else(|| part.members()?.find_map(|member| inner(member.value)))
        .or_else(|| part.items()?.find_map(inner))
}

fn content(part: Part<'_>, findings: &mut Findings) -> Option<Arc<str>> {
    if part.text() == Some("") { Some(Arc::from("")) } else { text(part, findings).map(Arc::from) }
}

fn rules(fields: Fields<'_>, key: &str, findings: &mut Findings) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (part, text) in fields.texts(key, findings) {
        match Rule::parse(text) {
            Ok(rule) => rules.push(rule),
            Err(error) => findings.at(part, code::BAD_TOOL, error.to_string(), None),
        }
    }
    rules
}

/// A text file that the test file names.
pub(super) fn read_text(path: &Path, max_bytes: usize) -> Result<String, String> {
    let file = crate::sources::read_named(path, max_bytes).map_err(|error| error.to_string())?;
    String::from_utf8(file.bytes.to_vec()).map_err(|_| "it is not UTF-8 text".to_owned())
}
