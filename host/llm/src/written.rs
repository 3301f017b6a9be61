//! What protocols write alike.
//!
//! It must not know any of them.

use bytes::Bytes;
use cofferdam_core::fault::Fault;
use cofferdam_core::message::Message;
use serde::Serialize;

/// A body as JSON.
pub(crate) fn json(body: &impl Serialize) -> Result<Bytes, Fault> {
    let bytes = serde_json::to_vec(body);
    bytes.map(Bytes::from).map_err(|error| Fault::bug(format!("a request cannot be written as JSON: {error}")))
}

/// All system texts as one, for protocols that have them apart from the conversation.
pub(crate) fn system_text(messages: &[Message]) -> Option<String> {
    let texts = messages.iter().filter_map(|message| match message {
        Message::System { text } => Some(&**text),
        _ => None,
    });
    Some(texts.collect::<Vec<_>>().join("\n\n")).filter(|text| !text.is_empty())
}
