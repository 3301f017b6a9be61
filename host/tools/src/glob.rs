//! The tool `glob`: files whose paths match patterns.
//!
//! It must not read files, and must not know how directories are walked.

use crate::native::Scene;
use crate::place::{self, Place, Root};
use crate::walk::{self, Filter, Found};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::LocalName;
use cofferdam_core::limits;
use cofferdam_core::port::{Effects, ToolDefinition, ToolOutput};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// The schema of one pattern or a list of them.
pub(crate) fn patterns(description: &str) -> Value {
    json!({
        "description": description,
        "anyOf": [
            { "type": "string", "minLength": 1 },
            { "type": "array", "items": { "type": "string", "minLength": 1 }, "minItems": 1, "maxItems": limits::GLOB_PATTERNS },
        ],
    })
}

/// What `glob` says of itself.
pub(crate) fn definition() -> ToolDefinition {
    ToolDefinition {
        name: LocalName::parse("glob").expect("`glob` follows the grammar of tool names"),
        title: Some("Find files".to_owned()),
        description: "Lists files of the working directory whose paths match one of the patterns, sorted. `*` stays within a \
                      directory, `**` crosses directories, `{a,b}` and `[a-z]` are alternatives: `**/*.md`, `src/**/*.{rs,toml}`. \
                      What .gitignore leaves out, hidden files, `.git`, `target` and `.cofferdam` are not listed; links are not followed. \
                      Patterns that begin with `out:` list the run's output directory."
            .to_owned(),
        input_schema: Arc::new(json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "pattern": patterns("One pattern or a list; everything when absent. A pattern that ends with `/` means all below that directory."),
                "exclude": patterns("Files and directories to leave out, in the same form."),
                "include_hidden": { "type": "boolean", "default": false, "description": "Also list files and directories whose names begin with a dot." },
                "max": { "type": "integer", "minimum": 1, "maximum": limits::GLOB_FILES, "default": limits::GLOB_FILES, "description": "At most so many files." },
            },
        })),
        output_schema: Some(Arc::new(json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["files", "truncated", "skipped"],
            "properties": {
                "files": { "type": "array", "items": { "type": "string" }, "description": "Paths that `read` takes." },
                "truncated": { "type": "boolean", "description": "Whether there are more." },
                "skipped": { "type": "integer", "minimum": 0, "description": "Entries that could not be looked at." },
            },
        }))),
        effects: Effects { read_only: true, idempotent: true, ..Effects::default() },
        examples: vec![json!({ "pattern": "**/*.md" }), json!({ "pattern": ["src/**/*.rs", "Cargo.toml"], "exclude": "src/generated/", "max": 100 })],
    }
}

/// The arguments of `glob`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Args {
    pub(crate) pattern: Patterns,
    pub(crate) exclude: Patterns,
    pub(crate) include_hidden: bool,
    pub(crate) max: Option<usize>,
}

/// One pattern or a list of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Patterns {
    One(String),
    Many(Vec<String>),
}

impl Default for Patterns {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Patterns {
    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(pattern) => std::slice::from_ref(pattern),
            Self::Many(patterns) => patterns,
        }
    }
}

/// Lists files.
pub(crate) fn run(scene: &Scene, args: &Args) -> Result<ToolOutput, Fault> {
    find(scene, args).map(|found| output(&found))
}

/// Looks for files; their paths are those that tools take.
pub(crate) fn find(scene: &Scene, args: &Args) -> Result<Found, Fault> {
    let everything = [String::from("**")];
    let wanted = match args.pattern.as_slice() {
        [] => everything.as_slice(),
        patterns => patterns,
    };
    let max = args.max.unwrap_or(limits::GLOB_FILES).min(limits::GLOB_FILES);
    let mut all = Found::default();
    for root in [Root::Step, Root::Out] {
        let Some(search) = Search::new(root, wanted, args)? else { continue };
        let found = walk::walk(scene, &root.open(&scene.dirs)?, &search, max - all.files.len())?;
        all.files.extend(found.files.into_iter().map(|path| Place::found(root, path).to_string()));
        all.truncated |= found.truncated;
        all.skipped += found.skipped;
    }
    Ok(all)
}

fn output(found: &Found) -> ToolOutput {
    let mut content = found.files.join("\n");
    if found.truncated {
        content.push_str("\n[there are more files; narrow the pattern]");
    } else if found.files.is_empty() {
        content.push_str("[no file matches]");
    }
    ToolOutput {
        result: Arc::new(json!({ "files": found.files, "truncated": found.truncated, "skipped": found.skipped })),
        content: Some(content.into()),
    }
}

/// What is looked for in one root.
struct Search {
    wanted: GlobSet,
    excluded: GlobSet,
    /// What each pattern begins with before its first special character, up to a whole component: only there can
    /// it match.
    bases: Vec<String>,
    include_hidden: bool,
}

impl Search {
    /// The search of the patterns that concern a root, if any does.
    fn new(root: Root, wanted: &[String], args: &Args) -> Result<Option<Self>, Fault> {
        let wanted = below(root, wanted)?;
        if wanted.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            bases: wanted.iter().map(|pattern| base(pattern)).collect(),
            wanted: compile(&wanted)?,
            excluded: compile(&below(root, args.exclude.as_slice())?)?,
            include_hidden: args.include_hidden,
        }))
    }
}

impl Filter for Search {
    fn enters(&self, path: &str) -> bool {
        let is_on_the_way = self.bases.iter().any(|base| is_at_or_below(path, base) || is_at_or_below(base, path));
        is_on_the_way && !self.excluded.is_match(path)
    }

    fn takes(&self, path: &str) -> bool {
        self.wanted.is_match(path) && !self.excluded.is_match(path)
    }

    fn sees_hidden(&self, path: &str) -> bool {
        // A pattern that spells a hidden name out means it.
        self.include_hidden || self.bases.iter().any(|base| is_at_or_below(base, path))
    }
}

fn is_at_or_below(path: &str, base: &str) -> bool {
    base.is_empty() || path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The patterns of one root, normalised.
fn below(root: Root, patterns: &[String]) -> Result<Vec<String>, Fault> {
    let parts = patterns.iter().map(|given| (given, Root::of(given))).filter(|(_, (of, _))| *of == root);
    parts.map(|(given, (_, rest))| normalise(given, rest)).collect()
}

fn normalise(given: &str, rest: &str) -> Result<String, Fault> {
    if given.len() > limits::GLOB_PATTERN_BYTES {
        let message = format!("a pattern of {} bytes is longer than {} bytes", given.len(), limits::GLOB_PATTERN_BYTES);
        return Err(Fault::step("invalid_arguments", message));
    }
    let pattern = place::relative(given, rest)?;
    Ok(match (pattern.as_str(), rest.ends_with('/')) {
        ("", _) => "**".to_owned(),
        (_, true) => format!("{pattern}/**"),
        (_, false) => pattern,
    })
}

/// The whole components before the first special character.
fn base(pattern: &str) -> String {
    let is_plain = |part: &&str| !part.contains(['*', '?', '[', ']', '{', '}', '\\']);
    // Braces may hold slashes, so that nothing behind the first of them is a component.
    pattern.split('/').take_while(is_plain).collect::<Vec<_>>().join("/")
}

fn compile(patterns: &[String]) -> Result<GlobSet, Fault> {
    let invalid = |error: &globset::Error| {
        let message = match error.glob() {
            Some(pattern) => format!("`{pattern}` is not a pattern: {}", error.kind()),
            None => format!("the patterns cannot be used: {}", error.kind()),
        };
        Fault::step("invalid_arguments", message).with_hint("a special character is taken literally in brackets: `[*]`")
    };
    if patterns.len() > limits::GLOB_PATTERNS {
        return Err(Fault::step("invalid_arguments", format!("more than {} patterns", limits::GLOB_PATTERNS)));
    }
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(GlobBuilder::new(pattern).literal_separator(true).build().map_err(|error| invalid(&error))?);
        // Everything below a directory includes the directory: it need not be entered to be left out.
        if let Some(directory) = pattern.strip_suffix("/**") {
            set.add(GlobBuilder::new(directory).literal_separator(true).build().map_err(|error| invalid(&error))?);
        }
    }
    set.build().map_err(|error| invalid(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::tests::{Folder, run as call};

    fn files(folder: &Folder, args: Value) -> Vec<String> {
        let found = call(folder, run, args).unwrap();
        serde_json::from_value(found["files"].clone()).unwrap()
    }

    #[test]
    fn patterns_match_whole_paths() {
        let folder = Folder::new();
        for name in ["a.rs", "src/b.rs", "src/deep/c.rs", "src/d.toml", "srcs/e.rs", "x{y}.rs"] {
            folder.file(name, "");
        }
        let cases: [(Value, &[&str]); 10] = [
            (json!("*.rs"), &["a.rs", "x{y}.rs"]),
            (json!("**/*.rs"), &["a.rs", "src/b.rs", "src/deep/c.rs", "srcs/e.rs", "x{y}.rs"]),
            (json!("src/*"), &["src/b.rs", "src/d.toml"]),
            (json!("src/"), &["src/b.rs", "src/d.toml", "src/deep/c.rs"]),
            (json!("./src/**/*.{toml,md}"), &["src/d.toml"]),
            (json!(["a.rs", "src/b.rs"]), &["a.rs", "src/b.rs"]),
            (json!("{src,srcs}/*.rs"), &["src/b.rs", "srcs/e.rs"]),
            (json!("x[{]y[}].rs"), &["x{y}.rs"]),
            (json!("src"), &[]),
            (json!("out:**"), &[]),
        ];
        for (pattern, wanted) in cases {
            assert_eq!(files(&folder, json!({ "pattern": pattern })), wanted, "{pattern}");
        }
        assert_eq!(files(&folder, json!({ "pattern": "src/", "exclude": ["**/deep/**", "*/*.toml"] })), ["src/b.rs"]);
    }

    #[test]
    fn bad_patterns_are_refused() {
        let folder = Folder::new();
        let many = vec!["a"; 65];
        for (pattern, code) in [
            (json!("../*"), "path_refused"),
            (json!("/etc/*"), "path_refused"),
            (json!("a/[b"), "invalid_arguments"),
            (json!("{a"), "invalid_arguments"),
            (json!(many), "invalid_arguments"),
            (json!("a".repeat(2_000)), "invalid_arguments"),
        ] {
            assert_eq!(call(&folder, run, json!({ "pattern": pattern })).unwrap_err().code, code, "{pattern}");
        }
    }
}
