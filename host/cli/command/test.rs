//! `test`: cases of workflows, without a model. It finds the files and shows what the library says of their cases.

mod junit;
mod report;
mod stopped;

use crate::args::{TestArgs, TestFormat};
use crate::environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::COMPILE_CHILD;
use crate::terminal;
use crate::ui::finding;
use cofferdam::core::diagnostic::Diagnostics;
use cofferdam::plugin::CompileChild;
use cofferdam::testing::{self, Case, Machine, TestFile, Verdict};
pub(super) use report::Reporter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use stopped::Stopped;

/// How the name of a test file ends.
const ENDINGS: [&str; 3] = [".test.yaml", ".test.yml", ".test.json"];

/// The mark of folders whose content can be made again: <https://bford.info/cachedir>.
const CACHE_MARK: &str = "CACHEDIR.TAG";

/// Folders that are looked into, one below the other.
const DEPTH: usize = 16;

pub(super) fn run(args: &TestArgs) -> anyhow::Result<Exit> {
    let files = if args.files.is_empty() { found()? } else { args.files.clone() };
    let (cases, broken) = load(&files)?;
    if !broken.is_empty() {
        return Err(Failure::findings(Exit::Invalid, broken).into());
    }
    let wanted: Vec<Arc<Case>> = cases.iter().filter(|case| args.wants(case)).cloned().collect();
    if wanted.is_empty() {
        let filter = args.filter.as_deref().unwrap_or_default();
        let message = format!("none of {} cases has `{filter}` in its name", cases.len());
        return Err(Failure::usage(message).into());
    }
    let mut reporter = Reporter::new(args.format());
    let mut verdicts: Vec<Verdict> = Vec::with_capacity(wanted.len());
    let mut outcome = Ok(());
    let stopped = Stopped::listen();
    testing::run_until(&wanted, &machine(), args.jobs(), stopped.flag(), |verdict| {
        if outcome.is_ok() {
            outcome = reporter.tell(&verdict);
        }
        verdicts.push(verdict);
    });
    outcome?;
    let signal = stopped.by();
    reporter.finish(&verdicts, wanted.len())?;
    if let Some(path) = &args.junit {
        std::fs::write(path, junit::render(&verdicts))
            .map_err(|error| Failure::usage(format!("`{}` cannot be written: {error}", terminal::name(path))))?;
    }
    if let Some(signal) = signal {
        return Ok(signal.exit());
    }
    Ok(if verdicts.iter().all(Verdict::passed) { Exit::Done } else { Exit::Failed })
}

/// The cases of all files, and everything that is wrong with the files.
fn load(files: &[PathBuf]) -> Result<(Vec<Arc<Case>>, Diagnostics), Failure> {
    let (mut cases, mut broken) = (Vec::new(), Diagnostics::default());
    for path in files {
        match TestFile::load(path) {
            Ok(file) => {
                if !file.warnings().is_empty() {
                    terminal::tell(&finding::render(file.warnings()));
                }
                cases.extend(file.cases().iter().cloned());
            }
            Err(cofferdam::Error::Invalid(findings)) => broken.extend(findings),
            Err(other) => return Err(other.into()),
        }
    }
    Ok((cases, broken))
}

pub(super) fn machine() -> Machine {
    let program = std::env::current_exe().ok();
    Machine {
        user_dirs: environment::user_dirs(),
        compile_child: program.map(|program| CompileChild { program, args: vec![COMPILE_CHILD.into()] }),
        tap: None,
    }
}

/// Every test file of this folder and of those below it. Hidden folders and links are left out.
fn found() -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    collect(Path::new(""), 0, &ENDINGS, &mut files)
        .map_err(|error| Failure::usage(format!("the test files cannot be looked for: {error}")))?;
    files.sort();
    if files.is_empty() {
        let hint = "their names end in `.test.yaml`; name one, or go to the folder where they are";
        return Err(Failure::usage("there are no test files here").with_hint(hint));
    }
    Ok(files)
}

/// Adds the files of a folder, and of those below it, whose names end in one of these. What can be made again, as cargo's
/// `target` is, says so by a file and is left out.
pub(super) fn collect(folder: &Path, depth: usize, endings: &[&str], files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    for entry in std::fs::read_dir(here)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        let path = folder.join(entry.file_name());
        if kind.is_dir() && !name.starts_with('.') && depth < DEPTH && !path.join(CACHE_MARK).exists() {
            collect(&path, depth + 1, endings, files)?;
        } else if kind.is_file() && endings.iter().any(|ending| name.ends_with(ending)) {
            files.push(path);
        }
    }
    Ok(())
}

impl TestArgs {
    fn wants(&self, case: &Case) -> bool {
        let filter = self.filter.as_deref().unwrap_or_default();
        case.name().contains(filter) || case.file().contains(filter)
    }

    fn format(&self) -> TestFormat {
        if self.json { TestFormat::Json } else { self.format }
    }

    fn jobs(&self) -> usize {
        // Each case has a thread of its own, and mostly computes.
        self.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from).min(16))
    }
}
