//! `plugin test`: cases of plugins. It finds the files, has components built, and shows what the library says.

use super::build;
use crate::args::{PluginTestArgs, TestFormat};
use crate::command::test::{Reporter, machine};
use crate::exit::Exit;
use crate::failure::Failure;
use cofferdam::core::diagnostic::Diagnostics;
use cofferdam::testing::{Machine, PluginTests, Subject, Verdict};
use std::path::{Path, PathBuf};

/// How the name of a test file ends.
const ENDINGS: [&str; 3] = [".plugin-test.yaml", ".plugin-test.yml", ".plugin-test.json"];

pub(super) async fn run(args: &PluginTestArgs) -> anyhow::Result<Exit> {
    if args.record {
        return super::record::run(args).await;
    }
    let format = if args.json { TestFormat::Json } else { TestFormat::Text };
    run_files(&found(&args.paths)?, args.filter.as_deref(), format, &machine()).await
}

/// Runs the cases of these files whose name has the text of the filter.
pub(super) async fn run_files(
    files: &[PathBuf],
    filter: Option<&str>,
    format: TestFormat,
    machine: &Machine,
) -> anyhow::Result<Exit> {
    let tests = load(files)?;
    let wants = |name: &str| filter.is_none_or(|filter| name.contains(filter));
    let wanted = tests.iter().flat_map(PluginTests::cases).filter(|case| wants(case.name())).count();
    if wanted == 0 {
        let filter = filter.unwrap_or_default();
        return Err(Failure::usage(format!("no case has `{filter}` in its name")).into());
    }
    let mut reporter = Reporter::new(format);
    let mut verdicts: Vec<Verdict> = Vec::with_capacity(wanted);
    for file in &tests {
        let cases: Vec<_> = file.cases().iter().filter(|case| wants(case.name())).collect();
        if cases.is_empty() {
            continue;
        }
        let source = component(file)?;
        for case in cases {
            let verdict = case.run(&source, machine).await;
            reporter.tell(&verdict)?;
            verdicts.push(verdict);
        }
    }
    reporter.finish(&verdicts, wanted)?;
    Ok(if verdicts.iter().all(Verdict::passed) { Exit::Done } else { Exit::Failed })
}

/// The component that a file is about, built first if it says so.
pub(super) fn component(file: &PluginTests) -> Result<String, Failure> {
    match file.subject() {
        Subject::Source(source) => Ok(source.clone()),
        Subject::Build(folder) => Ok(build::build(folder)?.display().to_string()),
    }
}

/// All files, or everything that is wrong with them.
fn load(files: &[PathBuf]) -> Result<Vec<PluginTests>, Failure> {
    let (mut tests, mut broken) = (Vec::new(), Diagnostics::default());
    for path in files {
        match PluginTests::load(path) {
            Ok(file) => tests.push(file),
            Err(cofferdam::Error::Invalid(findings)) => broken.extend(findings),
            Err(other) => return Err(other.into()),
        }
    }
    if broken.is_empty() { Ok(tests) } else { Err(Failure::findings(Exit::Invalid, broken)) }
}

/// The test files of a folder, perhaps none.
pub(super) fn below(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    crate::command::test::collect(folder, 0, &ENDINGS, &mut files)
        .map_err(|error| Failure::usage(format!("the test files cannot be looked for: {error}")))?;
    files.sort();
    Ok(files)
}

/// The files that were named, and the test files of the folders that were.
pub(super) fn found(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let here = [PathBuf::new()];
    let mut files = Vec::new();
    for path in if paths.is_empty() { &here } else { paths } {
        if path.as_os_str().is_empty() || path.is_dir() {
            files.extend(below(Path::new(path))?);
        } else {
            files.push(path.clone());
        }
    }
    files.sort();
    if files.is_empty() {
        let hint = "their names end in `.plugin-test.yaml`; `cofferdam plugin new` writes one";
        return Err(Failure::usage("there are no test files of plugins here").with_hint(hint));
    }
    Ok(files)
}
