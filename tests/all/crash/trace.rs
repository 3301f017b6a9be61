//! What a process did to its files, in order, as the layer below it noted it.
//!
//! It must not know what a power cut leaves of it.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// One thing that was done. Files have numbers that none shares with one before it.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Folder(PathBuf),
    Make(usize, PathBuf),
    Length(usize, usize),
    Write(usize, usize, Vec<u8>),
    Rename(PathBuf, PathBuf),
    Link(PathBuf, PathBuf),
    Unlink(PathBuf),
    Flush(usize),
    /// The names in a folder are flushed.
    FlushNames(PathBuf),
    /// Somebody outside was told something.
    Mark(Vec<u8>),
    /// The layer refused a call, or took a part.
    Fault,
}

/// Reads a trace of a process that found the folder empty.
pub(super) fn parse(trace: &[u8], root: &Path) -> Vec<Op> {
    let mut reader = Reader { rest: trace, files: HashMap::new(), count: 0, folders: BTreeSet::new() };
    reader.folders.insert(root.to_owned());
    let mut ops = Vec::new();
    while let Some(op) = reader.next() {
        ops.push(op);
    }
    ops
}

struct Reader<'a> {
    rest: &'a [u8],
    /// Files by the numbers that the system gives them, some of them more than once.
    files: HashMap<u64, usize>,
    count: usize,
    folders: BTreeSet<PathBuf>,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<Op> {
        let end = self.rest.iter().position(|byte| *byte == b'\n')?;
        let line = self.rest[..end].to_vec();
        self.rest = &self.rest[end + 1..];
        let space = line.iter().position(|byte| *byte == b' ').unwrap();
        let (word, arguments) = (std::str::from_utf8(&line[..space]).unwrap(), &line[space + 1..]);
        Some(match word {
            "folder" => {
                self.folders.insert(path(arguments));
                Op::Folder(path(arguments))
            }
            "rename" => two(arguments, Op::Rename),
            "link" => two(arguments, Op::Link),
            "fault" => Op::Fault,
            "unlink" => Op::Unlink(path(arguments)),
            "mark" => Op::Mark(self.bytes(numbers(arguments)[0])),
            "length" => {
                let numbers = numbers(arguments);
                Op::Length(self.file(numbers[0]), numbers[1])
            }
            "write" => {
                let numbers = numbers(arguments);
                Op::Write(self.file(numbers[0]), numbers[1], self.bytes(numbers[2]))
            }
            "make" => {
                let (number, path) = number_and_path(arguments);
                self.count += 1;
                self.files.insert(number as u64, self.count);
                Op::Make(self.count, path)
            }
            "sync" => match number_and_path(arguments) {
                (_, path) if self.folders.contains(&path) => Op::FlushNames(path),
                (number, _) => Op::Flush(self.file(number)),
            },
            other => panic!("no trace has the word `{other}`"),
        })
    }

    fn file(&self, number: usize) -> usize {
        self.files[&(number as u64)]
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let (bytes, rest) = self.rest.split_at(length);
        self.rest = rest;
        bytes.to_vec()
    }
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

fn two(arguments: &[u8], op: fn(PathBuf, PathBuf) -> Op) -> Op {
    let tab = arguments.iter().position(|byte| *byte == b'\t').unwrap();
    op(path(&arguments[..tab]), path(&arguments[tab + 1..]))
}

fn numbers(arguments: &[u8]) -> Vec<usize> {
    std::str::from_utf8(arguments).unwrap().split(' ').map(|number| number.parse().unwrap()).collect()
}

fn number_and_path(arguments: &[u8]) -> (usize, PathBuf) {
    let space = arguments.iter().position(|byte| *byte == b' ').unwrap();
    (numbers(&arguments[..space])[0], path(&arguments[space + 1..]))
}
