//! Colours by meaning. They are never the only carrier of it; the stream strips them where they are not wanted.

use cofferdam::sink::Tone;

fn wrap(code: &str, text: &str) -> String {
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

pub(crate) fn strong(text: &str) -> String {
    wrap("1", text)
}

pub(crate) fn quiet(text: &str) -> String {
    wrap("2", text)
}

pub(crate) fn good(text: &str) -> String {
    wrap("32", text)
}

pub(crate) fn warn(text: &str) -> String {
    wrap("33", text)
}

pub(crate) fn bad(text: &str) -> String {
    wrap("1;31", text)
}

pub(crate) fn tone(tone: Tone, text: &str) -> String {
    match tone {
        Tone::Quiet => quiet(text),
        Tone::Good => good(text),
        Tone::Warn => warn(text),
        Tone::Bad => bad(text),
    }
}
