//! `init`: a small workflow that runs at once, offline. Nothing is overwritten.

use super::schema;
use crate::args::{InitArgs, Template};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::project::SETTINGS_FILE;
use crate::terminal;
use crate::ui::paint;
use crate::ui::table::{self, Wide};
use clap::ValueEnum as _;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

/// The schema's name; the first line of each document points to it, so that editors work offline.
const SCHEMA: &str = "cofferdam.schema.json";

/// A document's name and text.
fn document(template: Template) -> (&'static str, &'static str) {
    match template {
        Template::Hello => ("hello.yaml", include_str!("init/hello.yaml")),
        Template::Chain => ("chain.yaml", include_str!("init/chain.yaml")),
        Template::Loop => ("loop.yaml", include_str!("init/loop.yaml")),
        Template::ForEach => ("for-each.yaml", include_str!("init/for-each.yaml")),
        Template::Tools => ("tools.yaml", include_str!("init/tools.yaml")),
    }
}

pub(super) fn run(args: &InitArgs) -> anyhow::Result<Exit> {
    if args.list {
        return list();
    }
    let dir = &args.dir;
    let schema = schema::text()?;
    let (name, text) = document(args.template);
    let settings = (SETTINGS_FILE, include_str!("init/cofferdam.toml"));
    if dir.join(name).symlink_metadata().is_ok() {
        return Err(Failure::usage(format!(
            "`{}` exists, and nothing is overwritten",
            terminal::name(&dir.join(name))
        ))
        .with_hint("name another directory, `cofferdam init my-project`, or another `--template`")
        .into());
    }
    std::fs::create_dir_all(dir).map_err(|error| refused(dir, &error))?;
    write_new(&dir.join(name), text)?;
    // A second document beside a first shares what is there.
    for (name, text) in [settings, (SCHEMA, schema.as_str())] {
        if dir.join(name).symlink_metadata().is_err() {
            write_new(&dir.join(name), text)?;
        }
    }
    let folder = if dir == Path::new(".") { String::new() } else { format!("cd {} && ", terminal::name(dir)) };
    terminal::tell(&format!("\nrun it:  {folder}cofferdam run {name}"));
    Ok(Exit::Done)
}

fn list() -> anyhow::Result<Exit> {
    let mut rows = table::with_head(Wide::Break, &["TEMPLATE", "DESCRIPTION"]);
    for template in Template::value_variants() {
        let Some(value) = template.to_possible_value() else { continue };
        let about = value.get_help().map(ToString::to_string).unwrap_or_default();
        rows.add_row([value.get_name().to_owned(), about]);
    }
    terminal::print(&table::render(&rows))?;
    Ok(Exit::Done)
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| refused(path, &error))?;
    terminal::tell(&format!("{} {}", paint::good("wrote"), terminal::name(path)));
    Ok(())
}

fn refused(path: &Path, error: &std::io::Error) -> Failure {
    let reason = match error.kind() {
        ErrorKind::AlreadyExists => "it exists".to_owned(),
        _ => error.to_string(),
    };
    Failure::usage(format!("`{}` cannot be written: {reason}", terminal::name(path)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Project;
    use cofferdam::Workflow;

    #[test]
    fn every_document_is_valid_and_points_to_its_schema() {
        for template in Template::value_variants() {
            let (name, text) = document(*template);
            assert!(text.starts_with(&format!("# yaml-language-server: $schema={SCHEMA}\n")), "{name}");
            let workflow = Workflow::parse(text, ".").unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(workflow.warnings().is_empty(), "{name}");
            assert_eq!(format!("{}.yaml", workflow.name()), name);
        }
    }

    #[test]
    fn the_settings_are_valid() {
        let folder = std::env::temp_dir().join(format!("cofferdam-init-{}", std::process::id()));
        let args = |template| InitArgs { dir: folder.clone(), template, list: false };
        assert_eq!(run(&args(Template::Hello)).unwrap(), Exit::Done);
        assert!(run(&args(Template::Hello)).is_err(), "nothing is overwritten");
        assert_eq!(run(&args(Template::Chain)).unwrap(), Exit::Done, "a second document joins the first");
        let project = Project::find(Some(&folder)).unwrap();
        assert!(crate::settings::File::of_project(&project).unwrap().is_some());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
