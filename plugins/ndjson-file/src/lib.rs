//! Appends the events of runs to a file, a line each. Lines are whole also after a crash: what a crash left of the last
//! one is cut off before more is written, and its event comes again. Several runs may write to one file at a time: they
//! take turns by a lock beside it.

mod lock;

use cofferdam_sdk::{Ack, Batch, Context, Error, ErrorKind, Result, Sink, Want};
use lock::Lock;
use schemars::JsonSchema;
use serde::Deserialize;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek as _, SeekFrom, Write as _};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// Where the granted directory is mounted.
const ROOT: &str = "/sink";
/// How long a batch waits for its turn.
const PATIENCE: Duration = Duration::from_secs(2);
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
    lock: PathBuf,
    /// How long the file was when this instance wrote last; none = it has to be looked at.
    length: Option<u64>,
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
        let busy =
            || Error::new(ErrorKind::Unavailable, "another run is writing to the file").with_retry_after(PATIENCE);
        let _turn = Lock::take(&self.lock, PATIENCE).map_err(|error| unwritable(&error))?.ok_or_else(busy)?;
        self.append(text.as_bytes()).map(|()| Ack::All).map_err(|error| unwritable(&error))
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
        let mut lock = full.into_os_string();
        lock.push(".lock");
        let mut lines = Self { file: opened.map_err(|error| unwritable(&error))?, lock: lock.into(), length: None };
        // Whoever is writing now, or died while it was, is waited for with the first batch.
        if let Ok(Some(_turn)) = Lock::take(&lines.lock, Duration::ZERO) {
            lines.mend().map_err(|error| unwritable(&error))?;
        }
        Ok(lines)
    }

    /// Appends whole lines. Needs the turn.
    fn append(&mut self, lines: &[u8]) -> std::io::Result<()> {
        self.mend()?;
        self.length = None;
        self.file.write_all(lines)?;
        self.file.sync_data()?;
        self.length = Some(self.file.metadata()?.len());
        Ok(())
    }

    /// Cuts off what somebody left who died while writing. Needs the turn.
    fn mend(&mut self) -> std::io::Result<()> {
        if self.length == Some(self.file.metadata()?.len()) {
            return Ok(());
        }
        repair(&mut self.file)?;
        self.length = Some(self.file.metadata()?.len());
        Ok(())
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
    fn several_who_write_at_once_write_whole_lines() {
        let folder = std::env::temp_dir().join(format!("ndjson-file-many-{}", std::process::id()));
        let long = "y".repeat(20_000);
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let (folder, long) = (&folder, &long);
                scope.spawn(move || {
                    let mut lines = Lines::at(folder, "all.ndjson").unwrap();
                    for seq in 0..50 {
                        let body = format!("{{\"writer\":{writer},\"seq\":{seq},\"text\":\"{long}\"}}");
                        lines.deliver(&Context::fake(), &batch(&[&body, &body])).unwrap();
                    }
                });
            }
        });
        let text = std::fs::read_to_string(folder.join("all.ndjson")).unwrap();
        assert!(!folder.join("all.ndjson.lock").exists());
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 4 * 50 * 2);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_another_left_behind_is_cut_off_and_its_lock_is_waited_for() {
        let folder = std::env::temp_dir().join(format!("ndjson-file-torn-{}", std::process::id()));
        let path = folder.join("all.ndjson");
        let ctx = Context::fake();
        let mut lines = Lines::at(&folder, "all.ndjson").unwrap();
        lines.deliver(&ctx, &batch(&["{\"seq\":1}"])).unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"seq\":2,\"te").unwrap();
        let lock = folder.join("all.ndjson.lock");
        std::fs::write(&lock, "").unwrap();
        // It opens while somebody writes; a batch comes again.
        let mut late = Lines::at(&folder, "all.ndjson").unwrap();
        let error = late.deliver(&ctx, &batch(&["{\"seq\":3}"])).unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Unavailable, Some(PATIENCE)));
        lock::age(&lock);
        lines.deliver(&ctx, &batch(&["{\"seq\":4}"])).unwrap();
        late.deliver(&ctx, &batch(&["{\"seq\":5}"])).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"seq\":1}\n{\"seq\":4}\n{\"seq\":5}\n");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_file_lies_below_the_granted_directory() {
        for path in ["", "/etc/x", "../x", "a/../../x", "."] {
            assert!(Lines::at(Path::new("/nowhere"), path).is_err(), "{path}");
        }
    }
}
