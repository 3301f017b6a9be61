//! A memory that outlives the run, as the run uses it: read and changed where it is, one request after another, and each time what
//! was not as the run knew it becomes an event.
//!
//! So the run's own memory is a picture of it, made by events alone: what is evaluated sees the picture, and a replay needs no
//! other. One request waits for the record of the one before, so that at most one change is made and not recorded when a process
//! ends.

use super::run::{Pass, Run};
use super::shared::{MemoryAsked, denied};
use super::{Error, Wake};
use crate::lasting::{LastingEntry, LastingMemory, Mark};
use crate::recorder::Inbox;
use cofferdam_core::event::{Body, RunStatus, Seen, SeenEntry};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{RunId, StepPath};
use cofferdam_core::limits;
use cofferdam_core::memory::{Memory, MemoryAccess, MemoryChange, MemoryEntry, MemoryItem, MemoryScope};
use cofferdam_core::port::{MemoryReply, MemoryRequest, Redactor, redact_value};
use cofferdam_core::run::Emission;
use cofferdam_core::value;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// A request of a step, with what the step may do.
#[derive(Debug)]
pub(crate) struct Errand {
    pub(crate) path: StepPath,
    pub(crate) attempt: Option<u32>,
    pub(crate) own: Arc<str>,
    pub(crate) access: MemoryAccess,
    /// The revision of the change that the same call has made already.
    pub(crate) made: Option<u64>,
    /// What the store knows the call by.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) asked: MemoryAsked,
}

/// What came of a request, before it is recorded.
#[derive(Debug)]
pub(crate) struct Fetched {
    reply: MemoryReply,
    found: Found,
    answer: oneshot::Sender<MemoryReply>,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one is made for each reading, and used up at once")]
enum Found {
    /// These entries of a namespace, or of all; what else the run knows of there is gone.
    All(Option<Arc<str>>, Vec<LastingEntry>),
    /// One entry.
    One(Arc<str>, Arc<str>, Option<LastingEntry>),
    /// A change was made.
    Changed(Body),
    /// Nothing that the run does not know.
    Nothing,
}

/// The way to the memory. All requests go one after another.
pub(super) struct Lasting {
    errands: mpsc::UnboundedSender<Errand>,
    pub(super) memory: LastingMemory,
}

impl Lasting {
    /// The way, and the task that has to be driven for it.
    fn new(
        memory: LastingMemory,
        (run, inbox): (RunId, Inbox),
        redactor: Arc<dyn Redactor>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (errands, queue) = mpsc::unbounded_channel();
        let messenger = Messenger { memory: memory.clone(), run, redactor, open: None };
        (Self { errands, memory }, messenger.serve(queue, inbox))
    }

    pub(super) fn ask(&self, errand: Errand) {
        let _ = self.errands.send(errand);
    }
}

/// The revision of a change, and its value where that is still there.
type Unrecorded = (u64, Option<Arc<Value>>);

/// Goes to the store for the run.
struct Messenger {
    memory: LastingMemory,
    run: RunId,
    redactor: Arc<dyn Redactor>,
    /// Calls whose changes may be made and not recorded, each with the revision that it has at least: of an earlier process, and of
    /// steps that had ended by then. None before it was looked up.
    open: Option<BTreeMap<Arc<str>, u64>>,
}

impl Messenger {
    async fn serve(mut self, mut queue: mpsc::UnboundedReceiver<Errand>, inbox: Inbox) {
        while let Some(errand) = queue.recv().await {
            let Errand { path, attempt, own, access, made, name, asked } = errand;
            let MemoryAsked { request, reply: answer, done } = asked;
            match self.fetch((&own, &access), (made, name.clone()), request).await {
                Err(fault) => drop(done.send(Err(fault))),
                Ok((reply, found)) => {
                    let (recorded, is_recorded) = oneshot::channel();
                    let made = match (&found, &reply) {
                        (Found::Changed(_), MemoryReply::Changed(revision)) => name.zip(Some(*revision)),
                        _ => None,
                    };
                    let fetched = Box::new(Fetched { reply, found, answer });
                    inbox.send(Wake::Lasting { path, attempt, fetched, done: recorded });
                    let outcome = is_recorded.await.unwrap_or_else(|_| Err(Fault::cancelled()));
                    if let (Err(_), Some((call, revision)), Some(open)) = (&outcome, made, &mut self.open) {
                        open.insert(call, revision);
                    }
                    let _ = done.send(outcome);
                }
            }
        }
    }

    async fn fetch(
        &mut self,
        (own, access): (&Arc<str>, &MemoryAccess),
        (made, name): (Option<u64>, Option<Arc<str>>),
        request: MemoryRequest,
    ) -> Result<(MemoryReply, Found), Fault> {
        let may = |namespace: &str| access.reads(own, namespace);
        match request {
            MemoryRequest::Read { namespace, key } => {
                let namespace: Arc<str> = namespace.map_or_else(|| Arc::clone(own), Into::into);
                if !may(&namespace) {
                    return Err(denied(own, &format!("may not read what `{namespace}` wrote")));
                }
                let found = self.memory.get(&namespace, &key).await?;
                let entry = found
                    .as_ref()
                    .map(|found| MemoryEntry { value: Arc::clone(&found.value), revision: found.revision });
                Ok((MemoryReply::Entry(entry), Found::One(namespace, key.into(), found)))
            }
            MemoryRequest::List { namespace } => {
                let found = self.memory.list(namespace.as_deref()).await?;
                let items = found.iter().filter(|entry| may(&entry.namespace)).map(item).collect();
                Ok((MemoryReply::Items(items), Found::All(namespace.map(Into::into), found)))
            }
            MemoryRequest::Change(_) if !access.write => Err(denied(own, "may not write")),
            MemoryRequest::Change(change) => match made {
                Some(revision) => Ok((MemoryReply::Changed(revision), Found::Nothing)),
                None => self.change(own, name, change).await,
            },
        }
    }

    async fn change(
        &mut self,
        own: &Arc<str>,
        name: Option<Arc<str>>,
        mut change: MemoryChange,
    ) -> Result<(MemoryReply, Found), Fault> {
        // What is redacted when it is recorded must not stand in the store either.
        let mut value = change.value.take().map(Arc::new);
        if let Some(value) = &mut value {
            redact_value(&*self.redactor, value);
        }
        change.value = value.as_deref().cloned();
        let call = std::mem::replace(&mut change.call, name);
        let revision = match self.unrecorded(own, &change).await? {
            Some((revision, there)) => {
                // Made again it may want another value, and changes nothing more.
                value = value.map(|value| there.unwrap_or(value));
                revision
            }
            None => {
                let mark = self.mark_with(change.call.as_ref());
                self.memory.change((&self.run, &mark), own, &change).await?
            }
        };
        let (namespace, key) = (Arc::clone(own), change.key.into());
        let revision_there = Some(revision);
        let body = match value {
            Some(value) => Body::MemoryWritten { namespace, key, value, call, revision: revision_there },
            None => Body::MemoryDeleted { namespace, key, call, revision: revision_there },
        };
        Ok((MemoryReply::Changed(revision), Found::Changed(body)))
    }
}

impl Messenger {
    /// The change that the same call has made and that is not recorded: its revision, and the value that it put there. Of a call that
    /// is recorded nobody asks here, and one of a step that began anew since has another name: what else a mark has is of no account.
    async fn unrecorded(&mut self, own: &str, change: &MemoryChange) -> Result<Option<Unrecorded>, Fault> {
        let open = match self.open.take() {
            Some(open) => self.open.insert(open),
            None => {
                let (mark, revision) = self.memory.mark(&self.run).await?;
                self.open.insert(mark.calls.into_iter().map(|call| (call, revision)).collect())
            }
        };
        let Some(call) = &change.call else { return Ok(None) };
        // Where somebody has written since, it has a revision that no entry has any more.
        let Some(revision) = open.get(call).copied() else { return Ok(None) };
        let found = self.memory.made(&self.run, (own, &change.key), call).await?;
        open.remove(call);
        Ok(Some(found.map_or((revision, None), |(revision, value)| (revision, Some(value)))))
    }

    /// What is left beside a change: its call, and those that are still open.
    fn mark_with(&self, call: Option<&Arc<str>>) -> Mark {
        let open = self.open.iter().flat_map(BTreeMap::keys);
        Mark { calls: call.into_iter().chain(open).take(limits::MEMORY_CALLS).cloned().collect() }
    }
}

fn item(entry: &LastingEntry) -> MemoryItem {
    MemoryItem {
        namespace: Arc::clone(&entry.namespace),
        key: Arc::clone(&entry.key),
        bytes: value::size(&entry.value),
        revision: entry.revision,
    }
}

impl Run {
    /// Opens the way to the memory that the run shares with others, if it does.
    pub(super) fn open_lasting(&mut self) {
        let is_shared = self.request.workflow.options.memory_scope == MemoryScope::Shared;
        let Some(state) = self.ports.shared_memory.as_ref().filter(|_| is_shared) else { return };
        let memory = LastingMemory::new(Arc::clone(state));
        let of_run = (self.request.run_id.clone(), self.inbox.clone());
        let (lasting, work) = Lasting::new(memory, of_run, self.ports.gateway.shared_redactor());
        self.tasks.spawn(work);
        self.lasting = Some(lasting);
    }

    /// What the run begins with: all that is there and not as it knows it.
    ///
    /// # Errors
    /// When the memory cannot be read: a run without it would not be the same.
    pub(super) async fn look_at_lasting(&self) -> Result<Vec<Body>, Error> {
        let Some(lasting) = &self.lasting else { return Ok(Vec::new()) };
        let found = lasting.memory.list(None).await.map_err(|fault| Error::Refused(vec![fault]))?;
        Ok(differences(self.machine.memory(), Found::All(None, found)))
    }

    /// Records what came of a request, where the step is still at work.
    pub(super) fn take_fetched(
        &mut self,
        (path, attempt): (StepPath, Option<u32>),
        fetched: Fetched,
        done: oneshot::Sender<Result<(), Fault>>,
        pass: &mut Pass,
    ) {
        if !self.machine.admits(&path, attempt) {
            return drop(done.send(Err(Fault::cancelled())));
        }
        let Fetched { reply, found, answer } = fetched;
        let _ = answer.send(reply);
        let bodies = differences(self.machine.memory(), found);
        if bodies.is_empty() {
            return drop(done.send(Ok(())));
        }
        pass.queue.extend(bodies.into_iter().map(|body| Emission { path: path.clone(), attempt, body }));
        pass.waiting.push(done);
    }

    /// Forgets which change was the last: a run that is completed makes none of them again.
    pub(super) async fn settle_lasting(&self) -> Option<String> {
        let lasting = self.lasting.as_ref().filter(|_| self.machine.ended_as() == Some(RunStatus::Completed))?;
        lasting.memory.settle(&self.request.run_id).await.err().map(|fault| fault.message)
    }
}

/// The events that make a picture of the memory what was found.
fn differences(known: &Memory, found: Found) -> Vec<Body> {
    let entries = match found {
        Found::Nothing => return Vec::new(),
        Found::Changed(body) => return vec![body],
        Found::One(namespace, key, found) => match (found, known.get(&namespace, &key)) {
            (Some(found), _) => vec![seen(found)],
            (None, Some(_)) => vec![SeenEntry { namespace, key, value: None, revision: 0 }],
            (None, None) => Vec::new(),
        },
        Found::All(within, found) => {
            let there: BTreeSet<(&str, &str)> = found.iter().map(|entry| (&*entry.namespace, &*entry.key)).collect();
            let looked = |namespace: &str| within.as_deref().is_none_or(|within| within == namespace);
            let gone = known.list(looked).into_iter().filter(|item| !there.contains(&(&*item.namespace, &*item.key)));
            let gone =
                gone.map(|item| SeenEntry { namespace: item.namespace, key: item.key, value: None, revision: 0 });
            let gone: Vec<SeenEntry> = gone.collect();
            gone.into_iter().chain(found.into_iter().map(seen)).collect()
        }
    };
    let is_new = |entry: &SeenEntry| {
        let known = known.get(&entry.namespace, &entry.key).map_or(0, |known| known.revision);
        known != entry.revision
    };
    chunks(entries.into_iter().filter(is_new))
}

fn seen(entry: LastingEntry) -> SeenEntry {
    let LastingEntry { namespace, key, value, revision, .. } = entry;
    SeenEntry { namespace, key, value: Some(value), revision }
}

/// Events that are not too large, each with at least one entry.
fn chunks(entries: impl Iterator<Item = SeenEntry>) -> Vec<Body> {
    let (mut bodies, mut chunk, mut bytes) = (Vec::new(), Vec::new(), 0);
    for entry in entries {
        let size = entry.value.as_deref().map_or(0, value::size) + entry.key.len();
        if bytes + size > limits::MEMORY_SEEN_BYTES && !chunk.is_empty() {
            bodies.push(std::mem::take(&mut chunk));
            bytes = 0;
        }
        bytes += size;
        chunk.push(entry);
    }
    bodies.extend(Some(chunk).filter(|chunk| !chunk.is_empty()));
    bodies.into_iter().map(|entries| Body::MemorySeen(Seen { entries: Arc::new(entries) })).collect()
}
