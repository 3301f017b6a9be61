//! Which recordings there are, and which of them come next.
//!
//! It must not read files, and must not give one recording twice.

use std::collections::HashMap;

/// All recordings, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: Vec<Entry>,
    queues: HashMap<String, Queue>,
}

/// What is known of a recording without reading it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) key: String,
    pub(super) api: String,
    pub(super) provider: String,
    pub(super) model: String,
}

/// The recordings of equal requests.
#[derive(Debug, Default)]
struct Queue {
    entries: Vec<usize>,
    given: usize,
}

/// What there is for a request.
#[derive(Debug)]
pub(super) enum Found {
    /// The next recording, by its name.
    Next(String),
    /// So many were there, and all were given.
    UsedUp(usize),
    /// None was ever there.
    Nothing,
}

impl Index {
    /// The index of recordings in their order.
    pub(super) fn of(entries: Vec<Entry>) -> Self {
        let mut queues: HashMap<String, Queue> = HashMap::new();
        for (number, entry) in entries.iter().enumerate() {
            queues.entry(entry.key.clone()).or_default().entries.push(number);
        }
        Self { entries, queues }
    }

    /// Takes the next recording of a key: first in, first out.
    pub(super) fn take(&mut self, key: &str) -> Found {
        let Some(queue) = self.queues.get_mut(key) else {
            return Found::Nothing;
        };
        let next = queue.entries.get(queue.given).and_then(|number| self.entries.get(*number));
        match next {
            Some(entry) => {
                queue.given += 1;
                Found::Next(entry.name.clone())
            }
            None => Found::UsedUp(queue.entries.len()),
        }
    }

    /// All of them, in order.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Those that nobody took, in order.
    pub(super) fn unused(&self) -> Vec<&Entry> {
        let left = self.queues.values().flat_map(|queue| queue.entries.iter().skip(queue.given));
        let mut left: Vec<usize> = left.copied().collect();
        left.sort_unstable();
        left.into_iter().filter_map(|number| self.entries.get(number)).collect()
    }
}
