//! The shared memory of a run: entries by key, in a namespace for each agent.
//!
//! It is a fold of the run's events. Each change has a revision, so that a writer can say which state it has seen. Of a memory that
//! outlives the run it is a picture: what the run has read and changed of it.

use crate::fault::Fault;
use crate::id::{StepPath, ToolName};
use crate::{limits, value};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// The tool that writes an entry.
pub const WRITE: &str = "memory_write";
/// The tool that reads an entry.
pub const READ: &str = "memory_read";
/// The tool that lists entries.
pub const LIST: &str = "memory_list";
/// The tool that removes an entry.
pub const DELETE: &str = "memory_delete";

/// The namespace of steps without an agent: tools and code that a document names.
pub const OF_WORKFLOW: &str = "workflow";
/// The namespace of the agent that works where a step names none.
pub const OF_DEFAULT: &str = "default";
/// The namespace of the coordinator.
pub const OF_COORDINATOR: &str = "coordinator";

/// Whether a tool is one of the shared memory.
#[must_use]
pub fn is_tool(tool: &ToolName) -> bool {
    tool.alias().is_none() && is_tool_name(tool.local().as_str())
}

/// Whether a name is one of the tools of the shared memory.
#[must_use]
pub fn is_tool_name(name: &str) -> bool {
    reads(name) || [WRITE, DELETE].contains(&name)
}

/// Whether the tool of that name only reads.
#[must_use]
pub fn reads(name: &str) -> bool {
    [READ, LIST].contains(&name)
}

/// Which runs share a memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemoryScope {
    /// One run has it for itself, and it ends with that.
    #[default]
    Run,
    /// All runs that say so, where their host keeps it.
    Shared,
}

/// What an agent may do with the shared memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryAccess {
    /// Whose entries it may read. Its own it may read whenever it may read any.
    pub read: MemoryReading,
    /// Whether it may write and remove entries of its own.
    pub write: bool,
}

/// Whose entries an agent may read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MemoryReading {
    /// Nobody's.
    #[default]
    Nothing,
    /// Everybody's.
    All,
    /// Those of these agents, and its own.
    Of(Vec<Arc<str>>),
}

impl MemoryAccess {
    /// What code and documents may do: everything.
    pub const ALL: Self = Self { read: MemoryReading::All, write: true };

    /// Whether the owner of a namespace may read another, or its own.
    #[must_use]
    pub fn reads(&self, own: &str, namespace: &str) -> bool {
        match &self.read {
            MemoryReading::Nothing => false,
            MemoryReading::All => true,
            MemoryReading::Of(names) => own == namespace || names.iter().any(|name| **name == *namespace),
        }
    }

    /// Whether an agent is offered the tool of this name.
    #[must_use]
    pub fn offers(&self, tool: &str) -> bool {
        if reads(tool) { self.read != MemoryReading::Nothing } else { self.write }
    }
}

/// What stands under a key.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryEntry {
    /// The value; never null.
    pub value: Arc<Value>,
    /// Which change of the memory put it there, from 1.
    pub revision: u64,
}

/// An entry in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryItem {
    /// Whose it is.
    pub namespace: Arc<str>,
    /// Its key.
    pub key: Arc<str>,
    /// About the size of its value as JSON, in bytes.
    pub bytes: usize,
    /// Which change of the memory put it there.
    pub revision: u64,
}

/// A change that somebody wants.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryChange {
    /// The key.
    pub key: String,
    /// The new value; none removes the entry.
    pub value: Option<Value>,
    /// The revision that the entry must have, 0 for none; none of it = whatever is there.
    pub expected: Option<u64>,
    /// The same for a repetition of the same call, which changes nothing more.
    pub call: Option<Arc<str>>,
}

type Namespace = BTreeMap<Arc<str>, MemoryEntry>;

/// All entries. A copy shares the namespaces that nobody changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    namespaces: BTreeMap<Arc<str>, Arc<Namespace>>,
    entries: usize,
    bytes: usize,
    revision: u64,
}

impl Memory {
    /// What stands under a key.
    #[must_use]
    pub fn get(&self, namespace: &str, key: &str) -> Option<&MemoryEntry> {
        self.namespaces.get(namespace)?.get(key)
    }

    /// All entries that `may` be seen by their namespace, in order.
    #[must_use]
    pub fn list(&self, may: impl Fn(&str) -> bool) -> Vec<MemoryItem> {
        let seen = self.namespaces.iter().filter(|(namespace, _)| may(namespace));
        let entries = seen.flat_map(|(namespace, own)| own.iter().map(move |(key, entry)| (namespace, key, entry)));
        entries
            .map(|(namespace, key, entry)| MemoryItem {
                namespace: Arc::clone(namespace),
                key: Arc::clone(key),
                bytes: value::size(&entry.value),
                revision: entry.revision,
            })
            .collect()
    }

    /// What expressions read of a namespace: these keys, or all.
    #[must_use]
    pub fn view(&self, namespace: &str, keys: Option<&BTreeSet<&str>>) -> value::Map {
        let own = self.namespaces.get(namespace).into_iter().flat_map(|own| own.iter());
        let read = own.filter(|(key, _)| keys.is_none_or(|keys| keys.contains(&***key)));
        read.map(|(key, entry)| (key.to_string(), (*entry.value).clone())).collect()
    }

    /// The names of all namespaces that have an entry.
    pub fn namespaces(&self) -> impl Iterator<Item = &Arc<str>> {
        self.namespaces.keys()
    }

    /// The revision of the next change.
    #[must_use]
    pub fn next_revision(&self) -> u64 {
        self.revision + 1
    }

    /// Checks a change of an entry in a namespace.
    ///
    /// # Errors
    /// `memory_conflict` when the entry is not as expected; `invalid_memory_key`, `memory_value_too_large`,
    /// `memory_full` when it may not stand there; `unknown_memory_key` when there is nothing to remove.
    pub fn check(&self, namespace: &str, change: &MemoryChange) -> Result<(), Fault> {
        let MemoryChange { key, value, expected, .. } = change;
        check_entry(key, value.as_ref())?;
        let found = self.get(namespace, key);
        let revision = found.map_or(0, |entry| entry.revision);
        if let Some(expected) = expected.filter(|expected| *expected != revision) {
            return Err(conflict((namespace, key), expected, revision));
        }
        match (value, found) {
            (None, None) => Err(unknown_key(namespace, key)),
            (None, Some(_)) => Ok(()),
            (Some(value), found) => self.check_room(key, value, found),
        }
    }

    fn check_room(&self, key: &str, value: &Value, found: Option<&MemoryEntry>) -> Result<(), Fault> {
        let bytes = value::size(value);
        let others = self.bytes - found.map_or(0, |entry| value::size(&entry.value));
        let full = match found {
            None if self.entries >= limits::MEMORY_KEYS => format!("has {} entries", limits::MEMORY_KEYS),
            _ if others + bytes > limits::MEMORY_BYTES => {
                format!("would have more than {} bytes", limits::MEMORY_BYTES)
            }
            _ => return Ok(()),
        };
        Err(no_room(key, &format!("the shared memory of the run {full}")))
    }

    /// Takes over a change that is recorded, or what was read of a memory that outlives the run; there it has the revision of
    /// that memory.
    pub(crate) fn apply(&mut self, (namespace, key): (&str, &str), value: Option<&Arc<Value>>, revision: Option<u64>) {
        let revision = revision.unwrap_or(self.revision + 1);
        self.revision = self.revision.max(revision);
        let own = Arc::make_mut(self.namespaces.entry(Arc::from(namespace)).or_default());
        let before = match value {
            Some(value) => {
                self.bytes += value::size(value);
                self.entries += 1;
                own.insert(Arc::from(key), MemoryEntry { value: Arc::clone(value), revision })
            }
            None => own.remove(key),
        };
        if own.is_empty() {
            self.namespaces.remove(namespace);
        }
        if let Some(before) = before {
            self.bytes -= value::size(&before.value);
            self.entries -= 1;
        }
    }
}

/// What changes came to that said by which call they were made: one that is made again changes nothing more.
#[derive(Clone, Debug, Default)]
pub struct MemoryCalls {
    /// With the steps that made them.
    revisions: BTreeMap<Arc<str>, (u64, StepPath)>,
    /// In the order in which they were made.
    order: VecDeque<Arc<str>>,
    /// How often a step began anew; only of runs whose memory outlives them.
    lives: BTreeMap<StepPath, u32>,
}

impl MemoryCalls {
    /// The revision of the change that a call has made; none when it has made none.
    #[must_use]
    pub fn made(&self, call: Option<&Arc<str>>) -> Option<u64> {
        call.and_then(|call| self.revisions.get(call)).map(|(revision, _)| *revision)
    }

    /// What a call is known by where a memory outlives the run: one that is made again once its step, or one around it, has begun
    /// anew is another one, whatever became of the first.
    #[must_use]
    pub fn name_of(&self, call: &Arc<str>, step: &StepPath) -> Arc<str> {
        let lives: u32 = step.step().upwards().filter_map(|step| self.lives.get(&step)).sum();
        if lives == 0 { Arc::clone(call) } else { format!("{call}~{lives}").into() }
    }

    /// A step begins anew where a memory outlives the run.
    pub(crate) fn begin_anew(&mut self, step: &StepPath) {
        *self.lives.entry(step.clone()).or_default() += 1;
    }

    /// A step begins anew, and all within it: what they call then is another call.
    pub(crate) fn forget(&mut self, step: &StepPath) {
        self.revisions.retain(|_, (_, path)| !step.holds(path));
        self.order.retain(|call| self.revisions.contains_key(call));
    }

    pub(crate) fn note(&mut self, call: &Arc<str>, revision: u64, step: &StepPath) {
        if self.revisions.insert(Arc::clone(call), (revision, step.clone())).is_none() {
            self.order.push_back(Arc::clone(call));
        }
        if self.order.len() > limits::MEMORY_CALLS
            && let Some(oldest) = self.order.pop_front()
        {
            self.revisions.remove(&oldest);
        }
    }
}

/// Checks an entry by itself: its key, and the value that it is to have.
///
/// # Errors
/// `invalid_memory_key`, `invalid_memory_value`, `memory_value_too_large`.
pub fn check_entry(key: &str, value: Option<&Value>) -> Result<(), Fault> {
    check_key(key)?;
    let Some(value) = value else { return Ok(()) };
    if value.is_null() {
        let message = format!("the value of `{key}` is null");
        return Err(Fault::step("invalid_memory_value", message).with_hint("`memory_delete` removes an entry"));
    }
    value::check_depth(value)
        .map_err(|error| Fault::step("invalid_memory_value", format!("the value of `{key}`: {error}")))?;
    let (bytes, most) = (value::size(value), limits::MEMORY_VALUE_BYTES);
    if bytes > most {
        let message = format!("the value of `{key}` has {bytes} bytes, more than the limit of {most}");
        return Err(Fault::step("memory_value_too_large", message)
            .with_hint("write large data to a file, `out:NAME`, and keep its name"));
    }
    Ok(())
}

/// An entry has another revision than the writer has seen; 0 is that of one that is not there.
#[must_use]
pub fn conflict((namespace, key): (&str, &str), expected: u64, found: u64) -> Fault {
    let is = if found == 0 { "is not there".to_owned() } else { format!("has revision {found}") };
    let message = format!("`{key}` of `{namespace}` {is}, and revision {expected} was expected");
    Fault::step("memory_conflict", message).with_hint("read it again, and write with what you read")
}

/// There is nothing to remove.
#[must_use]
pub fn unknown_key(namespace: &str, key: &str) -> Fault {
    let message = format!("`{namespace}` has no entry `{key}`");
    Fault::step("unknown_memory_key", message).with_hint("`memory_list` shows what there is")
}

/// There is no room for an entry.
#[must_use]
pub fn no_room(key: &str, why: &str) -> Fault {
    Fault::step("memory_full", format!("`{key}` does not fit: {why}"))
        .with_hint("remove what is not needed any more: `memory_delete`")
}

/// Checks the key of an entry.
///
/// # Errors
/// `invalid_memory_key` when it is empty, too long, or has other characters than those of names and paths.
fn check_key(key: &str) -> Result<(), Fault> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:".contains(&byte);
    if !key.is_empty() && key.len() <= limits::MEMORY_KEY_BYTES && key.bytes().all(good) {
        return Ok(());
    }
    let shown: String = key.chars().take(80).collect();
    let message = format!(
        "`{}` cannot be a key: it needs 1 to {} letters, digits or `_-./:`",
        crate::text::escaped(&shown),
        limits::MEMORY_KEY_BYTES
    );
    Err(Fault::step("invalid_memory_key", message)
        .with_hint("keys of letters, digits and `_` are read as `memory.AGENT.KEY`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn put(memory: &mut Memory, namespace: &str, key: &str, value: &Value) {
        memory.apply((namespace, key), Some(&Arc::new(value.clone())), None);
    }

    fn change(key: &str, value: Option<Value>, expected: Option<u64>) -> MemoryChange {
        MemoryChange { key: key.to_owned(), value, expected, call: None }
    }

    #[test]
    fn a_writer_that_has_not_seen_the_last_change_is_told() {
        let mut memory = Memory::default();
        assert!(memory.check("a", &change("k", Some(json!(1)), Some(0))).is_ok());
        put(&mut memory, "a", "k", &json!(1));
        let conflict = |memory: &Memory, expected| memory.check("a", &change("k", Some(json!(2)), expected)).err();
        assert_eq!(conflict(&memory, Some(0)).unwrap().code, "memory_conflict");
        assert_eq!((conflict(&memory, Some(1)), conflict(&memory, None)), (None, None));
        put(&mut memory, "b", "k", &json!(1));
        put(&mut memory, "a", "k", &json!(3));
        assert_eq!(
            conflict(&memory, Some(1)).unwrap().message,
            "`k` of `a` has revision 3, and revision 1 was expected"
        );
    }

    #[test]
    fn only_so_much_fits() {
        let mut memory = Memory::default();
        for index in 0..limits::MEMORY_KEYS {
            put(&mut memory, "a", &format!("k{index}"), &json!(0));
        }
        let refused =
            |key: &str, value| memory.check("a", &change(key, Some(value), None)).err().map(|fault| fault.code);
        assert_eq!(refused("k0", json!(1)), None);
        assert_eq!(refused("more", json!(1)).as_deref(), Some("memory_full"));
        let large = json!("x".repeat(limits::MEMORY_VALUE_BYTES));
        assert_eq!(refused("k0", large).as_deref(), Some("memory_value_too_large"));
        for bad in ["", "a b", "ä", &"k".repeat(limits::MEMORY_KEY_BYTES + 1)] {
            assert_eq!(refused(bad, json!(1)).as_deref(), Some("invalid_memory_key"), "{bad}");
        }
        let mut full = Memory::default();
        let half = json!("x".repeat(limits::MEMORY_VALUE_BYTES / 2));
        let mut count = 0;
        while full.check("a", &change(&format!("k{count}"), Some(half.clone()), None)).is_ok() {
            put(&mut full, "a", &format!("k{count}"), &half);
            count += 1;
        }
        assert!(full.bytes <= limits::MEMORY_BYTES && count * half.to_string().len() > limits::MEMORY_BYTES / 2);
        assert!(full.check("a", &change("k0", Some(half), None)).is_ok(), "in the place of another it fits");
    }

    #[test]
    fn an_agent_reads_whom_it_may_and_itself() {
        let of = |read| MemoryAccess { read, write: false };
        assert!(!of(MemoryReading::Nothing).reads("a", "a"));
        assert!(of(MemoryReading::All).reads("a", "b"));
        let some = of(MemoryReading::Of(vec!["b".into()]));
        assert_eq!(["a", "b", "c"].map(|namespace| some.reads("a", namespace)), [true, true, false]);
        assert!(some.offers(READ) && !some.offers(WRITE));
    }

    #[test]
    fn the_last_calls_are_known() {
        let mut calls = MemoryCalls::default();
        let call = |number: usize| Arc::from(format!("c{number}"));
        (0..=limits::MEMORY_CALLS).for_each(|number| calls.note(&call(number), number as u64 + 1, &StepPath::ROOT));
        assert_eq!((calls.made(Some(&call(0))), calls.made(Some(&call(1))), calls.made(None)), (None, Some(2), None));
    }

    #[test]
    fn a_call_of_a_step_that_began_anew_has_another_name() {
        let (mut calls, call) = (MemoryCalls::default(), Arc::from("c"));
        let name = |calls: &MemoryCalls, path: &str| calls.name_of(&call, &path.into()).to_string();
        ["g", "g.a", "g.a", "h"].into_iter().for_each(|step| calls.begin_anew(&step.into()));
        let names = ["g.a", "g.a@1", "g.b[2].c", "g", "ga", ""].map(|path| name(&calls, path));
        assert_eq!(names, ["c~3", "c~3", "c~1", "c~1", "c", "c"]);
    }

    #[test]
    fn a_reader_sees_the_keys_that_it_names() {
        let mut memory = Memory::default();
        ["a", "b"].into_iter().for_each(|key| put(&mut memory, "n", key, &json!(1)));
        assert_eq!(memory.view("n", Some(&BTreeSet::from(["b", "c"]))).keys().collect::<Vec<_>>(), ["b"]);
        assert!(memory.view("m", None).is_empty());
    }

    proptest! {
        #[test]
        fn what_is_counted_is_what_is_there(changes in prop::collection::vec((0..3_u8, 0..4_u8, prop::option::of(0..9_999_u32)), 0..60)) {
            let mut memory = Memory::default();
            let mut model: BTreeMap<(String, String), (u32, u64)> = BTreeMap::new();
            for (at, (namespace, key, value)) in (1..).zip(changes) {
                let name = (format!("n{namespace}"), format!("k{key}"));
                memory.apply((&name.0, &name.1), value.map(|value| Arc::new(json!(value))).as_ref(), None);
                match value {
                    Some(value) => drop(model.insert(name, (value, at))),
                    None => drop(model.remove(&name)),
                }
            }
            let bytes: usize = model.values().map(|(value, _)| value::size(&json!(value))).sum();
            prop_assert_eq!(memory.bytes, bytes);
            for ((namespace, key), (value, revision)) in &model {
                let entry = memory.get(namespace, key).unwrap();
                prop_assert_eq!((&*entry.value, entry.revision), (&json!(value), *revision));
                prop_assert_eq!(memory.view(namespace, None).get(key).cloned(), Some(json!(value)));
            }
            prop_assert_eq!(memory.list(|_| true).len(), model.len());
        }
    }
}
