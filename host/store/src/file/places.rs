//! Where the files of a store are, and what a run's file is called.
//!
//! It must not touch them.

use cofferdam_core::id::RunId;
use std::path::{Path, PathBuf};

/// The ending of a run's file.
const ENDING: &str = ".jsonl";

/// Goes before what was an upper-case letter: names that differ stay different where letters of both cases are one.
const UPPER: char = '+';

/// The directory of a store.
#[derive(Clone, Debug)]
pub(super) struct Places {
    root: PathBuf,
}

impl Places {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn run(&self, run: &RunId) -> PathBuf {
        self.root.join(format!("{}{ENDING}", name_of(run)))
    }

    pub(super) fn leases(&self) -> PathBuf {
        self.root.join("leases")
    }

    pub(super) fn lease(&self, run: &RunId) -> PathBuf {
        self.leases().join(format!("{}.json", name_of(run)))
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }
}

/// A run as part of a file name.
pub(super) fn name_of(run: &RunId) -> String {
    let mut name = String::new();
    for letter in run.as_str().chars() {
        if letter.is_ascii_uppercase() {
            name.push(UPPER);
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// The run of a name that is a run's; none for any other.
pub(super) fn run_of(name: &str) -> Option<RunId> {
    let mut id = String::new();
    let mut letters = name.chars();
    while let Some(letter) = letters.next() {
        match letter {
            UPPER => id.push(letters.next().filter(char::is_ascii_lowercase)?.to_ascii_uppercase()),
            letter if letter.is_ascii_uppercase() => return None,
            letter => id.push(letter),
        }
    }
    RunId::parse(&id).ok()
}

/// The run whose file has this name; none when it is no file of a run.
pub(super) fn run_of_file(name: &str) -> Option<RunId> {
    run_of(name.strip_suffix(ENDING)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_runs_and_their_files_say_the_same() {
        for id in ["a", "A", "aB-c_9", "0198c0de-7d2f-7c3a-9a51-2f6f6d1f0c11", &"Z".repeat(64)] {
            let run = RunId::parse(id).unwrap();
            let name = name_of(&run);
            assert!(name == name.to_lowercase() && name.len() <= 128, "{name}");
            assert_eq!(run_of(&name), Some(run.clone()));
            let path = Places::new("d".into()).run(&run);
            assert_eq!(run_of_file(path.file_name().unwrap().to_str().unwrap()), Some(run));
        }
        for other in ["", "+", "A", "++a", "+1", "a.b", "lock", ".gitignore", "a.jsonl.new"] {
            assert_eq!(run_of_file(other), None, "{other}");
        }
        assert_eq!(run_of("+"), None);
    }
}
