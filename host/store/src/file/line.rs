//! A line of a run's file: a record, and behind it the frame that says where it belongs and shows damage.
//!
//! ```text
//! {"record":{...},"position":7,"sum":"0f...","left":0,"row":{...},"format":1,"frame":"a3..."}
//! ```
//!
//! The frame stands at the end, so that a listing needs no record. It has a sum of its own, which covers the sum of
//! the record. A later format keeps `position`, `format` and `frame`. This must not know of other lines.

use cofferdam_core::id::RunId;
use cofferdam_core::limits;
use cofferdam_core::port::{JournalError, RunIndex};
use cofferdam_core::record;
use cofferdam_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// The format that is written, and the newest that is read.
pub(super) const FORMAT: u32 = 1;

/// What every line begins with.
pub(super) const BEGIN: &str = "{\"record\":";
const FRAME: &str = ",\"position\":";
const SUM: &str = ",\"frame\":\"";
const END: &str = "\"}";
const NO_RECORD: &str = "null";

/// What stands behind a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Frame {
    /// The record's position; the head, in a line without a record.
    pub(super) position: u64,
    /// The record's sum in hexadecimal digits; absent in a line without a record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sum: Option<String>,
    /// How many lines of the same append follow: an append is there when its last line is.
    pub(super) left: u64,
    /// What listings show; in the last line of each append.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) row: Option<Row>,
    format: u32,
}

/// What listings show of a run, beside its head.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) updated_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<RunIndex>,
}

/// A line as it was read.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) frame: Frame,
    /// The text of the record and its sum.
    pub(super) record: Option<(&'a str, i64)>,
}

/// Why a line is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unsound {
    Damaged(&'static str),
    TooNew(u32),
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

impl Frame {
    pub(super) fn new(position: u64, sum: Option<i64>, left: u64, row: Option<Row>) -> Self {
        Self { position, sum: sum.map(digits), left, row, format: FORMAT }
    }
}

impl Unsound {
    pub(super) fn at(self, run: &RunId, position: u64) -> JournalError {
        match self {
            Self::Damaged(reason) => record::damaged(run, position, reason),
            Self::TooNew(found) => JournalError::TooNew { found, supported: FORMAT },
        }
    }
}

/// Writes a line, with its end, behind what is in `out`.
///
/// # Errors
/// When it could not be read back.
pub(super) fn write(run: &RunId, frame: &Frame, record: Option<&str>, out: &mut String) -> Result<(), JournalError> {
    let unwritable = |what: &str| JournalError::Invalid(format!("the row of run `{run}` cannot be kept: {what}"));
    let text = serde_json::to_string(frame).map_err(|error| unwritable(&error.to_string()))?;
    let text = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or_default();
    if text.len() > limits::FILE_STORE_FRAME_BYTES {
        return Err(unwritable("it is too long"));
    }
    let text = format!(",{text}");
    let sum = digits(record::sum_of(run, frame.position, &text));
    // Not every moment that can be said can be read.
    frame_of(run, &text, &sum).map_err(|error| unwritable(&format!("{error:?}")))?;
    let _ = writeln!(out, "{BEGIN}{}{text}{SUM}{sum}{END}", record.unwrap_or(NO_RECORD));
    Ok(())
}

/// Reads a line, without its end. Whether the record has its sum is not looked at.
pub(super) fn read<'a>(run: &RunId, line: &'a [u8]) -> Result<Line<'a>, Unsound> {
    let none = Unsound::Damaged("it is no line of a journal");
    let text = std::str::from_utf8(line).map_err(|_| none.clone())?;
    let inner = text.strip_prefix(BEGIN).and_then(|text| text.strip_suffix(END)).ok_or_else(|| none.clone())?;
    let (inner, sum) = inner.rsplit_once(SUM).ok_or_else(|| none.clone())?;
    // In a record's strings every quote has a backslash before it, and no key of a frame comes twice.
    let begin = inner.rfind(FRAME).ok_or_else(|| none.clone())?;
    let (record, frame) = inner.split_at_checked(begin).ok_or(none)?;
    let frame = frame_of(run, frame, sum)?;
    let wrong = Unsound::Damaged("its frame does not go with it");
    let record = match &frame.sum {
        Some(sum) => Some((record, number(sum).ok_or(wrong)?)),
        None if record == NO_RECORD && frame.left == 0 => None,
        None => return Err(wrong),
    };
    Ok(Line { frame, record })
}

/// The frame of a line whose beginning need not be there.
pub(super) fn read_end(run: &RunId, end: &[u8]) -> Option<Frame> {
    let begin = end.windows(FRAME.len()).rposition(|bytes| bytes == FRAME.as_bytes())?;
    let text = std::str::from_utf8(end.get(begin..)?).ok()?;
    let (frame, sum) = text.strip_suffix(END)?.rsplit_once(SUM)?;
    frame_of(run, frame, sum).ok()
}

/// Reads the text of a frame, a comma and the inside of an object.
fn frame_of(run: &RunId, text: &str, sum: &str) -> Result<Frame, Unsound> {
    let damaged = Unsound::Damaged("its frame is not what was written");
    let position = text.strip_prefix(FRAME).and_then(|text| text.split(',').next()).and_then(|text| text.parse().ok());
    let position = position.ok_or_else(|| damaged.clone())?;
    if number(sum) != Some(record::sum_of(run, position, text)) {
        return Err(damaged);
    }
    let object = format!("{{{}}}", text.strip_prefix(',').unwrap_or_default());
    let format = serde_json::from_str::<Format>(&object).map_err(|_| damaged.clone())?.format;
    if format > FORMAT {
        return Err(Unsound::TooNew(format));
    }
    let frame: Frame = serde_json::from_str(&object).map_err(|_| damaged.clone())?;
    if (frame.left == 0) == frame.row.is_some() { Ok(frame) } else { Err(damaged) }
}

fn digits(sum: i64) -> String {
    format!("{:016x}", sum.cast_unsigned())
}

fn number(digits: &str) -> Option<i64> {
    let is_whole = digits.len() == 16;
    u64::from_str_radix(digits, 16).ok().filter(|_| is_whole).map(u64::cast_signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> RunId {
        RunId::parse("r").unwrap()
    }

    fn line(frame: &Frame, record: Option<&str>) -> String {
        let mut out = String::new();
        write(&run(), frame, record, &mut out).unwrap();
        out.strip_suffix('\n').unwrap().to_owned()
    }

    #[test]
    fn a_line_comes_back_whatever_its_record_and_row_say() {
        let nasty = ",\"position\":1,\"frame\":\"";
        let index = RunIndex { workflow: nasty.into(), status: "\n\u{0}é".into(), started_at: Timestamp::default() };
        let row = Some(Row { updated_at: Timestamp::from_millis(5), index: Some(index) });
        let inner = format!("{{\"v\":1{nasty}x\",\"s\":{}}}", serde_json::to_string(nasty).unwrap());
        for (frame, record) in [
            (Frame::new(7, Some(-3), 0, row.clone()), Some(inner.as_str())),
            (Frame::new(7, Some(3), 2, None), Some("{}")),
            (Frame::new(u64::MAX, None, 0, row.clone()), None),
        ] {
            let text = line(&frame, record);
            let object: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(object["position"], frame.position);
            let found = read(&run(), text.as_bytes()).unwrap();
            assert_eq!((&found.frame, found.record.map(|(text, _)| text)), (&frame, record));
        }
    }

    #[test]
    fn a_flipped_bit_in_a_frame_is_damage() {
        let frame = Frame::new(7, Some(1), 0, Some(Row::default()));
        let text = line(&frame, Some("{}"));
        for place in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[place / 8] ^= 1 << (place % 8);
            if let Ok(found) = read(&run(), &bytes) {
                // The record has a sum of its own, and digits of a sum have two cases.
                assert_eq!(found.frame, frame, "{place}");
            }
        }
    }

    #[test]
    fn a_line_of_a_newer_format_is_refused() {
        let text = ",\"position\":7,\"left\":\"none\",\"format\":2";
        let sum = digits(record::sum_of(&run(), 7, text));
        let text = format!("{BEGIN}{{}}{text}{SUM}{sum}{END}");
        assert_eq!(read(&run(), text.as_bytes()).unwrap_err(), Unsound::TooNew(2));
    }

    #[test]
    fn what_could_not_be_read_back_is_not_written() {
        let far = Row { updated_at: Timestamp::from_millis(i64::MAX), index: None };
        let index = RunIndex { workflow: "w".repeat(70_000), status: String::new(), started_at: Timestamp::default() };
        let long = Row { updated_at: Timestamp::default(), index: Some(index) };
        for row in [far, long] {
            let frame = Frame::new(1, Some(1), 0, Some(row));
            assert!(matches!(write(&run(), &frame, Some("{}"), &mut String::new()), Err(JournalError::Invalid(_))));
        }
    }
}
