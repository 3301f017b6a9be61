//! Where the last whole append of a run's file ends, found from the end of the file.
//!
//! What an interrupted append left behind counts as nothing: complete lines that announce more, then perhaps a line
//! that has no end, then perhaps zeros. Anything else that cannot be read is damage. It must not read what lies
//! before the last whole append, unless to say where the damage is.

use super::fault::refused;
use super::line::{self, Frame, Row, Unsound};
use super::lock::{self, Kind};
use super::scan::Scan;
use cofferdam_core::id::RunId;
use cofferdam_core::limits;
use cofferdam_core::port::JournalError;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

/// How much is read at first; the last line of most appends is shorter.
const FIRST_READ: u64 = 4 * 1024;

/// Where the next append begins.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct End {
    /// The position of the last record; 0 when there is none.
    pub(super) head: u64,
    /// How many bytes the whole appends have.
    pub(super) bytes: u64,
    /// What listings show.
    pub(super) row: Row,
}

/// The end of what can be read, for readers: they have no lock, so that what looks like damage is looked at again
/// with one, when no writer is at work.
pub(super) fn find_unlocked(run: &RunId, path: &Path, file: &Arc<File>) -> Result<End, JournalError> {
    match find(run, path, file) {
        Err(JournalError::Damaged { .. }) => {
            let _lock = lock::take(file, Kind::Shared).map_err(|error| refused(path, &error))?;
            find(run, path, file)
        }
        found => found,
    }
}

/// The end of what can be read.
pub(super) fn find(run: &RunId, path: &Path, file: &File) -> Result<End, JournalError> {
    let length = file.metadata().map_err(|error| refused(path, &error))?.len();
    let mut size = FIRST_READ;
    loop {
        let begin = length.saturating_sub(size);
        let bytes = bytes_between(file, begin, length).map_err(|error| refused(path, &error))?;
        match look(run, &bytes, begin == 0) {
            Ok(Look::Whole(end)) => return Ok(End { bytes: begin.saturating_add(end.bytes), ..end }),
            Ok(Look::Nothing) => return Ok(End::default()),
            Ok(Look::More) => size = size.saturating_mul(8),
            Err(Unsound::TooNew(found)) => return Err(Unsound::TooNew(found).at(run, 0)),
            Err(unsound) => return Err(first_damage(run, path, file, unsound)),
        }
    }
}

enum Look {
    Whole(End),
    Nothing,
    /// What was read does not say.
    More,
}

fn look(run: &RunId, bytes: &[u8], is_whole_file: bool) -> Result<Look, Unsound> {
    let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
    let mut lines = Backwards { rest: bytes.get(..bytes.len() - zeros).unwrap_or_default(), is_whole_file };
    match lines.unfinished() {
        None => return check_length(bytes).map(|()| Look::More),
        Some(unfinished) => check_unfinished(run, unfinished)?,
    }
    let mut next: Option<Frame> = None;
    while let Some((text, bytes_before_end)) = lines.next()? {
        let frame = line::read(run, text)?.frame;
        if next.as_ref().is_some_and(|next| !goes_before(&frame, next)) {
            return Err(Unsound::Damaged("the lines behind it do not follow it"));
        }
        if let Some(row) = frame.row {
            return Ok(Look::Whole(End { head: frame.position, bytes: bytes_before_end, row }));
        }
        next = Some(frame);
    }
    if !is_whole_file {
        // A line may be long, and its end says enough: who reads its record sees whether it is sound.
        let frame = lines.rest.split_last().and_then(|(_, end)| line::read_end(run, end));
        let frame = frame.filter(|frame| next.as_ref().is_none_or(|next| goes_before(frame, next)));
        return match frame.map(|frame| (frame.position, frame.row)) {
            Some((head, Some(row))) => Ok(Look::Whole(End { head, bytes: lines.rest.len() as u64, row })),
            _ => check_length(bytes).map(|()| Look::More),
        };
    }
    match next {
        Some(first) if first.position != 1 => Err(Unsound::Damaged("the lines before it are missing")),
        _ => Ok(Look::Nothing),
    }
}

/// Whether a line may stand before one of an append that has no end.
fn goes_before(frame: &Frame, next: &Frame) -> bool {
    let is_dense = frame.position.checked_add(1) == Some(next.position);
    is_dense && (frame.left == 0 || frame.left == next.left.saturating_add(1))
}

/// A line without an end is what a write had come to, and not one whose end became something else.
fn check_unfinished(run: &RunId, line: &[u8]) -> Result<(), Unsound> {
    let begin = line::BEGIN.as_bytes();
    let begins_well = line.starts_with(begin) || begin.starts_with(line);
    let is_finished = line.split_last().is_some_and(|(_, line)| line::read(run, line).is_ok());
    if begins_well && !is_finished { Ok(()) } else { Err(Unsound::Damaged("it is no line of a journal")) }
}

/// No line is as long as this.
fn check_length(bytes: &[u8]) -> Result<(), Unsound> {
    let longest = bytes.split(|byte| *byte == b'\n').map(<[u8]>::len).max().unwrap_or(0);
    let most = limits::JOURNAL_RECORD_BYTES + 2 * limits::FILE_STORE_FRAME_BYTES;
    if longest > most { Err(Unsound::Damaged("it has no end")) } else { Ok(()) }
}

/// The lines of a text from its end.
struct Backwards<'a> {
    rest: &'a [u8],
    is_whole_file: bool,
}

impl<'a> Backwards<'a> {
    /// What stands behind the last line's end; none when that was not read.
    fn unfinished(&mut self) -> Option<&'a [u8]> {
        let end = self.rest.iter().rposition(|byte| *byte == b'\n').map(|place| place + 1);
        let (lines, unfinished) = self.rest.split_at_checked(end.or(self.is_whole_file.then_some(0))?)?;
        self.rest = lines;
        Some(unfinished)
    }

    /// The line before and where it ends; none when its beginning was not read.
    fn next(&mut self) -> Result<Option<(&'a [u8], u64)>, Unsound> {
        let end = self.rest.len() as u64;
        let Some((_, text)) = self.rest.split_last() else { return Ok(None) };
        let begin = text.iter().rposition(|byte| *byte == b'\n').map(|place| place + 1);
        let Some(begin) = begin.or(self.is_whole_file.then_some(0)) else { return Ok(None) };
        let (before, line) = text.split_at_checked(begin).ok_or(Unsound::Damaged("it has no end"))?;
        self.rest = before;
        Ok(Some((line, end)))
    }
}

fn bytes_between(file: &File, begin: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(end.saturating_sub(begin)).unwrap_or(usize::MAX)];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, begin + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    // A writer may have taken away what another one left.
    bytes.truncate(filled);
    Ok(bytes)
}

/// Where the damage is that was seen from the end of the file.
fn first_damage(run: &RunId, path: &Path, file: &File, unsound: Unsound) -> JournalError {
    let mut scan = Scan::new(run, path, file, Default::default(), u64::MAX);
    loop {
        match scan.next() {
            Ok(Some(_)) => {}
            Ok(None) => return unsound.at(run, scan.mark().position),
            Err(error) => return error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> RunId {
        RunId::parse("r").unwrap()
    }

    fn text(position: u64, left: u64) -> String {
        let mut out = String::new();
        let frame = Frame::new(position, Some(1), left, (left == 0).then(Row::default));
        line::write(&run(), &frame, Some("{}"), &mut out).unwrap();
        out
    }

    fn found(bytes: &[u8]) -> Result<(u64, u64), JournalError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.jsonl");
        std::fs::write(&path, bytes).unwrap();
        find(&run(), &path, &File::open(&path).unwrap()).map(|end| (end.head, end.bytes))
    }

    #[test]
    fn only_what_an_interrupted_append_leaves_is_ignored() {
        let (one, two, three) = (text(1, 0), text(2, 1), text(3, 0));
        let whole = (1, one.len() as u64);
        for rest in
            ["", &two, "{", "{\"record\":{\"v\":1", "\0\0\0", &format!("{two}\0"), &format!("{two}{{\"reco\0\0")]
        {
            assert_eq!(found(format!("{one}{rest}").as_bytes()), Ok(whole), "{rest:?}");
        }
        assert_eq!(found(b""), Ok((0, 0)));
        assert_eq!(found(&[0; 10_000]), Ok((0, 0)));
        assert_eq!(found(&text(1, 3).into_bytes()), Ok((0, 0)));
        let all = format!("{one}{two}{three}");
        assert_eq!(found(all.as_bytes()), Ok((3, all.len() as u64)));
    }

    #[test]
    fn the_end_of_a_long_line_says_enough() {
        let record = format!("{{\"text\":\"{}\"}}", "ü".repeat(50_000));
        let mut long = String::new();
        line::write(&run(), &Frame::new(1, Some(1), 0, Some(Row::default())), Some(&record), &mut long).unwrap();
        let bytes = long.as_bytes();
        assert!(matches!(
            look(&run(), &bytes[bytes.len() - 300..], false),
            Ok(Look::Whole(End { head: 1, bytes: 300, .. }))
        ));
        for rest in [String::new(), text(2, 1), text(2, 1) + "{\"rec"] {
            assert_eq!(found(format!("{long}{rest}").as_bytes()), Ok((1, long.len() as u64)));
        }
        assert!(found(format!("{long}{}", text(3, 1)).as_bytes()).is_err());
    }

    #[test]
    fn anything_else_is_damage_with_its_position() {
        let (one, two, three) = (text(1, 0), text(2, 1), text(3, 0));
        let far = format!("{one}{two}{}", three.trim_end());
        let cases = [
            (format!("{one}garbage"), 2),
            (format!("{one}\n"), 2),
            (format!("{one}{{\"record\":\n"), 2),
            (format!("{one}\0\0\0{two}"), 2),
            (format!("{one}{}", text(3, 1)), 2),
            (format!("{far}*"), 3),
            (format!("{one}{two}{two}"), 3),
            (text(2, 1), 1),
            ("a letter\n".to_owned(), 1),
            ("a letter".to_owned(), 1),
        ];
        for (bytes, wanted) in cases {
            match found(bytes.as_bytes()) {
                Err(JournalError::Damaged { position, .. }) => assert_eq!(position, wanted, "{bytes:?}"),
                other => panic!("{bytes:?}: {other:?}"),
            }
        }
    }
}
