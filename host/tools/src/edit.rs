//! The tool `edit`: replaces a piece of text in a file by another.
//!
//! It must not guess: a piece that is not there, or there more than once, changes nothing.

use crate::native::Scene;
use crate::place::Place;
use crate::{read, write};
use cap_std::fs::Dir;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::LocalName;
use cofferdam_core::limits;
use cofferdam_core::port::{Effects, ToolDefinition, ToolOutput};
use serde::Deserialize;
use serde_json::json;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

/// How many lines of an ambiguous piece are named.
const NAMED_LINES: usize = 5;

/// What `edit` says of itself.
pub(crate) fn definition() -> ToolDefinition {
    ToolDefinition {
        name: LocalName::parse("edit").expect("`edit` follows the grammar of tool names"),
        title: Some("Change a file".to_owned()),
        description: "Replaces a piece of a text file of the working directory, or with `out:` of the run's output directory, by another. \
                      The piece must be there exactly as given, spaces and line ends included, and only once, unless `all` is true."
            .to_owned(),
        input_schema: Arc::new(json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["path", "old", "new"],
            "properties": {
                "path": { "type": "string", "minLength": 1, "description": "Relative path: `src/main.rs`, `out:report.md`." },
                "old": { "type": "string", "minLength": 1, "description": "The piece that is replaced, with enough around it to be the only one." },
                "new": { "type": "string", "description": "What takes its place; empty removes it." },
                "all": { "type": "boolean", "default": false, "description": "Replace it wherever it is." },
            },
        })),
        output_schema: Some(Arc::new(json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["path", "replaced", "bytes"],
            "properties": {
                "path": { "type": "string" },
                "replaced": { "type": "integer", "minimum": 1, "description": "How many pieces were replaced." },
                "bytes": { "type": "integer", "minimum": 0, "description": "How many the file has now." },
            },
        }))),
        effects: Effects { destructive: true, stays_within: true, ..Effects::default() },
        examples: vec![json!({ "path": "src/main.rs", "old": "let x = 1;", "new": "let x = 2;" })],
    }
}

/// The arguments of `edit`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Args {
    path: String,
    old: String,
    new: String,
    #[serde(default)]
    all: bool,
}

/// Changes a file.
pub(crate) fn run(scene: &Scene, args: &Args) -> Result<ToolOutput, Fault> {
    let given = Place::parse_file(&args.path)?;
    if args.old == args.new {
        return Err(Fault::step("invalid_arguments", "`old` and `new` are the same"));
    }
    let root = given.root.open(&scene.dirs)?;
    read::refuse_records(&given, &root)?;
    let place = resolved(&given, &root)?;
    write::refuse_protected(&place, &root)?;
    let _turn = write::take_turn();
    let text = whole(&place, &root)?;
    let lines = lines_of(&text, &args.old);
    match lines.as_slice() {
        [] => return Err(missing(&place, &text, &args.old)),
        [first] if !args.all && overlaps(&text, &args.old) => return Err(ambiguous(&place, &[*first, *first])),
        [_] => {}
        several if !args.all => return Err(ambiguous(&place, several)),
        _ => {}
    }
    // Counted before it is made: many short pieces and a long one in their place are far more than either.
    let bytes = (text.len() - lines.len() * args.old.len()).saturating_add(lines.len().saturating_mul(args.new.len()));
    if bytes > limits::WRITE_BYTES {
        let message = format!("`{place}` would have {bytes} bytes; at most {} are written", limits::WRITE_BYTES);
        return Err(Fault::step("too_large", message));
    }
    let changed = text.replace(&args.old, &args.new);
    scene.check()?;
    let (parent, name) = place.split();
    let dir = if parent.is_empty() { root.try_clone() } else { root.open_dir(parent) };
    dir.and_then(|dir| write::replace(&dir, name, changed.as_bytes()))
        .map_err(|error| place.fault("written", &error))?;
    let (path, count) = (given.to_string(), lines.len());
    let content = format!("replaced {count} {} in `{path}`", if count == 1 { "piece" } else { "pieces" });
    Ok(ToolOutput {
        content: Some(content.into()),
        result: Arc::new(json!({ "path": path, "replaced": count, "bytes": changed.len() })),
    })
}

/// The file that links lead to: it is changed, and the links stay.
fn resolved(place: &Place, root: &Dir) -> Result<Place, Fault> {
    // What is not there, or leads outside, is told of when it is opened.
    let Some(target) = target_of(root, place.path()) else { return Ok(place.clone()) };
    match target.to_str() {
        Some(path) => Ok(Place::found(place.root, path.to_owned())),
        None => Err(Fault::step("path_refused", format!("`{place}` leads to a name that is not UTF-8"))),
    }
}

fn whole(place: &Place, root: &Dir) -> Result<String, Fault> {
    let (file, size) = read::open(place, root)?;
    let too_large = || {
        let message = format!("`{place}` has more than {} bytes, which are changed in memory", limits::WRITE_BYTES);
        Fault::step("too_large", message)
    };
    if size > limits::WRITE_BYTES as u64 {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    file.take(limits::WRITE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|error| place.fault("read", &error))?;
    if bytes.len() > limits::WRITE_BYTES {
        return Err(too_large());
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        Ok(_) => Err(read::binary(place, "a NUL byte")),
        Err(error) => {
            Err(read::binary(place, &format!("bytes that are not UTF-8 at {}", error.utf8_error().valid_up_to())))
        }
    }
}

/// Whether a piece that is there once without overlapping is there again when it may overlap itself.
fn overlaps(text: &str, piece: &str) -> bool {
    let first = piece.chars().next().map_or(0, char::len_utf8);
    text.find(piece).and_then(|at| text.get(at + first..)).is_some_and(|rest| rest.contains(piece))
}

/// The line of each place where the piece is, from 1.
fn lines_of(text: &str, piece: &str) -> Vec<usize> {
    let (mut line, mut from) = (1, 0);
    let places = text.match_indices(piece).map(|(at, _)| {
        line += text.get(from..at).unwrap_or_default().matches('\n').count();
        from = at;
        line
    });
    places.collect()
}

fn missing(place: &Place, text: &str, piece: &str) -> Fault {
    let fault = Fault::step("text_not_found", format!("`{place}` does not contain `old`"));
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let wanted = squeezed(piece);
    let hint = if !wanted.is_empty() && squeezed(text).contains(&wanted) {
        "it does with other spaces or line ends; `read` the file and take the piece from there"
    } else if text.to_lowercase().contains(&piece.to_lowercase()) {
        "it does with other capital letters; `read` the file and take the piece from there"
    } else {
        "`read` the file: it may have been changed"
    };
    fault.with_hint(hint)
}

fn ambiguous(place: &Place, lines: &[usize]) -> Fault {
    let named: Vec<String> = lines.iter().take(NAMED_LINES).map(ToString::to_string).collect();
    let more = if lines.len() > NAMED_LINES { " and others" } else { "" };
    let message = format!("`{place}` contains `old` {} times, in lines {}{more}", lines.len(), named.join(", "));
    Fault::step("ambiguous_edit", message).with_hint("give more of the text around it, or `all: true` for every place")
}

/// Where a path really leads. The kernel names a file that was replaced meanwhile by what it was called, and that it is
/// deleted: such a name is none, and the path is looked up again.
fn target_of(root: &Dir, path: &str) -> Option<PathBuf> {
    const TRIES: usize = 64;
    let mut targets = (0..TRIES).map_while(|_| root.canonicalize(path).ok());
    targets.find(|target| root.symlink_metadata(target).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::tests::{Folder, run as call};
    use serde_json::Value;
    use std::fs;

    fn edit(folder: &Folder, args: Value) -> Result<Value, Fault> {
        call(folder, run, args)
    }

    fn text(folder: &Folder, name: &str) -> String {
        fs::read_to_string(folder.path("step").join(name)).unwrap()
    }

    #[test]
    fn a_piece_is_replaced_and_the_rest_stays() {
        let folder = Folder::new();
        folder.file("a", "one\ntwo größer\none\n");
        let changed = edit(&folder, json!({ "path": "a", "old": "two größer", "new": "2" })).unwrap();
        assert_eq!(changed, json!({ "path": "a", "replaced": 1, "bytes": 10 }));
        assert_eq!(text(&folder, "a"), "one\n2\none\n");
        let changed = edit(&folder, json!({ "path": "a", "old": "one\n", "new": "", "all": true })).unwrap();
        assert_eq!(changed["replaced"], 2);
        assert_eq!(text(&folder, "a"), "2\n");
    }

    #[test]
    fn what_is_not_clear_changes_nothing() {
        let folder = Folder::new();
        folder.file("a", "x = 1\nx = 1\n  Fn  two\n");
        folder.file("aaa", "aaa");
        folder.file("binary", b"x\0");
        folder.file("latin", b"x\xe9");
        let refused = |args: Value, code: &str, says: &str| {
            let fault = edit(&folder, args.clone()).unwrap_err();
            let said = format!("{} {}", fault.message, fault.hint.clone().unwrap_or_default());
            assert!(fault.code == code && said.contains(says), "{args}: {fault:?}");
        };
        refused(json!({ "path": "a", "old": "x = 1", "new": "y" }), "ambiguous_edit", "2 times, in lines 1, 2");
        refused(
            json!({ "path": "a", "old": "=", "new": "y".repeat(limits::WRITE_BYTES), "all": true }),
            "too_large",
            "bytes",
        );
        refused(json!({ "path": "aaa", "old": "aa", "new": "b" }), "ambiguous_edit", "2 times, in lines 1, 1");
        refused(json!({ "path": "a", "old": "Fn two", "new": "y" }), "text_not_found", "other spaces");
        refused(json!({ "path": "a", "old": "fn  two", "new": "y" }), "text_not_found", "capital letters");
        refused(json!({ "path": "a", "old": "zzz", "new": "y" }), "text_not_found", "may have been changed");
        refused(json!({ "path": "a", "old": "x", "new": "x" }), "invalid_arguments", "the same");
        refused(json!({ "path": "b", "old": "x", "new": "y" }), "not_found", "does not exist");
        refused(json!({ "path": "binary", "old": "x", "new": "y" }), "binary_file", "NUL");
        refused(json!({ "path": "latin", "old": "x", "new": "y" }), "binary_file", "not UTF-8 at 1");
        refused(json!({ "path": "../a", "old": "x", "new": "y" }), "path_refused", "..");
        assert_eq!(text(&folder, "a"), "x = 1\nx = 1\n  Fn  two\n");
    }

    #[test]
    fn what_tools_do_not_write_they_do_not_change() {
        let folder = Folder::new();
        for name in [".git/config", ".cofferdam/x", "cofferdam.toml", ".env"] {
            folder.file(name, "x");
            assert_eq!(
                edit(&folder, json!({ "path": name, "old": "x", "new": "y" })).unwrap_err().code,
                "path_refused"
            );
        }
        folder.link("cofferdam.toml", "innocent");
        folder.link(folder.path("outside/secret.txt"), "away");
        for name in ["innocent", "away"] {
            let fault = edit(&folder, json!({ "path": name, "old": "x", "new": "y" })).unwrap_err();
            assert_eq!(fault.code, "path_refused", "{name}: {fault}");
        }
        assert_eq!(text(&folder, "cofferdam.toml"), "x");
    }

    #[test]
    fn a_link_stays_and_its_file_is_changed() {
        let folder = Folder::new();
        folder.file("real/a", "x");
        folder.link("real/a", "link");
        edit(&folder, json!({ "path": "link", "old": "x", "new": "y" })).unwrap();
        assert_eq!(text(&folder, "real/a"), "y");
        assert!(fs::symlink_metadata(folder.path("step/link")).unwrap().is_symlink());
    }

    #[test]
    fn no_change_is_lost_beside_another() {
        let folder = Folder::new();
        folder.file("a", (0..16).map(|number| format!("[{number}]\n")).collect::<String>());
        std::thread::scope(|scope| {
            for number in 0..16 {
                let folder = &folder;
                scope.spawn(move || {
                    let (old, new) = (format!("[{number}]"), format!("<{number}>"));
                    edit(folder, json!({ "path": "a", "old": old, "new": new })).unwrap();
                });
            }
        });
        assert!(!text(&folder, "a").contains('['), "{}", text(&folder, "a"));
    }
}
