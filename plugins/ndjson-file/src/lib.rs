//! Appends the events of runs to a file, a line each. Lines are whole also after a crash: what a crash left of the last
//! one is cut off when the file is opened again, and its event comes again.

use cofferdam_sdk::{Ack, Batch, Context, Error, ErrorKind, Result, Sink, Want};
use schemars::JsonSchema;
use serde::Deserialize;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek as _, SeekFrom, Write as _};
use std::path::{Component, Path, PathBuf};

/// Where the granted directory is mounted.
const ROOT: &str = "/sink";
/// How much of the end of a file is read to find its last line.
const TAIL_BYTES: u64 = 64 * 1024;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// The file, below the directory that is granted at `/sink`.
    path: String,
    /// Kinds of events; a final `*` matches any rest. Default: all durable events.
    kinds: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self { path: "events.ndjson".to_owned(), kinds: Vec::new() }
    }
}

/// The sink.
pub struct Lines {
    file: File,
}

impl Sink for Lines {
    fn open(_ctx: &Context, config: &str) -> Result<(Self, Want)> {
        let config: Config = serde_json::from_str(config)
            .map_err(|error| Error::invalid_input(format!("configuration: {error}")).with_code("configuration"))?;
        let lines = Self::at(Path::new(ROOT), &config.path)?;
        Ok((lines, Want { kinds: config.kinds, durable: true, max_linger_ms: 50, ..Want::default() }))
    }

    fn deliver(&mut self, _ctx: &Context, batch: &Batch) -> Result<Ack> {
        let mut text = String::new();
        for event in &batch.events {
            text.push_str(&event.body);
            text.push('\n');
        }
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        written.map(|()| Ack::All).map_err(|error| unwritable(&error))
    }
}

impl Lines {
    fn at(root: &Path, path: &str) -> Result<Self> {
        let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        if path.is_empty() || !inside {
            return Err(Error::invalid_input(format!("`{path}` does not lead below `{ROOT}`")));
        }
        let full: PathBuf = root.join(path);
        if let Some(folder) = full.parent() {
            std::fs::create_dir_all(folder).map_err(|error| unwritable(&error))?;
        }
        let opened = OpenOptions::new().read(true).append(true).create(true).open(&full);
        let mut file = opened.map_err(|error| unwritable(&error))?;
        repair(&mut file).map_err(|error| unwritable(&error))?;
        Ok(Self { file })
    }
}

/// Cuts off what stands behind the last end of a line.
fn repair(file: &mut File) -> std::io::Result<()> {
    let whole = file.metadata()?.len();
    let mut end = whole;
    while end > 0 {
        let begin = end.saturating_sub(TAIL_BYTES);
        file.seek(SeekFrom::Start(begin))?;
        let mut tail = Vec::new();
        Read::by_ref(file).take(end - begin).read_to_end(&mut tail)?;
        if let Some(newline) = tail.iter().rposition(|&byte| byte == b'\n') {
            end = begin + newline as u64 + 1;
            break;
        }
        end = begin;
    }
    if end < whole { file.set_len(end) } else { Ok(()) }
}

fn unwritable(error: &std::io::Error) -> Error {
    let kind = if error.kind() == std::io::ErrorKind::StorageFull { ErrorKind::Unavailable } else { ErrorKind::Denied };
    let hint = "grant a directory: `fs: { also: [{ from: DIR, at: /sink, read: true, write: true }] }`";
    Error::new(kind, format!("the file cannot be written: {error}; {hint}"))
}

cofferdam_sdk::plugin!(id = "cofferdam/ndjson-file", config = Config, sink = Lines);

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_sdk::Event;

    fn batch(bodies: &[&str]) -> Batch {
        let event = |body: &&str| Event { body: (*body).to_owned(), ..Event::default() };
        Batch { events: bodies.iter().map(event).collect(), ..Batch::default() }
    }

    #[test]
    fn lines_are_appended_and_a_torn_one_is_cut_off() {
        let folder = std::env::temp_dir().join(format!("ndjson-file-{}", std::process::id()));
        let path = folder.join("a/events.ndjson");
        let ctx = Context::fake();
        let mut lines = Lines::at(&folder, "a/events.ndjson").unwrap();
        assert_eq!(lines.deliver(&ctx, &batch(&["{\"seq\":1}", "{\"seq\":2}"])).unwrap(), Ack::All);
        drop(lines);
        let torn = format!("{{\"seq\":3,\"text\":\"{}", "x".repeat(200_000));
        OpenOptions::new().append(true).open(&path).unwrap().write_all(torn.as_bytes()).unwrap();
        let mut lines = Lines::at(&folder, "a/events.ndjson").unwrap();
        lines.deliver(&ctx, &batch(&["{\"seq\":3}"])).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"seq\":1}\n{\"seq\":2}\n{\"seq\":3}\n");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_file_lies_below_the_granted_directory() {
        for path in ["", "/etc/x", "../x", "a/../../x", "."] {
            assert!(Lines::at(Path::new("/nowhere"), path).is_err(), "{path}");
        }
    }
}
