//! The table `[exec]`: what commands that models run may reach. Whether they may run is a rule.

use super::code::TYPE;
use super::file::File;
use super::reader::{Entry, Reader};
use std::path::PathBuf;

/// What commands may reach besides the directories of their step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exec {
    pub(crate) read: Vec<PathBuf>,
    pub(crate) write: Vec<PathBuf>,
    /// Names of variables that are passed on.
    pub(crate) env: Vec<String>,
    pub(crate) network: bool,
}

impl Exec {
    /// What either allows.
    pub(crate) fn union(mut self, other: Self) -> Self {
        self.read.extend(other.read);
        self.write.extend(other.write);
        self.env.extend(other.env);
        self.network |= other.network;
        self
    }
}

impl Reader<'_> {
    pub(super) fn exec(&mut self, table: Entry<'_, '_>, file: &mut File) {
        for entry in self.entries(table) {
            match entry.0 {
                "read" => file.exec.read = self.paths(entry),
                "write" => file.exec.write = self.paths(entry),
                "env" => file.exec.env = self.list_of(entry, "exec.env", "CARGO_HOME"),
                "network" => file.exec.network = self.switch(entry),
                _ => self.unknown(entry, "exec", &["read", "write", "env", "network"]),
            }
        }
    }

    /// Paths: absolute, or in the user's home.
    fn paths(&mut self, entry: Entry<'_, '_>) -> Vec<PathBuf> {
        let home = crate::environment::path("HOME");
        let mut paths = Vec::new();
        for text in self.list_of(entry, "exec", "~/.cargo") {
            let path = match (text.strip_prefix("~/"), &home) {
                (Some(rest), Some(home)) => home.join(rest),
                _ => PathBuf::from(&text),
            };
            if path.is_absolute() {
                paths.push(path);
            } else {
                let hint = Some("write `/opt/data` or `~/.cargo`".to_owned());
                self.find(TYPE, (entry.1, entry.0), format!("`{text}` is not an absolute path"), hint);
            }
        }
        paths
    }
}
