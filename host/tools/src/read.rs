//! The tool `read`: the text of a file, or a part of it.
//!
//! It must not hold more of a file in memory than it returns.

use crate::native::Scene;
use crate::place::{Place, Root};
use cap_std::fs::{Dir, File, OpenOptions, OpenOptionsExt as _};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::LocalName;
use cofferdam_core::limits;
use cofferdam_core::port::{Effects, ToolDefinition, ToolOutput};
use rustix::fs::OFlags;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;

/// How much of a file is looked at to tell text from other data.
const PROBE_BYTES: usize = 8 * 1024;

/// What `read` says of itself.
pub(crate) fn definition() -> ToolDefinition {
    ToolDefinition {
        name: LocalName::parse("read").expect("`read` follows the grammar of tool names"),
        title: Some("Read a file".to_owned()),
        description: format!(
            "Returns the text of a file of the working directory, or with `out:` of the run's output directory. At most {} KiB at \
             once: when `truncated` is true, call again with `offset` set to `next_offset`. Files that are not text are refused.",
            limits::READ_BYTES / 1024
        ),
        input_schema: Arc::new(json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["path"],
            "properties": {
                "path": { "type": "string", "minLength": 1, "description": "Relative path: `src/main.rs`, `out:report.md`." },
                "offset": { "type": "integer", "minimum": 0, "default": 0, "description": "How many lines (or bytes) to pass over." },
                "limit": { "type": "integer", "minimum": 1, "description": "At most so many lines (or bytes)." },
                "unit": { "enum": ["lines", "bytes"], "default": "lines", "description": "What `offset` and `limit` count." },
            },
        })),
        output_schema: Some(Arc::new(json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["path", "content", "size", "truncated"],
            "properties": {
                "path": { "type": "string" },
                "content": { "type": "string" },
                "size": { "type": "integer", "minimum": 0, "description": "Bytes of the whole file." },
                "truncated": { "type": "boolean", "description": "Whether there is more behind what is returned." },
                "next_offset": { "type": "integer", "description": "Where it goes on, when truncated." },
                "lossy": { "type": "boolean", "description": "Whether bytes that are not UTF-8 were replaced; absent when not." },
            },
        }))),
        effects: Effects { read_only: true, idempotent: true, ..Effects::default() },
        examples: vec![json!({ "path": "README.md" }), json!({ "path": "src/main.rs", "offset": 100, "limit": 50 })],
    }
}

/// The arguments of `read`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Args {
    path: String,
    #[serde(default)]
    offset: u64,
    limit: Option<u64>,
    #[serde(default)]
    unit: Unit,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Unit {
    #[default]
    Lines,
    Bytes,
}

/// A part of a file.
struct Part {
    bytes: Vec<u8>,
    /// Where the rest begins, if there is one.
    next: Option<u64>,
}

/// Reads a file.
pub(crate) fn run(scene: &Scene, args: &Args) -> Result<ToolOutput, Fault> {
    let place = Place::parse_file(&args.path)?;
    let root = place.root.open(&scene.dirs)?;
    refuse_records(&place, &root)?;
    let (mut file, size) = open(&place, &root)?;
    refuse_binary(&place, &mut file)?;
    let part = match args.unit {
        Unit::Lines => lines(scene, &place, file, args)?,
        Unit::Bytes => bytes(&place, file, args)?,
    };
    if let Some(at) = part.bytes.iter().position(|byte| *byte == 0) {
        return Err(binary(&place, &format!("a NUL byte, {at} bytes into the part that was read")));
    }
    Ok(output(&place, size, part))
}

fn output(place: &Place, size: u64, part: Part) -> ToolOutput {
    let (content, is_lossy) = match String::from_utf8(part.bytes) {
        Ok(text) => (text, false),
        Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), true),
    };
    let mut result = Map::new();
    result.insert("path".into(), place.to_string().into());
    result.insert("content".into(), content.clone().into());
    result.insert("size".into(), size.into());
    result.insert("truncated".into(), part.next.is_some().into());
    let mut text = content;
    if let Some(next) = part.next {
        result.insert("next_offset".into(), next.into());
        text.push_str(&format!("\n[the file has {size} bytes; it goes on at offset {next}]"));
    }
    if is_lossy {
        result.insert("lossy".into(), true.into());
    }
    ToolOutput { result: Arc::new(Value::Object(result)), content: Some(text.into()) }
}

/// Where Cofferdam keeps its records.
const RECORDS: &str = ".cofferdam";

/// Refuses what Cofferdam has recorded of other runs, also when links lead there.
pub(crate) fn refuse_records(place: &Place, root: &Dir) -> Result<(), Fault> {
    if place.root == Root::Out {
        return Ok(());
    }
    let resolved = root.canonicalize(place.path()).ok();
    let parts = [Some(Path::new(place.path())), resolved.as_deref()];
    let is_record = |part: std::path::Component<'_>| part.as_os_str().eq_ignore_ascii_case(RECORDS);
    if !parts.into_iter().flatten().flat_map(Path::components).any(is_record) {
        return Ok(());
    }
    Err(Fault::step("path_refused", format!("`{place}` is in `{RECORDS}`, whose records belong to other runs"))
        .with_hint("what a step needs of another one comes through `dependsOn` and templates"))
}

/// Opens a regular file and gives its size.
pub(crate) fn open(place: &Place, dir: &Dir) -> Result<(File, u64), Fault> {
    // Opening a pipe would wait for its writer, and opening some devices does things.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("the flag is a small number");
    let file = dir
        .open_with(place.path(), OpenOptions::new().read(true).custom_flags(flags))
        .map_err(|error| place.fault("read", &error))?;
    let metadata = file.metadata().map_err(|error| place.fault("read", &error))?;
    if metadata.is_dir() {
        return Err(Fault::step("not_a_file", format!("`{place}` is a directory"))
            .with_hint("`glob` lists the files of a directory"));
    }
    if !metadata.is_file() {
        return Err(Fault::step("not_a_file", format!("`{place}` is not a regular file")));
    }
    Ok((file, metadata.len()))
}

fn refuse_binary(place: &Place, file: &mut File) -> Result<(), Fault> {
    let mut head = Vec::with_capacity(PROBE_BYTES);
    let read = file.by_ref().take(PROBE_BYTES as u64).read_to_end(&mut head);
    read.and_then(|_| file.rewind()).map_err(|error| place.fault("read", &error))?;
    match head.iter().position(|byte| *byte == 0) {
        Some(at) => Err(binary(place, &format!("a NUL byte at {at}"))),
        None => Ok(()),
    }
}

pub(crate) fn binary(place: &Place, why: &str) -> Fault {
    Fault::step("binary_file", format!("`{place}` is not text: it has {why}"))
        .with_hint("`read` returns text; a plugin with an `fs` grant can read other data")
}

/// Whole lines from `offset` on, as many as were asked for and fit.
fn lines(scene: &Scene, place: &Place, file: File, args: &Args) -> Result<Part, Fault> {
    let fault = |error: std::io::Error| place.fault("read", &error);
    let most = args.limit.unwrap_or(u64::MAX);
    let mut file = BufReader::with_capacity(64 * 1024, file);
    if !skip_lines(scene, place, &mut file, args.offset)? {
        return Ok(Part { bytes: Vec::new(), next: None });
    }
    let (mut bytes, mut taken) = (Vec::new(), 0);
    while taken < most {
        let start = bytes.len();
        let left = limits::READ_BYTES + 1 - start;
        file.by_ref().take(left as u64).read_until(b'\n', &mut bytes).map_err(fault)?;
        if bytes.len() == start {
            return Ok(Part { bytes, next: None });
        }
        if bytes.len() > limits::READ_BYTES {
            if taken == 0 {
                let message =
                    format!("line {} of `{place}` is longer than {} bytes", args.offset + 1, limits::READ_BYTES);
                return Err(Fault::step("too_large", message).with_hint("read it in parts with `unit: bytes`"));
            }
            bytes.truncate(start);
            break;
        }
        taken += 1;
    }
    let is_end = file.fill_buf().map_err(fault)?.is_empty() && bytes.len() < limits::READ_BYTES;
    Ok(Part { bytes, next: (!is_end).then(|| args.offset.saturating_add(taken)) })
}

/// Passes over lines; says whether the file has so many.
fn skip_lines(scene: &Scene, place: &Place, file: &mut BufReader<File>, count: u64) -> Result<bool, Fault> {
    let (mut left, mut seen) = (count, 0_usize);
    while left > 0 {
        let buffer = file.fill_buf().map_err(|error| place.fault("read", &error))?;
        if buffer.is_empty() {
            return Ok(false);
        }
        let used = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                left -= 1;
                end + 1
            }
            None => {
                scene.check()?;
                buffer.len()
            }
        };
        file.consume(used);
        seen += used;
        if seen > limits::READ_SCAN_BYTES {
            let message =
                format!("line {count} of `{place}` is more than {} bytes into the file", limits::READ_SCAN_BYTES);
            return Err(Fault::step("too_large", message).with_hint("read it with `unit: bytes`"));
        }
    }
    Ok(true)
}

/// Bytes from `offset` on. A character that the bound would cut is left for the next part.
fn bytes(place: &Place, mut file: File, args: &Args) -> Result<Part, Fault> {
    let fault = |error: std::io::Error| place.fault("read", &error);
    let most = args.limit.unwrap_or(u64::MAX).min(limits::READ_BYTES as u64);
    file.seek(SeekFrom::Start(args.offset)).map_err(fault)?;
    let mut bytes = Vec::new();
    file.by_ref().take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(fault)?;
    if bytes.len() as u64 <= most {
        return Ok(Part { bytes, next: None });
    }
    bytes.pop();
    let whole = bytes.len() - cut_character(&bytes);
    if whole > 0 {
        bytes.truncate(whole);
    }
    let next = args.offset.saturating_add(bytes.len() as u64);
    Ok(Part { bytes, next: Some(next) })
}

/// How many bytes at the end begin a character without ending it.
fn cut_character(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.len() - error.valid_up_to(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::tests::{Folder, run as call};

    fn read(folder: &Folder, args: Value) -> Result<Value, Fault> {
        call(folder, run, args)
    }

    #[test]
    fn lines_and_bytes_can_be_read_in_parts() {
        let folder = Folder::new();
        folder.file("a", "one\ntwo\nthree");
        let part = read(&folder, json!({ "path": "a", "offset": 1, "limit": 1 })).unwrap();
        assert_eq!(part, json!({ "path": "a", "content": "two\n", "size": 13, "truncated": true, "next_offset": 2 }));
        let rest = read(&folder, json!({ "path": "a", "offset": 2 })).unwrap();
        assert_eq!(rest, json!({ "path": "a", "content": "three", "size": 13, "truncated": false }));
        assert_eq!(read(&folder, json!({ "path": "a", "offset": 9 })).unwrap()["content"], "");
        let bytes = read(&folder, json!({ "path": "a", "offset": 2, "limit": 3, "unit": "bytes" })).unwrap();
        assert_eq!((&bytes["content"], &bytes["next_offset"]), (&json!("e\nt"), &json!(5)));
    }

    #[test]
    fn parts_of_any_size_are_the_file() {
        let folder = Folder::new();
        let text = "größer\n\u{1f980} ende\n\nletzte".repeat(40);
        folder.file("a", &text);
        for unit in ["lines", "bytes"] {
            for limit in [4, 7, 100, 10_000] {
                let (mut offset, mut all) = (json!(0), String::new());
                loop {
                    let part =
                        read(&folder, json!({ "path": "a", "offset": offset, "limit": limit, "unit": unit })).unwrap();
                    all.push_str(part["content"].as_str().unwrap());
                    assert_eq!(part.get("lossy"), None);
                    if part["truncated"] == false {
                        break;
                    }
                    offset = part["next_offset"].clone();
                }
                assert_eq!(all, text, "{unit} {limit}");
            }
        }
    }

    #[test]
    fn a_large_file_comes_in_bounded_parts() {
        let folder = Folder::new();
        let line = format!("{}\n", "x".repeat(99));
        folder.file("large", line.repeat(25_000));
        let part = read(&folder, json!({ "path": "large" })).unwrap();
        assert_eq!(part["content"].as_str().unwrap().len(), limits::READ_BYTES / 100 * 100);
        assert_eq!((&part["truncated"], &part["next_offset"]), (&json!(true), &json!(limits::READ_BYTES / 100)));
        folder.file("line", "x".repeat(limits::READ_BYTES + 1));
        assert_eq!(read(&folder, json!({ "path": "line" })).unwrap_err().code, "too_large");
        let part = read(&folder, json!({ "path": "line", "unit": "bytes" })).unwrap();
        assert_eq!(part["next_offset"], limits::READ_BYTES);
        folder.file("exact", "x".repeat(limits::READ_BYTES));
        assert_eq!(read(&folder, json!({ "path": "exact" })).unwrap()["truncated"], false);
    }

    #[test]
    fn what_is_not_text_is_refused_and_other_encodings_are_marked() {
        let folder = Folder::new();
        folder.file("binary", b"\x7fELF\0\0");
        folder.file("late", [vec![b'x'; 10_000], vec![0]].concat());
        for path in ["binary", "late"] {
            assert_eq!(read(&folder, json!({ "path": path })).unwrap_err().code, "binary_file");
        }
        folder.file("latin", b"gr\xf6\xdfer");
        let read = read(&folder, json!({ "path": "latin" })).unwrap();
        assert_eq!((&read["content"], &read["lossy"]), (&json!("gr\u{fffd}\u{fffd}er"), &json!(true)));
    }

    #[test]
    fn records_of_other_runs_are_not_read() {
        let folder = Folder::new();
        folder.file(".cofferdam/runs/x.json", "secret");
        folder.file("sub/.cofferdam/x", "secret");
        folder.link(".cofferdam/runs", "runs");
        folder.link(".cofferdam/runs/x.json", "record");
        for path in [".cofferdam/runs/x.json", ".Cofferdam/none", "sub/.cofferdam/x", "runs/x.json", "record"] {
            let fault = read(&folder, json!({ "path": path })).unwrap_err();
            assert_eq!(fault.code, "path_refused", "{path}: {fault}");
            assert!(fault.message.contains("other runs") && fault.hint.is_some());
        }
        folder.file("cofferdam.toml", "x");
        assert!(read(&folder, json!({ "path": "cofferdam.toml" })).is_ok());
    }

    #[test]
    fn only_regular_files_are_read() {
        let folder = Folder::new();
        folder.file("dir/a", "");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            folder.path("step/pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        for (path, code) in [
            ("dir", "not_a_file"),
            ("pipe", "not_a_file"),
            ("none", "not_found"),
            ("dir/a/b", "io"),
            ("dir/", "path_refused"),
        ] {
            let fault = read(&folder, json!({ "path": path })).unwrap_err();
            assert_eq!(fault.code, code, "{path}: {fault}");
            assert!(fault.message.contains(path), "{fault}");
        }
    }
}
