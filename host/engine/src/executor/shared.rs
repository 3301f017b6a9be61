//! The shared memory of the run as its steps use it: read at once, changed by an event.

use super::lasting::Errand;
use super::run::{Pass, Run};
use cofferdam_core::event::Body;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::memory::{Memory, MemoryAccess, MemoryChange};
use cofferdam_core::port::{MemoryReply, MemoryRequest};
use cofferdam_core::run::{Emission, Machine};
use std::sync::Arc;
use tokio::sync::oneshot;

/// What is asked, and who waits for what comes of it.
#[derive(Debug)]
pub(crate) struct MemoryAsked {
    pub(crate) request: MemoryRequest,
    /// Takes what comes of it, once it is recorded.
    pub(crate) reply: oneshot::Sender<MemoryReply>,
    /// Says when it is recorded, or why it is not done.
    pub(crate) done: oneshot::Sender<Result<(), Fault>>,
}

impl Run {
    /// Reads or changes the shared memory for the code at `path`.
    pub(super) fn share(&mut self, path: StepPath, attempt: Option<u32>, asked: MemoryAsked, pass: &mut Pass) {
        if !self.machine.admits(&path, attempt) {
            return drop(asked.done.send(Err(Fault::cancelled())));
        }
        if let Some(lasting) = &self.lasting {
            let (own, access) = self.machine.memory_rights(&path);
            let calls = self.machine.memory_calls();
            let call = match &asked.request {
                MemoryRequest::Change(change) => change.call.as_ref(),
                _ => None,
            };
            let (made, name) = (calls.made(call), call.map(|call| calls.name_of(call, &path)));
            return lasting.ask(Errand { path, attempt, own, access, made, name, asked });
        }
        let MemoryAsked { request, reply, done } = asked;
        let (answer, body) = match recall(&self.machine, &path, request) {
            Ok(found) => found,
            Err(fault) => return drop(done.send(Err(fault))),
        };
        let _ = reply.send(answer);
        match body {
            None => drop(done.send(Ok(()))),
            Some(body) => {
                pass.queue.push_back(Emission { path, attempt, body });
                pass.waiting.push(done);
            }
        }
    }
}

/// What comes of a request, and the event that makes the change.
///
/// # Errors
/// `memory_denied`, and what [`Memory::check`] says.
pub(crate) fn recall(
    machine: &Machine,
    path: &StepPath,
    request: MemoryRequest,
) -> Result<(MemoryReply, Option<Body>), Fault> {
    let (own, access) = machine.memory_rights(path);
    let memory = machine.memory();
    let may = |namespace: &str| access.reads(&own, namespace);
    match request {
        MemoryRequest::Read { namespace, key } => {
            let namespace = namespace.as_deref().unwrap_or(&own);
            if !may(namespace) {
                return Err(denied(&own, &format!("may not read what `{namespace}` wrote")));
            }
            Ok((MemoryReply::Entry(memory.get(namespace, &key).cloned()), None))
        }
        MemoryRequest::List { namespace } => {
            let wanted = |name: &str| may(name) && namespace.as_deref().is_none_or(|wanted| wanted == name);
            Ok((MemoryReply::Items(memory.list(wanted)), None))
        }
        MemoryRequest::Change(change) => match machine.memory_calls().made(change.call.as_ref()) {
            Some(revision) if access.write => Ok((MemoryReply::Changed(revision), None)),
            _ => make(memory, (&own, &access), change),
        },
    }
}

fn make(
    memory: &Memory,
    (own, access): (&Arc<str>, &MemoryAccess),
    change: MemoryChange,
) -> Result<(MemoryReply, Option<Body>), Fault> {
    if !access.write {
        return Err(denied(own, "may not write"));
    }
    memory.check(own, &change)?;
    let MemoryChange { key, value, call, .. } = change;
    let (namespace, key) = (Arc::clone(own), key.into());
    let body = match value {
        Some(value) => Body::MemoryWritten { namespace, key, value: Arc::new(value), call, revision: None },
        None => Body::MemoryDeleted { namespace, key, call, revision: None },
    };
    Ok((MemoryReply::Changed(memory.next_revision()), Some(body)))
}

pub(crate) fn denied(own: &str, what: &str) -> Fault {
    Fault::step("memory_denied", format!("the agent `{own}` {what} in the shared memory"))
        .with_hint("`memory` of the agent says what it may read and write")
}
