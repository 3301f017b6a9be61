//! A conversation that has grown too large for a model: what is old and was long gives way, with a mark in its place.
//!
//! It must not know how far an earlier process came: at the same turn the same gives way, so that a conversation that is taken up
//! is the one that it was.

use cofferdam_core::message::Message;

/// Shorter texts stay: their marks would hardly be shorter.
const SHORT: usize = 256;

/// Whether a conversation is larger than `room`, in bytes.
pub(super) fn is_too_large(messages: &[Message], room: usize) -> bool {
    messages.iter().map(size_of).sum::<usize>() > room
}

/// Makes room in a conversation that is too large: answers of tools and messages of others that the model has read give way, the
/// oldest first, until half of the room is free. What was asked first, and what the model said, stays. Of what it has not read, answers
/// give way only where they alone are too much, and keep their beginnings. Gives the bytes left out.
pub(super) fn compact(messages: &mut [Message], room: usize) -> usize {
    let size: usize = messages.iter().map(size_of).sum();
    let most = room / 2;
    let first =
        messages.iter().position(|message| matches!(message, Message::User { .. })).map_or(0, |first| first + 1);
    let unread = messages.iter().rposition(|message| matches!(message, Message::Assistant { .. })).unwrap_or_default();
    let mut left_out = 0;
    for message in messages.get_mut(first..unread).unwrap_or_default() {
        if size - left_out <= most {
            return left_out;
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
    let new = messages.get_mut(unread..).unwrap_or_default();
    if new.iter().map(size_of).sum::<usize>() > room {
        left_out += shorten_each(new, most);
    }
    left_out
}

/// Gives each answer its part of the room.
fn shorten_each(messages: &mut [Message], most: usize) -> usize {
    let answers = messages.iter().filter(|message| matches!(message, Message::Tool { .. })).count();
    let (each, mut left_out) = (most / answers.max(1), 0);
    for message in messages {
        let Message::Tool { text, .. } = message else { continue };
        if text.len() > each.max(SHORT) {
            let head = text.get(..text.floor_char_boundary(each)).unwrap_or_default();
            let rest = text.len() - head.len();
            *text = format!("{head}\n[... {rest} bytes left out to make room; ask for less at once ...]").into();
            left_out += rest;
        }
    }
    left_out
}

/// What a message takes of the room.
pub(crate) fn size_of(message: &Message) -> usize {
    let calls = match message {
        Message::Assistant { tool_calls, .. } => tool_calls.iter().map(|call| call.arguments.len()).sum(),
        _ => 0,
    };
    message.text().len() + calls
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_core::limits::CONVERSATION_BYTES as ROOM;
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

    fn asked() -> Message {
        Message::Assistant { text: "I look.".into(), tool_calls: Vec::new(), opaque: Vec::new() }
    }

    #[test]
    fn what_is_old_and_long_gives_way_and_the_rest_stays() {
        let long = ROOM / 8;
        let question = "q".repeat(long);
        let mut messages = vec![Message::system("s"), user(&question)];
        messages.extend((0..12).flat_map(|_| [asked(), tool(long)]));
        let before = messages.clone();
        assert!(is_too_large(&messages, ROOM) && compact(&mut messages, ROOM) > 0);
        assert!(total(&messages) <= ROOM / 2 + long);
        assert_eq!(messages[..3], before[..3]);
        assert_eq!(messages.last(), before.last(), "the model has not read it");
        let marked =
            format!("[left out to make room: {long} bytes of what `read` gave; call it again if it is needed]");
        assert_eq!(messages[3].text(), marked);
        assert!(!is_too_large(&messages, ROOM));
    }

    #[test]
    fn what_the_model_has_not_read_keeps_its_beginning() {
        let long = ROOM / 8;
        let mut messages = vec![user("q"), asked(), tool(long), asked()];
        messages.extend((0..6).map(|_| tool(long)));
        let fits = messages.clone();
        compact(&mut messages, ROOM);
        assert_eq!(messages[4..], fits[4..], "they have room");
        messages.extend((0..20).map(|_| tool(long)));
        assert!(compact(&mut messages, ROOM) > 0);
        assert!(!is_too_large(&messages, ROOM));
        for answer in &messages[4..] {
            assert!(answer.text().starts_with("xxx") && answer.text().contains("ask for less at once"));
        }
    }

    #[test]
    fn what_fits_and_what_is_short_stays() {
        assert!(!is_too_large(&[user("q"), tool(ROOM / 2)], ROOM));
        let mut short = vec![user("q")];
        short.extend(std::iter::repeat_with(|| tool(SHORT)).take(ROOM / SHORT + 10));
        short.push(asked());
        assert_eq!(compact(&mut short, ROOM), 0);
    }
}
