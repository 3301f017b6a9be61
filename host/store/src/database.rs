//! One SQLite file with a thread that writes and a thread that reads, both started when first needed.
//!
//! It must not know what is written. Writes that wait together are committed together: a commit costs a flush of
//! the disk, whatever is in it.

use crate::connection::{self, Schema, Writer};
use cofferdam_core::limits;
use cofferdam_core::port::{Durability, JournalError};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use tokio::sync::{mpsc, oneshot};

/// A file, opened when first needed.
pub(crate) struct Database {
    path: PathBuf,
    schema: Schema,
    writer: Mutex<Option<mpsc::Sender<Box<dyn Write>>>>,
    reader: Mutex<Option<mpsc::Sender<Box<dyn Read>>>>,
    /// The file that was written to first: its device and its number there.
    written: OnceLock<(u64, u64)>,
}

/// Why a write did nothing.
pub(crate) enum Failure {
    /// The store's state or the request does not allow it. Nothing was changed before this was said: the rest of
    /// the group is committed all the same.
    Refused(JournalError),
    /// SQLite failed; something may have been changed, so that all is rolled back.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        Self::Refused(error)
    }
}

const WRITER: &str = "cofferdam-store";
const READER: &str = "cofferdam-store-read";

impl Database {
    /// A file at a path. Nothing is opened.
    pub(crate) fn new(path: PathBuf, schema: Schema) -> Self {
        Self { path, schema, writer: Mutex::new(None), reader: Mutex::new(None), written: OnceLock::new() }
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file that was written to still has its name. SQLite goes on with one that was removed, and no reader finds
    /// what it writes there.
    pub(crate) fn is_there(&self) -> Result<(), JournalError> {
        let Some(written) = self.written.get() else { return Ok(()) };
        match identity(&self.path) {
            Some(now) if now == *written => Ok(()),
            now => {
                let what = if now.is_some() { "replaced" } else { "removed" };
                Err(JournalError::Unavailable(format!("the store `{}` was {what}", self.path.display())))
            }
        }
    }

    /// Starts the threads now. Each is as nice as the thread that starts it, for good.
    pub(crate) fn prepare(&self) {
        let writer = self.start(&self.writer, WRITER, write_loop).map(drop);
        if let Err(error) = writer.and_then(|()| self.start(&self.reader, READER, read_loop).map(drop)) {
            tracing::debug!(%error, "the threads of the store start with the first access");
        }
    }

    /// Writes in one transaction with what waits beside it. The work is done again when that transaction failed.
    pub(crate) async fn write<T, W>(&self, durability: Durability, work: W) -> Result<T, JournalError>
    where
        T: Send + 'static,
        W: FnMut(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = WriteJob { durability, work, result: None, reply };
        let sender = self.start(&self.writer, WRITER, write_loop)?;
        let outcome = self.ask(sender, Box::new(job), answer).await;
        if outcome.is_ok() && self.written.get().is_none() {
            identity(&self.path).into_iter().for_each(|identity| _ = self.written.set(identity));
        }
        outcome
    }

    /// Reads; the work is given none when nothing was ever written.
    pub(crate) async fn read<T, R>(&self, work: R) -> Result<T, JournalError>
    where
        T: Send + 'static,
        R: FnOnce(Option<&Connection>, &Path) -> Result<T, JournalError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let sender = self.start(&self.reader, READER, read_loop)?;
        self.ask(sender, Box::new(ReadJob { work, reply }), answer).await
    }

    async fn ask<J, T>(
        &self,
        sender: mpsc::Sender<J>,
        job: J,
        answer: oneshot::Receiver<Result<T, JournalError>>,
    ) -> Result<T, JournalError> {
        let broke_off =
            || JournalError::Unavailable(format!("the thread of the store `{}` broke off", self.path.display()));
        sender.send(job).await.map_err(|_| broke_off())?;
        answer.await.unwrap_or_else(|_| Err(broke_off()))
    }

    /// The way to a thread, which is started when there is none or it broke off.
    fn start<J: Send + 'static>(
        &self,
        slot: &Mutex<Option<mpsc::Sender<J>>>,
        name: &str,
        run: fn(mpsc::Receiver<J>, &Path, Schema),
    ) -> Result<mpsc::Sender<J>, JournalError> {
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = slot.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let (sender, receiver) = mpsc::channel(limits::JOURNAL_QUEUE);
        let (path, schema) = (self.path.clone(), self.schema);
        let started = thread::Builder::new().name(name.to_owned()).spawn(move || run(receiver, &path, schema));
        started
            .map_err(|error| JournalError::Unavailable(format!("a thread for the store cannot be started: {error}")))?;
        Ok(slot.insert(sender).clone())
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|about| (about.dev(), about.ino()))
}

/// A write that waits.
trait Write: Send {
    fn durability(&self) -> Durability;
    /// Does the work in an open transaction.
    fn apply(&mut self, connection: &Connection) -> rusqlite::Result<()>;
    /// Answers with what the work gave, if the transaction was committed.
    fn finish(self: Box<Self>, committed: Result<(), JournalError>);
}

struct WriteJob<T, W> {
    durability: Durability,
    work: W,
    result: Option<Result<T, JournalError>>,
    reply: oneshot::Sender<Result<T, JournalError>>,
}

impl<T: Send, W: FnMut(&Connection) -> Result<T, Failure> + Send> Write for WriteJob<T, W> {
    fn durability(&self) -> Durability {
        self.durability
    }

    fn apply(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.result = Some(match (self.work)(connection) {
            Ok(value) => Ok(value),
            Err(Failure::Refused(error)) => Err(error),
            Err(Failure::Sqlite(error)) => return Err(error),
        });
        Ok(())
    }

    fn finish(self: Box<Self>, committed: Result<(), JournalError>) {
        let Self { result, reply, .. } = *self;
        let never = || Err(JournalError::Unavailable("the write was not done".to_owned()));
        // A caller that left does not want to know.
        let _ = reply.send(committed.and_then(|()| result.unwrap_or_else(never)));
    }
}

/// A read that waits.
trait Read: Send {
    fn run(self: Box<Self>, connection: Result<Option<&Connection>, JournalError>, path: &Path);
}

struct ReadJob<T, R> {
    work: R,
    reply: oneshot::Sender<Result<T, JournalError>>,
}

impl<T: Send, R: FnOnce(Option<&Connection>, &Path) -> Result<T, JournalError> + Send> Read for ReadJob<T, R> {
    fn run(self: Box<Self>, connection: Result<Option<&Connection>, JournalError>, path: &Path) {
        let Self { work, reply } = *self;
        let _ = reply.send(connection.and_then(|connection| work(connection, path)));
    }
}

fn read_loop(mut jobs: mpsc::Receiver<Box<dyn Read>>, path: &Path, schema: Schema) {
    let mut connection = None;
    while let Some(job) = jobs.blocking_recv() {
        if connection.is_none() {
            match connection::open_for_reading(path, schema) {
                Ok(opened) => connection = opened,
                Err(error) => {
                    job.run(Err(error), path);
                    continue;
                }
            }
        }
        job.run(Ok(connection.as_ref()), path);
    }
}

fn write_loop(mut jobs: mpsc::Receiver<Box<dyn Write>>, path: &Path, schema: Schema) {
    let mut writer = None;
    while let Some(first) = jobs.blocking_recv() {
        let mut group = vec![first];
        while group.len() < limits::JOURNAL_GROUP {
            let Ok(next) = jobs.try_recv() else { break };
            group.push(next);
        }
        writer = match writer.take().map_or_else(|| Writer::open(path, schema), Ok) {
            Ok(writer) => write_group(writer, group, path),
            Err(error) => {
                group.into_iter().for_each(|job| job.finish(Err(error.clone())));
                None
            }
        };
    }
}

/// Commits a group, and what of it can be committed when it fails as a whole. Gives the writer back unless it
/// failed: it is opened again then, since nobody knows what it still holds.
fn write_group(mut writer: Writer, mut group: Vec<Box<dyn Write>>, path: &Path) -> Option<Writer> {
    let mut is_sound = true;
    match commit(&mut writer, &mut group) {
        Ok(()) => group.into_iter().for_each(|job| job.finish(Ok(()))),
        Err(error) if group.len() == 1 => {
            is_sound = false;
            group.into_iter().for_each(|job| job.finish(Err(connection::refused(path, &error))));
        }
        Err(_) => {
            for mut job in group {
                let committed = commit(&mut writer, std::slice::from_mut(&mut job));
                is_sound &= committed.is_ok();
                job.finish(committed.map_err(|error| connection::refused(path, &error)));
            }
        }
    }
    is_sound.then_some(writer)
}

fn commit(writer: &mut Writer, group: &mut [Box<dyn Write>]) -> rusqlite::Result<()> {
    let is_durable = group.iter().any(|job| job.durability() == Durability::Durable);
    writer.set_durability(if is_durable { Durability::Durable } else { Durability::Written })?;
    let transaction = Transaction::new(&mut writer.connection, TransactionBehavior::Immediate)?;
    group.iter_mut().try_for_each(|job| job.apply(&transaction))?;
    transaction.commit()
}
