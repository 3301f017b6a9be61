//! `plugin doctor`: whether this machine can build and run plugins, and whether those of a project would run.
//!
//! It fetches nothing, runs no tool and changes nothing but the cache. It must not mend what it finds.

mod machine;
mod project;
mod toolchain;

use crate::args::PluginDoctorArgs;
use crate::exit::Exit;
use crate::session::Session;
use crate::terminal;
use crate::ui::paint;
use serde_json::json;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Good,
    /// Something does not work that not everybody needs.
    Warn,
    /// Something must be mended.
    Bad,
}

/// One line of the report.
#[derive(Debug)]
struct Check {
    name: String,
    state: State,
    found: String,
    /// What to do about it; empty when there is nothing to do.
    hint: String,
}

impl Check {
    fn good(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Good, found: found.into(), hint: String::new() }
    }

    fn warn(name: impl Into<String>, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { state: State::Warn, hint: hint.into(), ..Self::good(name, found) }
    }

    fn bad(name: impl Into<String>, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { state: State::Bad, hint: hint.into(), ..Self::good(name, found) }
    }
}

pub(super) async fn run(session: &Session, args: &PluginDoctorArgs) -> anyhow::Result<Exit> {
    // What was typed wrong is said before compilers are asked for their version.
    let subjects = project::subjects(session, &args.sources)?;
    let mut checks = toolchain::checks().await;
    checks.extend(machine::checks().await);
    checks.extend(project::checks(session, subjects).await?);
    let width = checks.iter().map(|check| check.name.chars().count()).max().unwrap_or_default();
    for check in &checks {
        terminal::print(&if args.json { as_json(check) } else { as_text(check, width) })?;
    }
    let is_bad = checks.iter().any(|check| check.state == State::Bad);
    Ok(if is_bad { Exit::Failed } else { Exit::Done })
}

fn as_text(check: &Check, width: usize) -> String {
    let mark = match check.state {
        State::Good => paint::good("ok  "),
        State::Warn => paint::warn("warn"),
        State::Bad => paint::bad("FAIL"),
    };
    let hint = if check.hint.is_empty() { String::new() } else { format!("\nhint: {}", check.hint) };
    let indent = format!("\n{}", " ".repeat(width + 7));
    let found = format!("{}{hint}", check.found.trim_end()).replace('\n', &indent);
    format!("{mark}  {:<width$} {found}\n", check.name)
}

fn as_json(check: &Check) -> String {
    let state = match check.state {
        State::Good => "ok",
        State::Warn => "warn",
        State::Bad => "fail",
    };
    let mut line = json!({ "check": check.name, "state": state, "found": check.found });
    if let Some(map) = line.as_object_mut().filter(|_| !check.hint.is_empty()) {
        map.insert("hint".to_owned(), check.hint.as_str().into());
    }
    format!("{line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_one_line_of_json_and_its_hint_stands_below_it() {
        let check = Check::bad("cache", "x", "y");
        assert_eq!(as_json(&check), "{\"check\":\"cache\",\"state\":\"fail\",\"found\":\"x\",\"hint\":\"y\"}\n");
        assert!(as_text(&check, 5).ends_with("cache x\n            hint: y\n"), "{}", as_text(&check, 5));
        assert!(!as_json(&Check::good("cache", "x")).contains("hint"));
    }
}
