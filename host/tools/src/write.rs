//! The tool `write`: puts a text into a file, whole or not at all.
//!
//! It must not touch what tools keep about a folder (`.git`, `.cofferdam`): a hook or a journal that a model wrote
//! would be obeyed outside the sandbox.

use crate::native::Scene;
use crate::place::{Place, Root};
use cap_std::fs::{Dir, File, OpenOptions};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::LocalName;
use cofferdam_core::limits;
use cofferdam_core::port::{Effects, ToolDefinition, ToolOutput};
use serde::Deserialize;
use serde_json::json;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Directories that are not written to, at any depth.
const PROTECTED: [&str; 2] = [".git", ".cofferdam"];

/// Whether a later run takes permissions or keys from a file of this name.
fn is_settings(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "cofferdam.toml" || name == "cofferdam.lock" || name == ".env" || name.starts_with(".env.")
}

/// Tells apart the temporary files of one process.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// What `write` says of itself.
pub(crate) fn definition() -> ToolDefinition {
    ToolDefinition {
        name: LocalName::parse("write").expect("`write` follows the grammar of tool names"),
        title: Some("Write a file".to_owned()),
        description:
            "Writes a text file of the working directory, or with `out:` of the run's output directory, where results \
                      for the user belong. Replaces what is there, whole or not at all, and makes missing directories."
                .to_owned(),
        input_schema: Arc::new(json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["path", "content"],
            "properties": {
                "path": { "type": "string", "minLength": 1, "description": "Relative path: `notes/today.md`, `out:report.md`." },
                "content": { "type": "string", "description": "The whole text of the file." },
            },
        })),
        output_schema: Some(Arc::new(json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["path", "bytes"],
            "properties": {
                "path": { "type": "string" },
                "bytes": { "type": "integer", "minimum": 0, "description": "How many were written." },
            },
        }))),
        effects: Effects { destructive: true, idempotent: true, stays_within: true, ..Effects::default() },
        examples: vec![json!({ "path": "out:report.md", "content": "# Report\n" })],
    }
}

/// The arguments of `write`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Args {
    path: String,
    content: String,
}

/// Writes a file.
pub(crate) fn run(scene: &Scene, args: &Args) -> Result<ToolOutput, Fault> {
    let place = Place::parse_file(&args.path)?;
    let bytes = args.content.len();
    if bytes > limits::WRITE_BYTES {
        return Err(Fault::step(
            "too_large",
            format!("`{place}` would have {bytes} bytes; at most {} are written", limits::WRITE_BYTES),
        ));
    }
    let root = place.root.open(&scene.dirs)?;
    refuse_protected(&place, &root)?;
    let (parent, name) = place.split();
    let dir = make_parent(&root, parent).map_err(|error| place.fault("written", &error))?;
    if dir.symlink_metadata(name).is_ok_and(|there| there.is_dir()) {
        return Err(Fault::step("not_a_file", format!("`{place}` is a directory")));
    }
    scene.check()?;
    let _turn = take_turn();
    replace(&dir, name, args.content.as_bytes()).map_err(|error| place.fault("written", &error))?;
    let path = place.to_string();
    Ok(ToolOutput {
        content: Some(format!("wrote {bytes} bytes to `{path}`").into()),
        result: Arc::new(json!({ "path": path, "bytes": bytes })),
    })
}

/// What changes a file waits for its turn: what one call writes between the look and the change of another would be lost.
static TURNS: Mutex<()> = Mutex::new(());

/// Waits for the turn to change a file.
pub(crate) fn take_turn() -> MutexGuard<'static, ()> {
    TURNS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn make_parent(root: &Dir, parent: &str) -> io::Result<Dir> {
    if parent.is_empty() {
        return root.try_clone();
    }
    match root.open_dir(parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    root.create_dir_all(parent)?;
    root.open_dir(parent)
}

/// Refuses a path into a protected directory, also when it leads there through links.
pub(crate) fn refuse_protected(place: &Place, root: &Dir) -> Result<(), Fault> {
    let (_, last) = place.split();
    if is_settings(last) {
        let message = format!("`{place}` would grant permissions or keys to later runs, so tools do not write it");
        return Err(
            Fault::step("path_refused", message).with_hint("write to another name, and let a person put it in place")
        );
    }
    if place.root == Root::Out {
        return Ok(());
    }
    // The nearest directory that exists shows where links lead; what does not exist yet holds none.
    let resolved = Path::new(place.path()).ancestors().skip(1).find_map(|parent| root.canonicalize(parent).ok());
    let parts = [Some(Path::new(place.path())), resolved.as_deref()];
    let name = parts.into_iter().flatten().flat_map(Path::components).find_map(|part| {
        let name = part.as_os_str().to_str()?;
        PROTECTED.into_iter().find(|protected| name.eq_ignore_ascii_case(protected))
    });
    match name {
        Some(name) => {
            Err(Fault::step("path_refused", format!("`{place}` is in `{name}`, which tools do not write to")))
        }
        None => Ok(()),
    }
}

/// Puts a new file in the place of an old one, whose permissions it keeps. Readers see the one or the other. It is
/// not flushed to the disk: a result that a power cut took is written again with its step.
pub(crate) fn replace(dir: &Dir, name: &str, bytes: &[u8]) -> io::Result<()> {
    let (temporary, mut file) = make_temporary(dir)?;
    let written = keep_permissions(dir, name, &file)
        .and_then(|()| file.write_all(bytes))
        .and_then(|()| dir.rename(&temporary, dir, name));
    if written.is_err() {
        // What failed is what the caller must hear; the rest would only say that the disk is in trouble.
        let _ = dir.remove_file(&temporary);
    }
    written
}

fn keep_permissions(dir: &Dir, name: &str, file: &File) -> io::Result<()> {
    match dir.symlink_metadata(name) {
        Ok(there) if there.is_file() => file.set_permissions(there.permissions()),
        _ => Ok(()),
    }
}

fn make_temporary(dir: &Dir) -> io::Result<(String, File)> {
    const TRIES: usize = 16;
    let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
    for _ in 0..TRIES {
        let name = format!(".cofferdam-write-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        match dir.open_with(&name, OpenOptions::new().write(true).create_new(true)) {
            Ok(file) => return Ok((name, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::tests::{Folder, run as call};
    use serde_json::Value;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    fn write(folder: &Folder, path: &str, content: &str) -> Result<Value, Fault> {
        call(folder, run, json!({ "path": path, "content": content }))
    }

    #[test]
    fn a_reader_sees_the_old_file_or_the_new_one() {
        let folder = Folder::new();
        let texts = ["a".repeat(200_000), "b".repeat(100_000)];
        write(&folder, "f", &texts[0]).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| (0..100).for_each(|turn| drop(write(&folder, "f", &texts[turn % 2]).unwrap())));
            while !writer.is_finished() {
                let read = fs::read_to_string(folder.path("step/f")).unwrap();
                assert!(texts.contains(&read), "{} bytes", read.len());
            }
        });
        assert_eq!(fs::read_dir(folder.path("step")).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_replaced_file_keeps_its_permissions() {
        let folder = Folder::new();
        folder.file("run.sh", "old");
        fs::set_permissions(folder.path("step/run.sh"), fs::Permissions::from_mode(0o750)).unwrap();
        write(&folder, "run.sh", "new").unwrap();
        assert_eq!(fs::metadata(folder.path("step/run.sh")).unwrap().permissions().mode() & 0o777, 0o750);
        assert_eq!(fs::read_to_string(folder.path("step/run.sh")).unwrap(), "new");
    }

    #[test]
    fn what_tools_keep_about_a_folder_is_not_written() {
        let folder = Folder::new();
        folder.file(".git/hooks/sample", "");
        folder.link(".git/hooks", "hooks");
        for path in [
            ".git/config",
            ".GIT/config",
            "sub/.git/hooks/x",
            ".cofferdam/runs.db",
            "hooks/pre-commit",
            "hooks/new/deep",
        ] {
            assert_eq!(write(&folder, path, "x").unwrap_err().code, "path_refused", "{path}");
        }
        assert_eq!(fs::read_dir(folder.path("step/.git/hooks")).unwrap().count(), 1);
        folder.file("sub/x", "");
        folder.link("sub", "linked");
        for path in [
            "cofferdam.toml",
            "sub/cofferdam.toml",
            "linked/.env",
            ".env",
            ".ENV.local",
            "new/.env.test",
            "out:cofferdam.toml",
        ] {
            let fault = write(&folder, path, "x").unwrap_err();
            assert_eq!(fault.code, "path_refused", "{path}");
            assert!(fault.message.contains("later runs") && fault.hint.is_some(), "{path}");
        }
        for path in [".gitignore", "out:.git/x", "git/x", ".environment", "my.env", ".cofferdam.toml"] {
            assert!(write(&folder, path, "x").is_ok(), "{path}");
        }
    }

    #[test]
    fn places_that_are_no_files_are_refused() {
        let folder = Folder::new();
        folder.file("file", "x");
        folder.file("dir/a", "x");
        for (path, code) in [
            ("dir", "not_a_file"),
            ("dir/", "path_refused"),
            (".", "path_refused"),
            ("out:", "path_refused"),
            ("file/below", "io"),
        ] {
            let fault = write(&folder, path, "x").unwrap_err();
            assert_eq!(fault.code, code, "{path}: {fault}");
        }
        assert_eq!(write(&folder, "big", &"x".repeat(limits::WRITE_BYTES + 1)).unwrap_err().code, "too_large");
        assert_eq!(
            write(&folder, "neu/größe/\u{1f980}.md", "").unwrap(),
            json!({ "path": "neu/größe/\u{1f980}.md", "bytes": 0 })
        );
    }
}
