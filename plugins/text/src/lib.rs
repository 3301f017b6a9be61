//! Measures and searches texts: words, lines, headings, readability, patterns,
//! and a survey of a folder's files.
//!
//! Tools take the text itself, a file, or a list of files below the step's
//! directory (`source`); what is measured is in the other modules, which know
//! nothing of files.

mod count;
mod markdown;
mod pattern;
mod reading;
mod source;
mod syllables;
mod totals;

use cofferdam_sdk::{Context, Error, ErrorKind, Output, Result, tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::count::{LineCounts, WordCounts};
use crate::markdown::Heading;
use crate::pattern::{Match, Search};
use crate::reading::Readability;
use crate::source::{Load, One, Several, Skipped};
use crate::totals::Survey;

/// Counts the words, characters and distinct words of a text, and says which
/// words occur most often.
#[tool(read_only, idempotent, example = r#"{"text": "to be or not to be"}"#)]
fn words(ctx: &Context, args: One) -> Result<WordCounts> {
    Ok(count::words(&args.load(ctx)?.text))
}

/// Counts the lines of a text: all, blank ones, and the longest.
#[tool(read_only, idempotent, example = r#"{"text": "one\n\ntwo"}"#)]
fn lines(ctx: &Context, args: One) -> Result<LineCounts> {
    Ok(count::lines(&args.load(ctx)?.text))
}

/// The headings of one file or text.
#[derive(Debug, Serialize, JsonSchema)]
struct Headings {
    /// In order of files and lines.
    headings: Vec<Located<Heading>>,
    /// Files that could not be read.
    skipped: Vec<Skipped>,
}

/// Something found, and the file it was found in.
#[derive(Debug, Serialize, JsonSchema)]
struct Located<T> {
    /// The file, if it was found in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(flatten)]
    found: T,
}

/// Lists the headings of Markdown with level and line. Takes a text, a file or a
/// list of files.
#[tool(read_only, idempotent, example = r##"{"text": "# Title\n\n## Part"}"##)]
fn headings(ctx: &Context, args: Several) -> Result<Headings> {
    let Load { texts, skipped } = args.load(ctx)?;
    let headings = texts
        .into_iter()
        .flat_map(|source| {
            let path = source.path;
            markdown::headings(&source.text).into_iter().map(move |found| Located { path: path.clone(), found })
        })
        .collect();
    Ok(Headings { headings, skipped })
}

/// A text and whether it is Markdown.
#[derive(Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ReadabilityArgs {
    #[serde(flatten)]
    source: One,
    /// Whether to leave out Markdown's signs, code and tables. Default: for
    /// files that end in `.md`.
    #[serde(default)]
    markdown: Option<bool>,
}

/// Says how hard an English text is to read: Flesch reading ease, Flesch-Kincaid
/// grade and automated readability index, with the counts they come from.
#[tool(read_only, idempotent, example = r#"{"text": "The cat sat on the mat. It was warm."}"#)]
fn readability(ctx: &Context, args: ReadabilityArgs) -> Result<Readability> {
    let source = args.source.load(ctx)?;
    let is_markdown = args
        .markdown
        .unwrap_or_else(|| source.path.as_ref().is_some_and(|path| path.to_ascii_lowercase().ends_with(".md")));
    let text = if is_markdown { markdown::prose(&source.text) } else { source.text };
    reading::measure(&text).ok_or_else(|| Error::invalid_input("there are no words in the text"))
}

/// A text or files, and what to search for.
#[derive(Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ExtractArgs {
    #[serde(flatten)]
    source: Several,
    #[serde(flatten)]
    search: Search,
}

/// What a search found.
#[derive(Debug, Serialize, JsonSchema)]
struct Extracted {
    /// In order of files and lines.
    matches: Vec<Located<Match>>,
    /// How many there are, listed or not.
    count: usize,
    /// Whether `limit` left some out.
    truncated: bool,
    /// Files that could not be read.
    skipped: Vec<Skipped>,
}

/// Finds all matches of a regular expression with line, column and groups. Takes
/// a text, a file or a list of files.
#[tool(read_only, idempotent, example = r#"{"text": "TODO(ann): more", "pattern": "TODO\\((?P<who>\\w+)\\)"}"#)]
fn extract(ctx: &Context, args: ExtractArgs) -> Result<Extracted> {
    let pattern = args.search.compile()?;
    let Load { texts, skipped } = args.source.load(ctx)?;
    let mut matches = Vec::new();
    let mut count = 0;
    for source in texts {
        let room = args.search.limit().saturating_sub(matches.len());
        let found = pattern::find(&pattern, &source.text, room);
        count += found.count;
        matches.extend(found.matches.into_iter().map(|found| Located { path: source.path.clone(), found }));
    }
    Ok(Extracted { truncated: count > matches.len(), matches, count, skipped })
}

/// Which files to survey.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SurveyArgs {
    /// Files, relative to the step's directory.
    paths: Vec<String>,
    /// Whether to list every file (the default) or totals only.
    #[serde(default = "yes")]
    list: bool,
}

fn yes() -> bool {
    true
}

/// Describes a folder by its files: bytes, lines, blank lines and words of each,
/// in total and by kind. Binary files count by their bytes only.
#[tool(read_only, idempotent, example = r#"{"paths": ["README.md", "src/lib.rs"]}"#)]
fn survey(ctx: &Context, args: SurveyArgs) -> Result<Output<Survey>> {
    const FILES_PER_CHECK: usize = 256;
    let directory = ctx.step();
    let mut survey = Survey::default();
    for (index, path) in args.paths.iter().enumerate() {
        if index % FILES_PER_CHECK == 0 && index > 0 {
            if ctx.is_cancelled() {
                return Err(Error::new(ErrorKind::Cancelled, "the survey was cancelled"));
            }
            ctx.progress(&format!("{index} of {} files", args.paths.len()));
        }
        match directory.read(path, source::MOST_FILE_BYTES) {
            Ok(bytes) => survey.add(path, &bytes),
            Err(error) if error.code() == Some("no_directory") => return Err(error),
            Err(error) => survey.skip(path, error.message()),
        }
    }
    if !args.list {
        survey.files.clear();
    }
    let summary = survey.summary();
    Ok(Output::new(survey).with_summary(summary))
}

cofferdam_sdk::plugin!(id = "cofferdam/text", tools = [words, lines, headings, readability, extract, survey],);

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_sdk::{Fake, Payload, Plugin as _};
    use serde_json::{Value, json};

    fn call(tool: &str, args: &Value) -> Result<Value> {
        let ctx = Fake::new().step(concat!(env!("CARGO_MANIFEST_DIR"), "/cases")).context();
        match Plugin::call(&ctx, tool, &args.to_string())?.value {
            Payload::Json(value) => Ok(value),
            other => panic!("not JSON: {other:?}"),
        }
    }

    #[test]
    fn every_tool_reads_a_file() {
        assert_eq!(call("words", &json!({ "path": "notes.md" })).unwrap()["words"], 25);
        assert_eq!(call("lines", &json!({ "path": "notes.md" })).unwrap()["lines"], 13);
        let found = call("headings", &json!({ "paths": ["notes.md", "gone.md"] })).unwrap();
        assert_eq!(
            found["headings"][1],
            json!({
                "path": "notes.md", "level": 2, "text": "Second part", "line": 10,
            })
        );
        assert_eq!(found["skipped"][0]["path"], "gone.md");
        assert!(call("readability", &json!({ "path": "notes.md" })).is_ok());
    }

    #[test]
    fn matches_name_their_file_and_place() {
        let args = json!({ "path": "notes.md", "pattern": "(?P<who>Ann|Bob) said", "limit": 1 });
        let found = call("extract", &args).unwrap();
        assert_eq!(
            found["matches"][0],
            json!({
                "path": "notes.md", "line": 3, "column": 1, "text": "Ann said", "groups": {"who": "Ann"},
            })
        );
        assert_eq!((&found["count"], &found["truncated"]), (&json!(2), &json!(true)));
    }

    #[test]
    fn a_folder_is_surveyed() {
        let survey = call("survey", &json!({ "paths": ["notes.md", "gone.rs"] })).unwrap();
        assert_eq!(survey["totals"]["files"], 1);
        assert_eq!(survey["kinds"][0]["kind"], "Markdown");
        assert_eq!(survey["skipped"][0]["path"], "gone.rs");
        let totals = call("survey", &json!({ "paths": ["notes.md"], "list": false })).unwrap();
        assert_eq!(totals["files"], json!([]));
    }

    #[test]
    fn every_example_is_a_valid_call() {
        for tool in Plugin::tools() {
            for example in tool.examples {
                call(tool.name, &serde_json::from_str(example).unwrap()).unwrap();
            }
        }
    }

    #[test]
    fn the_schemas_refuse_unknown_arguments() {
        for tool in Plugin::tools() {
            let schema = &tool.input_schema;
            let closed = [&schema["additionalProperties"], &schema["unevaluatedProperties"]];
            assert!(closed.contains(&&Value::Bool(false)), "{}: {schema}", tool.name);
        }
    }

    #[test]
    fn a_single_file_that_is_not_there_is_an_error() {
        let error = call("words", &json!({ "path": "gone.md" })).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let error = call("words", &json!({})).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}
