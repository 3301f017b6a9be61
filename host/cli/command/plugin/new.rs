//! `plugin new`: the crate of a plugin that builds, runs and tests as it stands. Nothing is overwritten.

use super::{script, sdk};
use crate::args::{KindArg, LanguageArg, NewArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal;
use crate::ui::paint;
use clap::ValueEnum as _;
use cofferdam::core::id::Alias;
use std::io::Write as _;
use std::path::Path;

/// Where the SDK is unpacked.
const SDK: &str = ".cofferdam-sdk";

/// What is written for a kind, besides what all have.
struct Template {
    /// `src/lib.rs`.
    code: &'static str,
    /// Further files of the crate.
    files: &'static [(&'static str, &'static str)],
    /// The lines that use it, and what stands before them in the README.
    usage: &'static [&'static str],
    remark: &'static str,
}

/// A document that runs without a model, for those that only watch it.
const WATCHED: &str = "name: try-it
plugins: { text: builtin:text }
steps:
  - { id: words, tool: text.words, args: { text: two words } }
";

fn template(kind: KindArg) -> Template {
    match kind {
        KindArg::Tool => Template {
            code: include_str!("new/tool.rs"),
            files: &[
                ("workflow.yaml", include_str!("new/tool.yaml")),
                ("tool.plugin-test.yaml", include_str!("new/tool.plugin-test.yaml.txt")),
            ],
            usage: &["plugin test", "plugin call __COMPONENT__ count '{\"text\": \"two words\"}'", "run workflow.yaml"],
            remark: "",
        },
        KindArg::Transform => Template {
            code: include_str!("new/transform.rs"),
            files: &[("workflow.yaml", include_str!("new/transform.yaml"))],
            usage: &["run workflow.yaml"],
            remark: "",
        },
        KindArg::Condition => Template {
            code: include_str!("new/condition.rs"),
            files: &[("workflow.yaml", include_str!("new/condition.yaml"))],
            usage: &["run workflow.yaml", "run workflow.yaml --input wanted=false"],
            remark: "",
        },
        KindArg::Sink => Template {
            code: include_str!("new/sink.rs"),
            files: &[("workflow.yaml", WATCHED)],
            usage: &["run workflow.yaml --sink plugin:./__COMPONENT__"],
            remark: "",
        },
        KindArg::Storage => Template {
            code: include_str!("new/storage.rs"),
            files: &[("workflow.yaml", WATCHED)],
            usage: &["run workflow.yaml --storage plugin:./__COMPONENT__"],
            remark: "Until its methods are written it answers every call with `unsupported`, and no run can begin.\n",
        },
        KindArg::Model => Template {
            code: include_str!("new/model.rs"),
            files: &[],
            usage: &["plugin inspect __COMPONENT__"],
            remark: "Documents cannot name models of plugins yet; a program that embeds Cofferdam uses `LoadedPlugin::model`.\n",
        },
        KindArg::Recall => Template {
            code: include_str!("new/recall.rs"),
            files: &[],
            usage: &["plugin inspect __COMPONENT__ --grant __NAME__:kv=project"],
            remark: "A document names it as `memory: { recall: { provider: ALIAS } }`; a program that embeds Cofferdam may use `LoadedPlugin::recall`.\n",
        },
    }
}

pub(super) fn run(args: &NewArgs) -> anyhow::Result<Exit> {
    match args.lang {
        LanguageArg::Js => return script::new(args, script::Language::JavaScript),
        LanguageArg::Python => return script::new(args, script::Language::Python),
        LanguageArg::Rust => {}
    }
    let (dir, name) = (&args.path, name(&args.path)?);
    refuse_existing(dir)?;
    let template = template(args.kind);
    let component = format!("target/wasm32-wasip2/release/{}.wasm", name.replace('-', "_"));
    let filled = |text: &str| {
        let text = text.replace("__NAME__", &name).replace("__CRATE__", &name.replace('-', "_"));
        text.replace("__COMPONENT__", &component).replace("__VERSION__", env!("CARGO_PKG_VERSION"))
    };
    let kind = args.kind.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let usage: Vec<String> = template.usage.iter().map(|line| filled(&format!("cofferdam {line}"))).collect();
    let readme = readme(&name, &kind, &usage, template.remark);
    let own = [
        ("Cargo.toml", include_str!("new/Cargo.toml.txt")),
        ("src/lib.rs", template.code),
        ("README.md", readme.as_str()),
        (".gitignore", "/target\n/.cofferdam\n"),
    ];
    for (path, text) in own.iter().chain(template.files) {
        write(&dir.join(path), &filled(text))?;
        terminal::tell(&format!("{} {}", paint::good("wrote"), terminal::name(&dir.join(path))));
    }
    for (path, text) in sdk::MANIFESTS {
        write(&dir.join(SDK).join(path), &filled(text))?;
    }
    for (path, text) in sdk::FILES {
        write(&dir.join(SDK).join(path), text)?;
    }
    let shown = terminal::name(&dir.join(SDK));
    terminal::tell(&format!("{} {shown} ({} files)", paint::good("wrote"), sdk::FILES.len() + sdk::MANIFESTS.len()));
    terminal::tell(&format!("\nnext:\n  cd {}\n  cofferdam plugin build", terminal::name(dir)));
    for line in usage {
        terminal::tell(&format!("  {line}"));
    }
    Ok(Exit::Done)
}

pub(super) fn refuse_existing(dir: &Path) -> Result<(), Failure> {
    if dir.symlink_metadata().is_err() {
        return Ok(());
    }
    let message = format!("`{}` exists, and nothing is overwritten", terminal::name(dir));
    Err(Failure::usage(message).with_hint("give it another name, or take it away"))
}

/// The plugin's name: the last part of the path. What is a name in grants is one of a crate and of a plugin as well.
pub(super) fn name(path: &Path) -> Result<String, Failure> {
    let last = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match Alias::parse(&last) {
        Ok(name) if name.as_str() == "cofferdam-sdk" => {
            let failure = Failure::usage("`cofferdam-sdk` is the name of the crate that plugins depend on");
            Err(failure.with_hint("give the plugin another name"))
        }
        Ok(name) => Ok(name.to_string()),
        Err(_) => {
            let message = format!("`{}` is no name for a plugin", terminal::name(Path::new(&last)));
            let hint = format!("a name matches {}: `word-count`", Alias::GRAMMAR);
            Err(Failure::usage(message).with_hint(hint))
        }
    }
}

fn readme(name: &str, kind: &str, usage: &[String], remark: &str) -> String {
    let usage = usage.join("\n");
    format!(
        "# {name}\n\nA plugin for Cofferdam: a {kind}.\n\n```sh\ncargo test\ncofferdam plugin build\n{usage}\n```\n\n{remark}\n\
         `{SDK}` is the SDK as the program that wrote this brought it along; keep it in version control.\n"
    )
    .replace("\n\n\n", "\n\n")
}

pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    let file = made.and_then(|()| std::fs::OpenOptions::new().write(true).create_new(true).open(path));
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| Failure::usage(format!("`{}` cannot be written: {error}", terminal::name(path))))
}
