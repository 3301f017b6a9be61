//! Finds credentials, keys and tokens in files and says where they are, never
//! what they are: a finding carries a masked form that cannot be used.
//!
//! Two families of rules: tokens whose issuer gave them a form of their own
//! (`token`, `private_key`, `web_token`, `address`), which are certain, and
//! values assigned to names like `password` (`assignment`), which are judged by
//! their entropy and by everything that makes a value look like an example
//! (`sample`). What is not reported matters as much as what is: a scanner that
//! cries wolf is switched off.
//!
//! Must never put a secret into a result, an error or a log line.

mod address;
mod assignment;
mod entropy;
mod file;
mod finding;
mod lines;
mod login;
mod private_key;
mod report;
mod sample;
mod telegram;
mod token;
mod web_token;
mod wide;

use cofferdam_sdk::{Context, Error, ErrorKind, Output, Result, tool};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::finding::Confidence;
use crate::report::{Report, Reporter, Why};

const DEFAULT_FILE_BYTES: u64 = 1024 * 1024;
// A file is held in memory whole, beside what was found so far.
const MOST_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// What to scan: exactly one of `path`, `paths` and `text`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Args {
    /// One file, relative to the step's directory.
    #[serde(default)]
    path: Option<String>,
    /// Files, relative to the step's directory.
    #[serde(default)]
    paths: Option<Vec<String>>,
    /// The text itself.
    #[serde(default)]
    text: Option<String>,
    /// Report findings of this confidence and above; `low` also reports what is
    /// probably an example. Default: `medium`.
    #[serde(default)]
    min_confidence: Option<Confidence>,
    /// Skip longer files, and say so. Default: 1 MiB; at most 16 MiB.
    #[serde(default)]
    max_file_bytes: Option<u64>,
}

/// Finds credentials, keys and tokens in files or in a text. Reports path, line,
/// column, kind and confidence of each, and a masked form, never the secret
/// itself. Files that are binary, too large or cannot be read are skipped and listed
/// with the reason.
#[tool(read_only, idempotent, title = "Scan for secrets", example = r#"{"paths": ["src/main.rs", ".env"]}"#)]
fn scan(ctx: &Context, args: Args) -> Result<Output<Report>> {
    let max_bytes = args.max_file_bytes.unwrap_or(DEFAULT_FILE_BYTES);
    if max_bytes > MOST_FILE_BYTES {
        return Err(Error::invalid_input(format!("`max_file_bytes` is at most {MOST_FILE_BYTES}, not {max_bytes}")));
    }
    let mut reporter = Reporter::new(args.min_confidence.unwrap_or(Confidence::Medium));
    match (args.path, args.paths, args.text) {
        (Some(path), None, None) => scan_files(ctx, &[path], max_bytes, &mut reporter)?,
        (None, Some(paths), None) => scan_files(ctx, &paths, max_bytes, &mut reporter)?,
        (None, None, Some(text)) => reporter.add("text", text.as_bytes()),
        _ => {
            return Err(Error::invalid_input("give exactly one of `path`, `paths` and `text`"));
        }
    }
    let report = reporter.finish();
    let summary = report.summary();
    Ok(Output::new(report).with_summary(summary))
}

fn scan_files(ctx: &Context, paths: &[String], max_bytes: u64, reporter: &mut Reporter) -> Result<()> {
    // Often enough to be seen, seldom enough to cost nothing.
    const FILES_PER_REPORT: usize = 256;
    let directory = ctx.step();
    for (index, path) in paths.iter().enumerate() {
        if index % FILES_PER_REPORT == 0 && index > 0 {
            if ctx.is_cancelled() {
                return Err(Error::new(ErrorKind::Cancelled, "the scan was cancelled"));
            }
            let done = index as f32 / paths.len() as f32;
            ctx.progress_at(&format!("{index} of {} files", paths.len()), done);
        }
        match directory.read(path, max_bytes) {
            Ok(bytes) => reporter.add(path, &bytes),
            // Without the directory nothing can be read: a report that lists
            // every file as skipped would look like a clean one.
            Err(error) if error.code() == Some("no_directory") => return Err(error),
            Err(error) => {
                let why = if error.kind() == ErrorKind::TooLarge { Why::TooLarge } else { Why::Unreadable };
                reporter.skip(path, why, error.message());
            }
        }
    }
    Ok(())
}

cofferdam_sdk::plugin!(id = "cofferdam/secrets-scan", tools = [scan]);

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_sdk::{Fake, Payload, Plugin as _};
    use std::path::Path;

    fn call(args: &serde_json::Value) -> Result<serde_json::Value> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let ctx = Fake::new().step(here).context();
        match Plugin::call(&ctx, "scan", &args.to_string())?.value {
            Payload::Json(value) => Ok(value),
            other => panic!("not JSON: {other:?}"),
        }
    }

    #[test]
    fn this_plugin_finds_nothing_in_its_own_source() {
        let sources: Vec<String> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
            .unwrap()
            .map(|entry| format!("src/{}", entry.unwrap().file_name().to_str().unwrap()))
            .collect();
        let report = call(&serde_json::json!({ "paths": sources, "min_confidence": "low" })).unwrap();
        assert_eq!(report["findings"], serde_json::json!([]));
        assert_eq!(report["files_scanned"], sources.len());
    }

    #[test]
    fn files_that_cannot_be_read_are_listed_with_the_reason() {
        let paths = ["nothing.rs", "../Cargo.toml", "src"];
        let report = call(&serde_json::json!({ "paths": paths })).unwrap();
        assert_eq!((&report["skipped_count"], &report["skipped_unreadable"]), (&3.into(), &3.into()));
        let report = call(&serde_json::json!({ "path": "src/lib.rs", "max_file_bytes": 10 })).unwrap();
        assert_eq!((&report["skipped_too_large"], &report["skipped_unreadable"]), (&1.into(), &0.into()));
        assert_eq!(report["files_scanned"], 0);
    }

    #[test]
    fn without_a_directory_the_scan_fails_and_is_not_clean() {
        let error = Plugin::call(&Context::fake(), "scan", r#"{"path": "a"}"#).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
    }

    #[test]
    fn what_to_scan_has_to_be_said_once() {
        for args in [serde_json::json!({}), serde_json::json!({ "path": "a", "text": "b" })] {
            let error = call(&args).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
    }
}
