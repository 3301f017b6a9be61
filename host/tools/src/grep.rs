//! The tool `grep`: lines that match a regular expression, in the files that `glob` would list.
//!
//! It must not decide which files are looked at, and it never follows a link out of the directory.

use crate::glob::{self, Patterns};
use crate::native::Scene;
use crate::place::Place;
use crate::read;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::LocalName;
use cofferdam_core::limits;
use cofferdam_core::port::{Effects, ToolDefinition, ToolOutput};
use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::Read as _;
use std::sync::Arc;

/// How much of a file is looked at to tell text from other data.
const PROBE_BYTES: u64 = 8 * 1024;

/// How many matches there are when nobody says.
const USUAL_MATCHES: usize = 200;

/// After so many bytes it is looked whether somebody still waits.
const LOOK_BYTES: usize = 64 * 1024;

/// What `grep` says of itself.
pub(crate) fn definition() -> ToolDefinition {
    ToolDefinition {
        name: LocalName::parse("grep").expect("`grep` follows the grammar of tool names"),
        title: Some("Search in files".to_owned()),
        description: "Finds lines that match a regular expression, in the files of the working directory that `glob` would list, or \
                      with `files: out:**` in the run's output directory. Gives path, number and text of each line. Files that are \
                      not text, or larger than 16 MiB, are passed over and counted."
            .to_owned(),
        input_schema: Arc::new(json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["pattern"],
            "properties": {
                "pattern": { "type": "string", "minLength": 1, "description": "A regular expression, matched within a line; no look-around, no back references." },
                "literal": { "type": "boolean", "default": false, "description": "Take the pattern as it stands, without special characters." },
                "ignore_case": { "type": "boolean", "default": false, "description": "Take large and small letters for the same." },
                "files": glob::patterns("Which files: one glob pattern or a list; everything when absent."),
                "exclude": glob::patterns("Files and directories to leave out, in the same form."),
                "include_hidden": { "type": "boolean", "default": false, "description": "Also look into files and directories whose names begin with a dot." },
                "max": { "type": "integer", "minimum": 1, "maximum": limits::GREP_MATCHES, "default": USUAL_MATCHES, "description": "At most so many lines." },
            },
        })),
        output_schema: Some(Arc::new(json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["matches", "files", "truncated", "skipped"],
            "properties": {
                "matches": { "type": "array", "items": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["path", "line", "text"],
                    "properties": {
                        "path": { "type": "string", "description": "A path that `read` takes." },
                        "line": { "type": "integer", "minimum": 1, "description": "The number of the line, from 1." },
                        "text": { "type": "string", "description": "The line, cut where it is very long." },
                    },
                } },
                "files": { "type": "integer", "minimum": 0, "description": "How many files were searched." },
                "truncated": { "type": "boolean", "description": "Whether there may be more." },
                "skipped": { "type": "integer", "minimum": 0, "description": "Files and entries that could not be searched." },
            },
        }))),
        effects: Effects { read_only: true, idempotent: true, ..Effects::default() },
        examples: vec![json!({ "pattern": "fn main", "files": "**/*.rs" }), json!({ "pattern": "TODO", "literal": true, "max": 20 })],
    }
}

/// The arguments of `grep`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Args {
    pattern: String,
    #[serde(default)]
    literal: bool,
    #[serde(default)]
    ignore_case: bool,
    #[serde(default)]
    files: Patterns,
    #[serde(default)]
    exclude: Patterns,
    #[serde(default)]
    include_hidden: bool,
    max: Option<usize>,
}

/// A search under way.
struct Search {
    pattern: Regex,
    max: usize,
    matches: Vec<Match>,
    files: u64,
    skipped: u64,
    bytes: usize,
    truncated: bool,
}

struct Match {
    path: String,
    line: u64,
    text: String,
}

/// Searches files.
pub(crate) fn run(scene: &Scene, args: &Args) -> Result<ToolOutput, Fault> {
    let pattern = compile(args)?;
    let listed = glob::Args {
        pattern: args.files.clone(),
        exclude: args.exclude.clone(),
        include_hidden: args.include_hidden,
        max: None,
    };
    let found = glob::find(scene, &listed)?;
    let mut search = Search {
        pattern,
        max: args.max.unwrap_or(USUAL_MATCHES).min(limits::GREP_MATCHES),
        matches: Vec::new(),
        files: 0,
        skipped: found.skipped,
        bytes: 0,
        truncated: found.truncated,
    };
    for path in found.files {
        scene.check()?;
        if search.is_done() {
            search.truncated = true;
            break;
        }
        search.file(scene, &path)?;
    }
    Ok(search.output())
}

fn compile(args: &Args) -> Result<Regex, Fault> {
    if args.pattern.len() > limits::GREP_PATTERN_BYTES {
        let message =
            format!("a pattern of {} bytes is longer than {} bytes", args.pattern.len(), limits::GREP_PATTERN_BYTES);
        return Err(Fault::step("invalid_arguments", message));
    }
    let pattern = if args.literal { regex::escape(&args.pattern) } else { args.pattern.clone() };
    let built =
        RegexBuilder::new(&pattern).case_insensitive(args.ignore_case).size_limit(limits::GREP_COMPILED_BYTES).build();
    built.map_err(|error| {
        Fault::step("invalid_arguments", format!("`pattern` is not a regular expression: {error}"))
            .with_hint("`literal: true` takes the pattern as it stands")
    })
}

impl Search {
    fn is_done(&self) -> bool {
        self.matches.len() >= self.max || self.bytes >= limits::GREP_SCAN_BYTES
    }

    /// Searches one file; what cannot be searched is counted.
    fn file(&mut self, scene: &Scene, path: &str) -> Result<(), Fault> {
        let place = Place::parse_file(path)?;
        let Ok((mut file, size)) = read::open(&place, &place.root.open(&scene.dirs)?) else {
            self.skipped += 1;
            return Ok(());
        };
        if size > limits::GREP_FILE_BYTES as u64 {
            self.skipped += 1;
            return Ok(());
        }
        let mut bytes = Vec::new();
        let mut read = file.by_ref().take(PROBE_BYTES).read_to_end(&mut bytes);
        if read.is_ok() && !bytes.contains(&0) {
            let rest = (limits::GREP_FILE_BYTES + 1 - bytes.len()) as u64;
            read = file.by_ref().take(rest).read_to_end(&mut bytes);
        }
        self.bytes += bytes.len();
        if read.is_err() || bytes.len() > limits::GREP_FILE_BYTES || bytes.contains(&0) {
            self.skipped += 1;
            return Ok(());
        }
        self.files += 1;
        self.lines(scene, path, &bytes)
    }

    fn lines(&mut self, scene: &Scene, path: &str, bytes: &[u8]) -> Result<(), Fault> {
        let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        if bytes.is_empty() {
            return Ok(());
        }
        let mut since_look = 0;
        for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            since_look += line.len();
            if since_look >= LOOK_BYTES {
                since_look = 0;
                scene.check()?;
            }
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.len() > limits::GREP_SEARCHED_LINE_BYTES {
                self.truncated = true;
                continue;
            }
            let Some(at) = self.pattern.find(line) else { continue };
            if self.matches.len() >= self.max {
                self.truncated = true;
                return Ok(());
            }
            self.matches.push(Match { path: path.to_owned(), line: number, text: excerpt(line, at.start()) });
        }
        Ok(())
    }

    fn output(self) -> ToolOutput {
        let mut content: Vec<String> =
            self.matches.iter().map(|found| format!("{}:{}: {}", found.path, found.line, found.text)).collect();
        if self.truncated {
            content.push("[there may be more; narrow the pattern or the files]".to_owned());
        } else if self.matches.is_empty() {
            content.push(format!("[no line of {} files matches]", self.files));
        }
        let matches: Vec<Value> = self
            .matches
            .into_iter()
            .map(|found| json!({ "path": found.path, "line": found.line, "text": found.text }))
            .collect();
        let result =
            json!({ "matches": matches, "files": self.files, "truncated": self.truncated, "skipped": self.skipped });
        ToolOutput { result: Arc::new(result), content: Some(content.join("\n").into()) }
    }
}

/// A line, or the part of a very long one in which the match begins.
fn excerpt(line: &[u8], at: usize) -> String {
    let text = String::from_utf8_lossy(line);
    if text.len() <= limits::GREP_LINE_BYTES {
        return text.into_owned();
    }
    // Bytes that are no UTF-8 grow when they are replaced; the place is then near the match.
    let start = text.floor_char_boundary(at.min(text.len()).saturating_sub(limits::GREP_LINE_BYTES / 4));
    let end = text.floor_char_boundary(start + limits::GREP_LINE_BYTES);
    let part = text.get(start..end).unwrap_or_default();
    let (before, after) = (if start > 0 { "..." } else { "" }, if end < text.len() { "..." } else { "" });
    format!("{before}{part}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::tests::{Folder, run as call};

    /// `path:line` of each match.
    fn places(folder: &Folder, args: Value) -> Vec<String> {
        let found = call(folder, run, args).unwrap();
        let matches = found["matches"].as_array().unwrap();
        matches.iter().map(|found| format!("{}:{}", found["path"].as_str().unwrap(), found["line"])).collect()
    }

    #[test]
    fn lines_are_found_where_they_stand() {
        let folder = Folder::new();
        folder.file("a.rs", "fn main() {}\n// größer\r\nfn two() {}\n");
        folder.file("src/b.rs", "// nothing\nFN main");
        folder.file("notes.md", "fn main");
        folder.file("empty", "");
        let cases: [(Value, &[&str]); 8] = [
            (json!({ "pattern": "fn main" }), &["a.rs:1", "notes.md:1"]),
            (json!({ "pattern": "fn main", "ignore_case": true, "files": "**/*.rs" }), &["a.rs:1", "src/b.rs:2"]),
            (json!({ "pattern": "^fn \\w+\\(\\) \\{\\}$" }), &["a.rs:1", "a.rs:3"]),
            (json!({ "pattern": "() {}", "literal": true, "exclude": "src/" }), &["a.rs:1", "a.rs:3"]),
            (json!({ "pattern": "größer$" }), &["a.rs:2"]),
            (json!({ "pattern": "^$" }), &[]),
            (json!({ "pattern": "main", "max": 1 }), &["a.rs:1"]),
            (json!({ "pattern": "main", "files": "out:**" }), &[]),
        ];
        for (args, wanted) in cases {
            assert_eq!(places(&folder, args.clone()), wanted, "{args}");
        }
    }

    #[test]
    fn what_is_left_out_is_said() {
        let folder = Folder::new();
        folder.file("a", "x\nx\nx\n");
        folder.file("binary", b"x\0x");
        std::fs::File::create(folder.path("step/large")).unwrap().set_len(limits::GREP_FILE_BYTES as u64 + 1).unwrap();
        let found = call(&folder, run, json!({ "pattern": "x", "max": 2 })).unwrap();
        assert_eq!(found["truncated"], true);
        let found = call(&folder, run, json!({ "pattern": "x", "max": 3 })).unwrap();
        assert_eq!(found["truncated"], true, "files behind the last match were not searched");
        let found = call(&folder, run, json!({ "pattern": "x", "max": 4 })).unwrap();
        assert_eq!((&found["truncated"], &found["skipped"], &found["files"]), (&json!(false), &json!(2), &json!(1)));
    }

    #[test]
    fn a_long_line_is_cut_around_its_match() {
        let folder = Folder::new();
        folder.file("min.js", format!("{}needle{}", "ä".repeat(5_000), "b".repeat(5_000)));
        let found = call(&folder, run, json!({ "pattern": "needle" })).unwrap();
        let text = found["matches"][0]["text"].as_str().unwrap();
        assert!(text.len() < limits::GREP_LINE_BYTES + 10 && text.contains("needle"), "{text}");
        assert!(text.starts_with("...ä") && text.ends_with("b..."), "{text}");
    }

    #[test]
    fn nothing_outside_is_searched() {
        let folder = Folder::new();
        folder.link(folder.path("outside"), "dir");
        folder.link(folder.path("outside/secret.txt"), "file");
        folder.file(".cofferdam/runs.db", "secret");
        folder.file(".git/config", "secret");
        for files in ["**", "dir/**", "file", ".cofferdam/**"] {
            assert_eq!(places(&folder, json!({ "pattern": "secret", "files": files })), [] as [&str; 0], "{files}");
        }
        let fault = call(&folder, run, json!({ "pattern": "secret", "files": "../outside/*" })).unwrap_err();
        assert_eq!(fault.code, "path_refused");
    }

    #[test]
    fn patterns_that_are_none_are_refused() {
        let folder = Folder::new();
        for pattern in ["(", "(?=x)", "\\1", "(a{1000}){1000}", &"x".repeat(limits::GREP_PATTERN_BYTES + 1)] {
            assert_eq!(
                call(&folder, run, json!({ "pattern": pattern })).unwrap_err().code,
                "invalid_arguments",
                "{pattern}"
            );
        }
    }
}
