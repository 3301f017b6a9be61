//! What a power cut leaves of a disk: all that was flushed, and of the rest any part in any order.
//!
//! Bytes are lost or kept by sectors, names one by one. A folder whose name is lost is lost with what is in it. What was
//! marked happened outside, and stays. It must not know what the files mean.

use super::trace::Op;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The unit in which a disk takes bytes.
const SECTOR: usize = 512;

/// Whether flushes do what they promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushes {
    Kept,
    Ignored,
}

/// A disk in the middle of its work.
pub(super) struct Disk {
    flushes: Flushes,
    files: BTreeMap<usize, Content>,
    names: BTreeMap<PathBuf, Node>,
    /// Changes of names that no flush has reached.
    open_names: Vec<Naming>,
    /// All that was marked.
    pub(super) marks: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Node {
    Folder,
    File(usize),
}

#[derive(Clone)]
enum Naming {
    New(PathBuf, Node),
    Rename(PathBuf, PathBuf),
    Link(PathBuf, PathBuf),
    Gone(PathBuf),
}

#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    /// Changes that no flush has reached.
    open: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    /// At most a sector.
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Naming {
    fn folder(&self) -> &Path {
        let (Self::New(path, _) | Self::Rename(_, path) | Self::Link(_, path) | Self::Gone(path)) = self;
        path.parent().unwrap()
    }

    /// Does it where that is possible: what it builds upon may be lost.
    fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
        match self {
            Self::New(path, node) => _ = names.insert(path.clone(), *node),
            Self::Gone(path) => _ = names.remove(path),
            Self::Rename(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
            Self::Link(from, to) => {
                if let Some(node) = names.get(from).copied() {
                    names.insert(to.clone(), node);
                }
            }
        }
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(length) => bytes.resize(*length, 0),
            Self::Write(offset, part) => {
                let end = offset + part.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*offset..end].copy_from_slice(part);
            }
        }
    }

    fn end(&self) -> usize {
        match self {
            Self::Length(length) => *length,
            Self::Write(offset, part) => offset + part.len(),
        }
    }
}

impl Disk {
    pub(super) fn new(flushes: Flushes) -> Self {
        let (files, names, open_names) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Self { flushes, files, names, open_names, marks: Vec::new() }
    }

    /// Lets it do the next thing.
    pub(super) fn go_on(&mut self, op: &Op) {
        match op {
            Op::Folder(path) => self.open_names.push(Naming::New(path.clone(), Node::Folder)),
            Op::Make(file, path) => {
                self.files.insert(*file, Content::default());
                self.open_names.push(Naming::New(path.clone(), Node::File(*file)));
            }
            Op::Rename(from, to) => self.open_names.push(Naming::Rename(from.clone(), to.clone())),
            Op::Link(from, to) => self.open_names.push(Naming::Link(from.clone(), to.clone())),
            Op::Unlink(path) => self.open_names.push(Naming::Gone(path.clone())),
            Op::Length(file, length) => self.file(*file).open.push(Change::Length(*length)),
            Op::Write(file, offset, bytes) => {
                let mut at = *offset;
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    let (part, left) = rest.split_at((SECTOR - at % SECTOR).min(rest.len()));
                    self.file(*file).open.push(Change::Write(at, part.to_vec()));
                    (at, rest) = (at + part.len(), left);
                }
            }
            Op::Mark(bytes) => self.marks.extend(bytes),
            Op::Fault => {}
            Op::Flush(_) | Op::FlushNames(_) if self.flushes == Flushes::Ignored => {}
            Op::Flush(file) => {
                let content = self.file(*file);
                content.open.drain(..).for_each(|change| change.apply(&mut content.bytes));
            }
            Op::FlushNames(folder) => {
                let (flushed, open): (Vec<_>, _) =
                    self.open_names.drain(..).partition(|naming| naming.folder() == folder);
                self.open_names = open;
                flushed.iter().for_each(|naming| naming.apply(&mut self.names));
            }
        }
    }

    fn file(&mut self, file: usize) -> &mut Content {
        self.files.get_mut(&file).unwrap()
    }

    /// Writes what is left if the power is cut now into an empty folder in place of `root`.
    pub(super) fn cut(&self, root: &Path, into: &Path, chance: &mut impl FnMut(u64) -> u64) {
        // Of eight open changes so many are kept.
        let kept = [0, 1, 4, 4, 7, 8][usize::try_from(chance(6)).unwrap()];
        let mut names = self.names.clone();
        for naming in &self.open_names {
            if chance(8) < kept {
                naming.apply(&mut names);
            }
        }
        for (path, node) in &names {
            let place = into.join(path.strip_prefix(root).unwrap());
            if !place.parent().unwrap().is_dir() {
                continue;
            }
            match node {
                Node::Folder => fs::create_dir(place).unwrap(),
                Node::File(file) => fs::write(place, self.files[file].cut(kept, chance)).unwrap(),
            }
        }
    }
}

impl Content {
    fn cut(&self, kept: u64, chance: &mut impl FnMut(u64) -> u64) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let mut left: Vec<&Change> = self.open.iter().filter(|_| chance(8) < kept).collect();
        // Half of the time the disk kept their order.
        let is_shuffled = chance(2) == 0;
        while !left.is_empty() {
            let next = if is_shuffled { usize::try_from(chance(left.len() as u64)).unwrap() } else { 0 };
            left.remove(next).apply(&mut bytes);
        }
        // The length may be there before the bytes are.
        if let Some(change) = self.open.last().filter(|_| chance(4) == 0) {
            bytes.resize(change.end().max(bytes.len()), 0);
        }
        bytes
    }
}
