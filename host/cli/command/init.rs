//! `init`: a small workflow that runs at once, offline. Nothing is overwritten.

use super::schema;
use crate::args::InitArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::project::SETTINGS_FILE;
use crate::terminal;
use crate::ui::paint;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

/// The document's name.
const DOCUMENT: &str = "hello.yaml";

/// The schema's name; the first line of the document points to it, so that editors work offline.
const SCHEMA: &str = "cofferdam.schema.json";

pub(super) fn run(args: &InitArgs) -> anyhow::Result<Exit> {
    let dir = &args.dir;
    let schema = schema::text()?;
    let files = [
        (DOCUMENT, include_str!("init/hello.yaml")),
        (SETTINGS_FILE, include_str!("init/cofferdam.toml")),
        (SCHEMA, schema.as_str()),
    ];
    if let Some((name, _)) = files.iter().find(|(name, _)| dir.join(name).symlink_metadata().is_ok()) {
        return Err(Failure::usage(format!("`{}` exists, and nothing is overwritten", dir.join(name).display()))
            .with_hint("name another directory: `cofferdam init my-project`")
            .into());
    }
    std::fs::create_dir_all(dir).map_err(|error| refused(dir, &error))?;
    for (name, text) in files {
        write_new(&dir.join(name), text)?;
        terminal::tell(&format!("{} {}", paint::good("wrote"), dir.join(name).display()));
    }
    let folder = if dir == Path::new(".") { String::new() } else { format!("cd {} && ", dir.display()) };
    terminal::tell(&format!("\nrun it:  {folder}cofferdam run {DOCUMENT}"));
    Ok(Exit::Done)
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| refused(path, &error))
}

fn refused(path: &Path, error: &std::io::Error) -> Failure {
    let reason = match error.kind() {
        ErrorKind::AlreadyExists => "it exists".to_owned(),
        _ => error.to_string(),
    };
    Failure::usage(format!("`{}` cannot be written: {reason}", path.display()))
}

#[cfg(test)]
mod tests {
    use crate::project::Project;
    use cofferdam::Workflow;

    #[test]
    fn the_document_is_valid_and_points_to_its_schema() {
        let text = include_str!("init/hello.yaml");
        assert!(text.starts_with(&format!("# yaml-language-server: $schema={}\n", super::SCHEMA)));
        assert!(Workflow::parse(text, ".").unwrap().warnings().is_empty());
    }

    #[test]
    fn the_settings_are_valid() {
        let folder = std::env::temp_dir().join(format!("cofferdam-init-{}", std::process::id()));
        let args = crate::args::InitArgs { dir: folder.clone() };
        assert_eq!(super::run(&args).unwrap(), crate::exit::Exit::Done);
        assert!(super::run(&args).is_err(), "nothing is overwritten");
        let project = Project::find(Some(&folder)).unwrap();
        assert!(crate::settings::File::of_project(&project).unwrap().is_some());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
