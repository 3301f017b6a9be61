//! `plugin test --record`: writes what comes of cases that expect nothing into their file. It must not change a case
//! that expects something, and writes a file as a whole or not at all.

use super::test::{component, found};
use crate::args::PluginTestArgs;
use crate::command::test::machine;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal;
use crate::ui::paint;
use cofferdam::core::diagnostic::Diagnostics;
use cofferdam::core::text::escaped;
use cofferdam::replace_through;
use cofferdam::testing::PluginTests;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(super) async fn run(args: &PluginTestArgs) -> anyhow::Result<Exit> {
    let files = load(&found(&args.paths)?)?;
    let (mut recorded, mut failed) = (0, 0);
    for (path, tests) in files {
        let filter = args.filter.as_deref().unwrap_or_default();
        let open = tests.cases().iter().filter(|case| !case.expects() && case.name().contains(filter));
        let mut expectations = BTreeMap::new();
        let mut source = None;
        for case in open {
            let source = match &source {
                Some(source) => source,
                None => source.insert(component(&tests)?),
            };
            match case.observed(source, &machine()).await {
                Ok(expect) => _ = expectations.insert(case.name().to_owned(), expect),
                Err(error) => {
                    failed += 1;
                    terminal::tell(&format!("{}: {}: {error}", paint::bad("error"), terminal::name(&path)));
                }
            }
        }
        if expectations.is_empty() {
            continue;
        }
        let text = tests.recorded(&expectations).map_err(|error| {
            Failure::failed(format!("{}: {error}", terminal::name(&path)))
                .with_hint("nothing was written; a case that is a plain block or one pair of braces can be recorded")
        })?;
        write(&path, &text)?;
        for name in expectations.keys() {
            recorded += 1;
            terminal::print(&format!("recorded {} ({})\n", escaped(name), terminal::name(&path)))?;
        }
    }
    let hint = if recorded == 0 && failed == 0 { "; a case without `expect` is recorded" } else { "" };
    terminal::tell(&format!("{recorded} recorded{hint}; read what was written before you rely on it"));
    Ok(if failed == 0 { Exit::Done } else { Exit::Failed })
}

/// All files, or everything that is wrong with them.
fn load(paths: &[PathBuf]) -> Result<Vec<(PathBuf, PluginTests)>, Failure> {
    let (mut files, mut broken) = (Vec::new(), Diagnostics::default());
    for path in paths {
        match PluginTests::load_to_record(path) {
            Ok(file) => files.push((path.clone(), file)),
            Err(cofferdam::Error::Invalid(findings)) => broken.extend(findings),
            Err(other) => return Err(other.into()),
        }
    }
    if broken.is_empty() { Ok(files) } else { Err(Failure::findings(Exit::Invalid, broken)) }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error| Failure::usage(format!("`{}` cannot be written: {error}", terminal::name(path)));
    replace_through(path, text).map_err(failed)
}
