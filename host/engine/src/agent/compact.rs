//! A conversation that has grown too large for a model: what is old and was long gives way, with a mark in its place.
//!
//! It must not know how far an earlier process came: at the same turn the same gives way, so that a conversation that is taken up
//! is the one that it was.

use cofferdam_core::limits;
use cofferdam_core::message::Message;

/// The newest messages stay as they are.
const KEPT: usize = 6;
/// Shorter texts stay: their marks would hardly be shorter.
const SHORT: usize = 256;

/// Whether a conversation is larger than [`limits::CONVERSATION_BYTES`].
pub(super) fn is_too_large(messages: &[Message]) -> bool {
    messages.iter().map(size_of).sum::<usize>() > limits::CONVERSATION_BYTES
}

/// Makes room in a conversation that is too large: answers of tools and messages of others, the
/// oldest first, until half of that is free. What was asked first, and what the model said, stays. Gives the bytes left out.
pub(super) fn compact(messages: &mut [Message]) -> usize {
    let size: usize = messages.iter().map(size_of).sum();
    let end = messages.len().saturating_sub(KEPT);
    let first =
        messages.iter().position(|message| matches!(message, Message::User { .. })).map_or(0, |first| first + 1);
    let mut left_out = 0;
    for message in messages.get_mut(first..end).unwrap_or_default() {
        if size - left_out <= limits::CONVERSATION_BYTES / 2 {
            break;
        }
        let (text, what) = match message {
            Message::Tool { text, name, .. } => (text, format!("what `{name}` gave; call it again if it is needed")),
            Message::User { text, .. } => (text, "messages that were read before".to_owned()),
            Message::System { .. } | Message::Assistant { .. } => continue,
        };
        if text.len() > SHORT {
            let before = text.len();
            *text = format!("[left out to make room: {before} bytes of {what}]").into();
            left_out += before.saturating_sub(text.len());
        }
    }
    left_out
}

fn size_of(message: &Message) -> usize {
    let calls = match message {
        Message::Assistant { tool_calls, .. } => tool_calls.iter().map(|call| call.arguments.len()).sum(),
        _ => 0,
    };
    message.text().len() + calls
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn tool(bytes: usize) -> Message {
        let text: Arc<str> = "x".repeat(bytes).into();
        Message::Tool { call_id: "c".into(), name: "read".into(), text, is_error: false }
    }

    fn user(text: &str) -> Message {
        Message::User { text: text.into(), attachments: Vec::new() }
    }

    fn total(messages: &[Message]) -> usize {
        messages.iter().map(size_of).sum()
    }

    #[test]
    fn what_is_old_and_long_gives_way_and_the_rest_stays() {
        let long = limits::CONVERSATION_BYTES / 8;
        let question = "q".repeat(long);
        let mut messages = vec![Message::system("s"), user(&question)];
        messages.extend((0..12).map(|_| tool(long)));
        let before = messages.clone();
        assert!(is_too_large(&messages) && compact(&mut messages) > 0);
        assert!(total(&messages) <= limits::CONVERSATION_BYTES);
        assert_eq!(
            (&messages[..2], &messages[messages.len() - KEPT..]),
            (&before[..2], &before[before.len() - KEPT..])
        );
        let marked =
            format!("[left out to make room: {long} bytes of what `read` gave; call it again if it is needed]");
        assert_eq!(messages[2].text(), marked);
        // Made again, nothing more gives way.
        assert!(!is_too_large(&messages));
    }

    #[test]
    fn what_fits_and_what_is_short_stays() {
        assert!(!is_too_large(&[user("q"), tool(limits::CONVERSATION_BYTES / 2)]));
        let mut short: Vec<Message> =
            std::iter::repeat_with(|| tool(SHORT)).take(limits::CONVERSATION_BYTES / SHORT + 10).collect();
        assert_eq!(compact(&mut short), 0);
    }
}
