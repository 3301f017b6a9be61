//! What plugins are built with: the compilers of each language that there are templates for, by their version.
//!
//! Programs are asked for their version and for nothing else, and none of them may take long.

use super::Check;
use crate::environment;
use cofferdam::core::text::clean_to;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const TARGET: &str = "wasm32-wasip2";
/// A program that takes longer to say its version hangs.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a program that closed its output is looked after.
const LOOK: Duration = Duration::from_millis(5);
/// Most of a version that is read.
const VERSION_BYTES: u64 = 4096;

pub(super) async fn checks() -> Vec<Check> {
    let rustc = environment::variable("RUSTC").unwrap_or_else(|| "rustc".to_owned());
    let cargo = environment::variable("CARGO").unwrap_or_else(|| "cargo".to_owned());
    let lib = ["--print", "target-libdir", "--target", TARGET];
    let npm = Npm::new();
    let (rustc_version, cargo_version, lib, node, npm, componentize_js, python, componentize_py) = tokio::join!(
        asked(&rustc, &["--version"]),
        asked(&cargo, &["--version"]),
        asked(&rustc, &lib),
        asked("node", &["--version"]),
        npm.asked("npm", &["--version"]),
        // Of this folder or of the machine; `--no-install` fetches nothing.
        npm.asked("npx", &["--no-install", "componentize-js", "--version"]),
        asked("python3", &["--version"]),
        asked("componentize-py", &["--version"]),
    );
    vec![
        rust(rustc_version, cargo_version),
        target(lib),
        javascript(node, npm, componentize_js),
        python_of(python, componentize_py),
    ]
}

fn rust(rustc: Option<String>, cargo: Option<String>) -> Check {
    match (rustc, cargo) {
        (Some(rustc), Some(cargo)) => Check::good("rust", format!("{rustc}, {cargo}")),
        (rustc, cargo) => {
            let lacking: Vec<&str> = [("rustc", &rustc), ("cargo", &cargo)]
                .iter()
                .filter(|(_, found)| found.is_none())
                .map(|(name, _)| *name)
                .collect();
            let found = format!("{} cannot be run; plugins in Rust cannot be built", lacking.join(" and "));
            Check::warn("rust", found, "install Rust: https://rustup.rs")
        }
    }
}

fn target(lib: Option<String>) -> Check {
    match lib {
        Some(lib) if Path::new(&lib).is_dir() => Check::good("target", format!("{TARGET} is installed")),
        _ => Check::warn("target", format!("{TARGET} is not installed"), format!("rustup target add {TARGET}")),
    }
}

fn javascript(node: Option<String>, npm: Option<String>, componentize: Option<String>) -> Check {
    const HINT: &str =
        "only needed to write plugins in JavaScript: Node.js, and `npm install @bytecodealliance/componentize-js`";
    match (node, npm, componentize) {
        (Some(node), npm, Some(version)) => {
            let npm = npm.map(|npm| format!(", npm {npm}")).unwrap_or_default();
            Check::good("js", format!("node {node}{npm}, componentize-js {version}"))
        }
        (Some(node), npm, None) => {
            let npm = npm.map_or_else(|| ", no npm".to_owned(), |npm| format!(", npm {npm}"));
            Check::warn("js", format!("node {node}{npm}, no componentize-js here"), HINT)
        }
        (None, ..) => Check::warn("js", "node cannot be run", HINT),
    }
}

fn python_of(python: Option<String>, componentize: Option<String>) -> Check {
    const HINT: &str = "only needed to write plugins in Python: Python, and `pip install componentize-py`";
    match (python, componentize) {
        (Some(python), Some(version)) => Check::good("python", format!("{python}, {version}")),
        (Some(python), None) => Check::warn("python", format!("{python}, no componentize-py"), HINT),
        (None, _) => Check::warn("python", "python3 cannot be run", HINT),
    }
}

/// Where programs of npm may leave what they write even when they are only asked: without a home, that would be here.
struct Npm(Option<tempfile::TempDir>);

impl Npm {
    fn new() -> Self {
        Self(tempfile::tempdir().ok())
    }

    async fn asked(&self, program: &str, args: &[&str]) -> Option<String> {
        let mut command = Command::new(program);
        command.args(args).env("npm_config_cache", self.0.as_ref()?.path());
        answer(command).await
    }
}

async fn asked(program: &str, args: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(args);
    answer(command).await
}

/// The first line of what a program says; none when it is not there, fails or hangs.
async fn answer(mut command: Command) -> Option<String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let output = child.stdout.take()?;
    let deadline = Instant::now() + PATIENCE;
    let reading = tokio::task::spawn_blocking(move || {
        let mut said = Vec::new();
        let _ = output.take(VERSION_BYTES).read_to_end(&mut said);
        said
    });
    let said = tokio::time::timeout(PATIENCE, reading).await.ok().and_then(Result::ok);
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if said.is_some() && Instant::now() < deadline => tokio::time::sleep(LOOK).await,
            _ => {
                // It may end by itself in between.
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
        }
    };
    let said = said.filter(|_| status.is_some_and(|status| status.success()))?;
    let line = String::from_utf8_lossy(&said).lines().next().map(|line| clean_to(line.trim(), 200));
    line.filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[tokio::test]
    async fn a_program_is_asked_and_what_it_says_is_one_line() {
        assert_eq!(asked("sh", &["-c", "printf 'one 1.0\\ntwo'"]).await.as_deref(), Some("one 1.0"));
        assert_eq!(asked("sh", &["-c", "echo no; exit 3"]).await, None);
        assert_eq!(asked("/nowhere/at/all", &[]).await, None);
    }

    #[test]
    fn what_is_lacking_is_named_with_what_to_do() {
        let check = rust(Some("rustc 1".into()), None);
        assert!(check.state == State::Warn && check.found.starts_with("cargo cannot") && check.hint.contains("rustup"));
        assert_eq!(target(Some("/nowhere/at/all".into())).state, State::Warn);
        assert_eq!(target(Some("/".into())).state, State::Good);
        assert!(javascript(Some("v24".into()), None, None).found.contains("no npm"));
        assert_eq!(python_of(Some("Python 3".into()), Some("componentize-py 0.1".into())).state, State::Good);
    }
}
