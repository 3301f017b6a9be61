//! `runs export` and `runs import`: where the file is, and what is said. The library reads and writes it.

use super::{find, print_lines};
use crate::args::{ExportArgs, ImportArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal;
use anyhow::Context as _;
use cofferdam::Journal;
use cofferdam::archive::{self, Error, Header, Imported};
use cofferdam::core::id::RunId;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Seek as _};
use std::path::Path;

pub(super) async fn export(journal: &dyn Journal, args: &ExportArgs) -> anyhow::Result<Exit> {
    let run = find(journal, &args.run).await?;
    let Some(path) = &args.output else {
        return match archive::export(journal, &run, io::stdout()).await {
            Ok(header) => {
                tell_if_under_way(&header);
                Ok(Exit::Done)
            }
            // Whoever read it has had enough.
            Err(Error::Write(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(Exit::Done),
            Err(error) => Err(unexported(&run, &error).into()),
        };
    };
    let header = into_file(journal, &run, path).await?;
    tell_if_under_way(&header);
    let (records, blobs) = (header.records, header.blobs);
    terminal::tell(&format!("exported {run} to {} ({records} records, {blobs} blobs)", terminal::name(path)));
    if args.json {
        print_lines(&[serde_json::json!({ "exported": run, "file": path, "records": records, "blobs": blobs })])?;
    }
    Ok(Exit::Done)
}

/// Writes beside the file first: a failure leaves what was there. Nobody else may read it: it may hold what is sensitive.
async fn into_file(journal: &dyn Journal, run: &RunId, path: &Path) -> anyhow::Result<Header> {
    let named = || format!("`{}` cannot be written", terminal::name(path));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
        return Err(Failure::usage(format!("`{}` is there and is no file", terminal::name(path))).into());
    }
    let file = tempfile::NamedTempFile::new_in(folder).with_context(named)?;
    let header = match archive::export(journal, run, file.as_file()).await {
        Ok(header) => header,
        Err(Error::Write(error)) => return Err(error).with_context(named),
        Err(error) => return Err(unexported(run, &error).into()),
    };
    file.persist(path).map_err(|failed| failed.error).with_context(named)?;
    Ok(header)
}

fn tell_if_under_way(header: &Header) {
    if header.status == super::standing::RUNNING {
        terminal::tell("the run is under way, or was killed; what was recorded until now is exported");
    }
}

fn unexported(run: &RunId, error: &Error) -> Failure {
    let failure = Failure::failed(format!("run `{run}` cannot be exported: {}", chain(error)));
    match error {
        Error::Unknown { .. } => failure.with_hint("export it with the version of Cofferdam that ran it"),
        _ => failure,
    }
}

pub(super) async fn import(journal: &dyn Journal, args: &ImportArgs) -> anyhow::Result<Exit> {
    let name = if args.file.as_os_str() == "-" { "standard input".to_owned() } else { terminal::name(&args.file) };
    let file = open(&args.file).map_err(|error| Failure::usage(format!("`{name}` cannot be read: {error}")))?;
    let imported = archive::import(journal, BufReader::new(file)).await.map_err(|error| unimported(&name, &error))?;
    let (word, header) = match imported {
        Imported::New(header) => ("imported", header),
        Imported::AlreadyThere(header) => ("already_there", header),
    };
    let Header { run_id: run, workflow, status, records, blobs, .. } = &header;
    match word {
        "imported" => terminal::tell(&format!("imported {run} ({records} records, {blobs} blobs)")),
        _ => terminal::tell(&format!("run {run} is there already, and is the same")),
    }
    if args.json {
        print_lines(&[serde_json::json!({ word: run, "workflow": workflow, "status": status, "records": records })])?;
    }
    Ok(Exit::Done)
}

/// The file; what can be read only once is copied first, since it is checked before it is imported.
fn open(path: &Path) -> io::Result<File> {
    let mut file = if path.as_os_str() == "-" { return copied(&mut io::stdin().lock()) } else { File::open(path)? };
    if file.metadata()?.is_file() { Ok(file) } else { copied(&mut file) }
}

fn copied(from: &mut dyn io::Read) -> io::Result<File> {
    let mut copy = tempfile::tempfile()?;
    io::copy(from, &mut copy)?;
    copy.rewind()?;
    Ok(copy)
}

fn unimported(name: &str, error: &Error) -> Failure {
    let message = format!("`{name}` was not imported: {}", chain(error));
    match error {
        Error::Broken { .. } => Failure::invalid(message).with_hint("export the run again, or copy the file again"),
        Error::TooNew { .. } | Error::Unknown { .. } => {
            Failure::invalid(message).with_hint("import it with a newer version of Cofferdam")
        }
        Error::Exists(run) => {
            Failure::usage(message).with_hint(format!("`cofferdam runs rm {run}` deletes the one that is there"))
        }
        Error::Left { run, .. } => {
            Failure::failed(message).with_hint(format!("`cofferdam runs rm {run} --force` deletes what is left of it"))
        }
        _ => Failure::failed(message),
    }
}

/// What went wrong, with what is behind it.
fn chain(error: &Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
