//! Results that are too large for a model: it gets the head, the size, and a tool by which it reads on.
//!
//! The whole text stands in the record of the call, so that a conversation that is held again has it too.

use super::Reply;
use cofferdam_core::limits;
use cofferdam_core::message::ToolCall;
use cofferdam_core::port::ToolSpec;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The tool's name.
pub(super) const NAME: &str = "read_result";

/// The results of one conversation that did not fit.
#[derive(Default)]
pub(super) struct Large {
    texts: BTreeMap<u32, Arc<str>>,
    /// Their length together.
    bytes: usize,
}

impl Large {
    /// A result as the model reads it: as it is, or its head with how to read on.
    pub(super) fn take(&mut self, text: Arc<str>, most: usize) -> Arc<str> {
        if text.len() <= most {
            return text;
        }
        // The same answer stays the same, so that whoever repeats a call is told.
        if let Some((number, _)) = self.texts.iter().find(|(_, known)| **known == text) {
            return piece(*number, &text, 0, most);
        }
        let number = self.texts.keys().next_back().copied().unwrap_or_default() + 1;
        let shown = piece(number, &text, 0, most);
        self.bytes += text.len();
        self.texts.insert(number, text);
        while self.bytes > limits::LARGE_RESULTS_BYTES && self.texts.len() > 1 {
            let Some((_, oldest)) = self.texts.pop_first() else { break };
            self.bytes -= oldest.len();
        }
        shown
    }

    /// Whether everything has fit so far.
    pub(super) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// The tool, once there is something to read.
    pub(super) fn spec(&self) -> Option<ToolSpec> {
        (!self.is_empty()).then(|| ToolSpec {
            name: NAME.to_owned(),
            description: "Reads on in a result of a tool that was too large to be shown whole.".to_owned(),
            parameters: Arc::new(json!({
                "type": "object",
                "properties": {
                    "result": { "type": "integer", "minimum": 1, "description": "The number of the result, as it was shown." },
                    "from": { "type": "integer", "minimum": 0, "description": "The byte at which to begin." },
                },
                "required": ["result", "from"],
                "additionalProperties": false,
            })),
        })
    }

    /// Answers a call of the tool.
    pub(super) fn read(&self, call: &ToolCall, most: usize) -> Reply {
        let args = call.parse_arguments().unwrap_or_default();
        let number = |name: &str| args.get(name).and_then(Value::as_u64);
        let (Some(result), Some(from)) = (number("result"), number("from")) else {
            return refused("the arguments are two whole numbers, `result` and `from`".to_owned());
        };
        let result = u32::try_from(result).unwrap_or_default();
        let Some(text) = self.texts.get(&result) else {
            let known: Vec<String> = self.texts.keys().map(u32::to_string).collect();
            return refused(format!("there is no result {result}; there are: {}", known.join(", ")));
        };
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        if from >= text.len() {
            return refused(format!("result {result} has {} bytes", text.len()));
        }
        Reply::ReadOn { text: piece(result, text, from, most), is_error: false }
    }
}

/// A piece of a text from a byte on, with what comes next.
fn piece(number: u32, text: &str, from: usize, most: usize) -> Arc<str> {
    let from = text.floor_char_boundary(from);
    // At least one character, so that whoever reads on comes to the end.
    let end = text.floor_char_boundary((from + most).min(text.len()));
    let end = if end > from { end } else { text.ceil_char_boundary(from + 1) };
    let shown = text.get(from..end).unwrap_or_default();
    if end == text.len() {
        return shown.into();
    }
    let (left, all) = (text.len() - end, text.len());
    format!("{shown}\n[... {left} of {all} bytes left; read on with `{NAME}`: {{\"result\": {number}, \"from\": {end}}} ...]").into()
}

fn refused(why: String) -> Reply {
    Reply::ReadOn { text: why.into(), is_error: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn call(result: u64, from: u64) -> ToolCall {
        let arguments = json!({ "result": result, "from": from }).to_string();
        ToolCall { id: "1".into(), name: NAME.to_owned(), arguments }
    }

    fn text_of(reply: Reply) -> (String, bool) {
        match reply {
            Reply::ReadOn { text, is_error } => (text.to_string(), is_error),
            Reply::Tool { .. } | Reply::Submission(_) => panic!("it reads on"),
        }
    }

    proptest! {
        #[test]
        fn who_reads_on_has_read_all(text in "[a-zäß\\n中]{0,200}", most in 1..40_usize) {
            let mut large = Large::default();
            let mut shown = large.take(text.as_str().into(), most).to_string();
            let mut whole = String::new();
            while let Some((piece, mark)) = shown.rsplit_once("\n[... ").filter(|_| text.len() > most) {
                whole.push_str(piece);
                let from = mark.rsplit_once("\"from\": ").unwrap().1.split('}').next().unwrap().parse().unwrap();
                prop_assert_eq!(whole.len() as u64, from);
                let (next, is_error) = text_of(large.read(&call(1, from), most));
                prop_assert!(!is_error);
                shown = next;
            }
            whole.push_str(&shown);
            prop_assert_eq!(whole, text);
        }
    }

    #[test]
    fn the_same_answer_stays_the_same_and_the_oldest_give_way() {
        let mut large = Large::default();
        let first = large.take("abcdef".into(), 3);
        assert_eq!(large.take("abcdef".into(), 3), first);
        let half = limits::LARGE_RESULTS_BYTES / 2;
        for letter in ["x", "y"] {
            large.take(letter.repeat(half).into(), 3);
        }
        let known: Vec<u32> = large.texts.keys().copied().collect();
        assert_eq!((known, large.bytes), (vec![2, 3], 2 * half));
    }

    #[test]
    fn what_is_not_there_is_said() {
        let mut large = Large::default();
        assert!(large.spec().is_none());
        large.take("abcdef".into(), 3);
        assert!(large.spec().is_some());
        for (reply, said) in [
            (large.read(&call(2, 0), 3), "there is no result 2; there are: 1"),
            (large.read(&call(1, 6), 3), "result 1 has 6 bytes"),
            (large.read(&ToolCall { arguments: "{".into(), ..call(1, 0) }, 3), "the arguments are two whole numbers"),
        ] {
            let (text, is_error) = text_of(reply);
            assert!(is_error && text.starts_with(said), "{text}");
        }
    }
}
