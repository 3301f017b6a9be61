//! The file of one request: written piece by piece, read as a whole.
//!
//! It must not know where files lie, and must not read half of one: a file without its end is none.
//!
//! ```json
//! {
//!   "version": 1,
//!   "key": "3f2a9c…",
//!   "provider": "acme", "model": "small", "api": "chat", "method": "POST", "path": "/chat/completions",
//!   "request_headers": ["accept", "authorization", "content-type"],
//!   "request": { … },
//!   "status": 200,
//!   "headers": { "content-type": "text/event-stream" },
//!   "body": [
//!     "data: {…}\n\n",
//!     {"base64":"w7w="}
//!   ],
//!   "end": "eof"
//! }
//! ```
//!
//! `key` is what requests are found by; it is not computed again, so that an answer may be changed by hand and a request
//! cannot. `body` has the pieces as they came, as base64 where they are not UTF-8. `status` is null where nobody answered.

use super::end::End;
use super::question::{METHOD, Question};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The version of the format.
pub(super) const VERSION: u64 = 1;

/// A recording that was read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    #[serde(rename = "version")]
    _version: u64,
    pub(super) key: String,
    pub(super) provider: String,
    pub(super) model: String,
    pub(super) api: String,
    #[serde(rename = "method")]
    _method: String,
    pub(super) path: String,
    #[serde(rename = "request_headers")]
    _request_headers: Vec<String>,
    pub(super) request: Value,
    pub(super) status: Option<u16>,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<Piece>,
    pub(super) end: End,
}

/// A piece of an answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Piece {
    Text(String),
    Bytes { base64: String },
}

/// What a file can be besides a recording.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Odd {
    Version(u64),
    Unreadable(String),
}

impl Page {
    /// Reads a file.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Odd> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u64,
        }
        let odd = |error: serde_json::Error| {
            let cut = if error.is_eof() { "it ends in the middle: " } else { "" };
            Odd::Unreadable(format!("{cut}{error}"))
        };
        let Versioned { version } = serde_json::from_slice(bytes).map_err(odd)?;
        if version != VERSION {
            return Err(Odd::Version(version));
        }
        let page: Self = serde_json::from_slice(bytes).map_err(odd)?;
        if let Some(reason) = page.body.iter().find_map(|piece| piece.bytes().err()) {
            return Err(Odd::Unreadable(format!("a piece of `body` is no base64: {reason}")));
        }
        Ok(page)
    }
}

impl Piece {
    /// The bytes that came.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, base64::DecodeError> {
        match self {
            Self::Text(text) => Ok(text.as_bytes().to_vec()),
            Self::Bytes { base64 } => STANDARD.decode(base64),
        }
    }
}

/// What a file begins with, up to the first piece of the answer.
pub(super) fn opening(
    question: &Question,
    request_headers: &[String],
    status: Option<u16>,
    headers: &BTreeMap<String, String>,
) -> String {
    let head = json!({
        "version": VERSION,
        "key": question.key,
        "provider": question.provider,
        "model": question.model,
        "api": question.api,
        "method": METHOD,
        "path": question.path,
        "request_headers": request_headers,
        "request": question.body,
        "status": status,
        "headers": headers,
    });
    let text = format!("{head:#}");
    let open = text.strip_suffix("\n}").unwrap_or(&text);
    format!("{open},\n  \"body\": [")
}

/// A piece of the answer.
pub(super) fn piece(bytes: &[u8], is_first: bool) -> String {
    let piece = match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    };
    let comma = if is_first { "" } else { "," };
    format!("{comma}\n    {piece}")
}

/// What a file ends with.
pub(super) fn closing(is_empty: bool, end: &End) -> String {
    let end = serde_json::to_value(end).unwrap_or_default();
    let bracket = if is_empty { "]" } else { "\n  ]" };
    format!("{bracket},\n  \"end\": {end}\n}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Provider;
    use bytes::Bytes;

    fn written(pieces: &[&[u8]]) -> String {
        let provider = Provider::new("acme", "http://acme.test/v1");
        let question = Question::of(&provider, "m", &Bytes::from_static(b"{\"b\":[],\"a\":{}}")).unwrap();
        let headers = BTreeMap::from([("content-type".to_owned(), "text/event-stream".to_owned())]);
        let mut text = opening(&question, &["accept".to_owned()], Some(200), &headers);
        pieces.iter().enumerate().for_each(|(number, bytes)| text.push_str(&piece(bytes, number == 0)));
        text + &closing(pieces.is_empty(), &End::Eof)
    }

    #[test]
    fn pieces_come_back_as_they_came() {
        for pieces in [vec![], vec![&b"one\n\n"[..], "zw\u{f6}".as_bytes(), b"\xc3", b"\xb6\0", b""]] {
            let page = Page::parse(written(&pieces).as_bytes()).unwrap();
            let back: Vec<Vec<u8>> = page.body.iter().map(|piece| piece.bytes().unwrap()).collect();
            assert_eq!(back, pieces);
            assert_eq!((page.status, page.end, page.request), (Some(200), End::Eof, json!({ "a": {}, "b": [] })));
        }
    }

    #[test]
    fn a_file_that_is_cut_anywhere_is_refused() {
        let text = written(&[b"one", b"two"]);
        for end in 0..text.trim_end().len() {
            assert!(matches!(Page::parse(&text.as_bytes()[..end]), Err(Odd::Unreadable(_))), "cut at {end}");
        }
    }

    #[test]
    fn another_version_is_named_and_what_is_unknown_is_refused() {
        let text = written(&[b"one"]);
        let newer = text.replace("\"version\": 1", "\"version\": 2");
        assert_eq!(Page::parse(newer.as_bytes()).unwrap_err(), Odd::Version(2));
        for (from, to) in [("\"status\"", "\"stauts\""), ("\"eof\"", "\"oef\""), ("\"one\"", "{\"base64\":\"?\"}")] {
            assert!(matches!(Page::parse(text.replace(from, to).as_bytes()), Err(Odd::Unreadable(_))), "{to}");
        }
    }
}
