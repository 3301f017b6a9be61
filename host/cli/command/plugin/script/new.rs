//! `plugin new` for JavaScript and Python: a folder that builds, runs and tests as it stands. Nothing is overwritten.

use super::super::new::{name, refuse_existing, write};
use super::{Language, javascript, python, sdk};
use crate::args::{KindArg, NewArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal;
use crate::ui::paint;
use clap::ValueEnum as _;

type Files = &'static [(&'static str, &'static str)];

const JAVASCRIPT: Files = &[
    ("package.json", include_str!("../new/js/package.json.txt")),
    ("plugin.js", include_str!("../new/js/plugin.js")),
    ("README.md", include_str!("../new/js/README.md")),
    (".gitignore", "/dist\n/node_modules\n/.cofferdam\n"),
];

const PYTHON: Files = &[
    ("pyproject.toml", include_str!("../new/python/pyproject.toml.txt")),
    ("requirements.txt", include_str!("../new/python/requirements.txt")),
    ("src/plugin.py", include_str!("../new/python/plugin.py")),
    ("README.md", include_str!("../new/python/README.md")),
    (".gitignore", "/dist\n/.venv\n/.cofferdam\n__pycache__\n"),
];

/// What both have: the tool is the same.
const BOTH: Files = &[
    ("tool.plugin-test.yaml", include_str!("../new/tool.plugin-test.yaml.txt")),
    ("workflow.yaml", include_str!("../new/script.yaml")),
];

pub(in super::super) fn run(args: &NewArgs, language: Language) -> anyhow::Result<Exit> {
    refuse_kind(args.kind, language)?;
    let (dir, name) = (&args.path, name(&args.path)?);
    refuse_existing(dir)?;
    let filled = |text: &str| {
        let text = text.replace("__NAME__", &name).replace("__JS__", javascript::VERSION);
        text.replace("__PY__", python::VERSION)
    };
    let own = if language == Language::JavaScript { JAVASCRIPT } else { PYTHON };
    for (path, text) in own.iter().chain(BOTH) {
        write(&dir.join(path), &filled(text))?;
        terminal::tell(&format!("{} {}", paint::good("wrote"), terminal::name(&dir.join(path))));
    }
    for (path, text) in sdk::files(language) {
        write(&dir.join(sdk::FOLDER).join(path), text)?;
    }
    let shown = terminal::name(&dir.join(sdk::FOLDER));
    terminal::tell(&format!("{} {shown} ({} files)", paint::good("wrote"), sdk::files(language).len()));
    terminal::tell(&format!(
        "\nnext:\n  cd {}\n  cofferdam plugin build --install\n  cofferdam plugin test\n  cofferdam plugin call dist/{name}.wasm \
         count '{{\"text\": \"two words\"}}'\n  cofferdam run workflow.yaml",
        terminal::name(dir)
    ));
    Ok(Exit::Done)
}

/// Only tools: what stays up would pay for its interpreter all the time, and what is pure has not the memory for one.
fn refuse_kind(kind: KindArg, language: Language) -> Result<(), Failure> {
    if kind == KindArg::Tool {
        return Ok(());
    }
    let kind = kind.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let message = format!("there is no template for a {kind} in {}; the kind there is: tool", language.name());
    Err(Failure::usage(message).with_hint(format!("leave `--lang` out: `--kind {kind}` is written in Rust")))
}
