//! Shows what a plugin asks of its host, a line for each call, as it happens. It must not decide what may be shown: the
//! host gave names, sizes and outcomes, and no values.

use crate::terminal;
use crate::ui::paint;
use cofferdam::plugin::{HostCall, HostCalls, Outcome, Tap};
use std::sync::Arc;
use std::time::Duration;

/// Somebody who writes what plugins ask to standard error.
pub(super) fn tap() -> Tap {
    Tap(Arc::new(Lines))
}

struct Lines;

impl HostCalls for Lines {
    fn called(&self, call: HostCall) {
        // What the log shows by itself is not said twice.
        if call.interface != "log" || matches!(call.function, "trace" | "debug") {
            terminal::tell(&line(&call));
        }
    }
}

/// `host  http.fetch GET https://example.com/ -> 200, 12 bytes (31 ms)`.
fn line(call: &HostCall) -> String {
    let what = if call.what.is_empty() { String::new() } else { format!(" {}", call.what) };
    let outcome = match &call.outcome {
        Outcome::Answered(word) if word.is_empty() => String::new(),
        Outcome::Answered(word) => format!(" -> {word}"),
        Outcome::Denied => format!(" -> {}", paint::warn("denied")),
        Outcome::Failed(why) => format!(" -> {}", paint::bad(why)),
    };
    let took = paint::quiet(&format!(" ({})", time(call.took)));
    format!("{} {}.{}{what}{outcome}{took}", paint::quiet("host:"), call.interface, call.function)
}

fn time(took: Duration) -> String {
    match took.as_micros() {
        micros @ 0..1_000 => format!("{micros} \u{b5}s"),
        micros => format!("{} ms", micros / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_what_and_how_it_ended() {
        let call = |outcome| HostCall {
            plugin: "it".to_owned(),
            interface: "http",
            function: "fetch",
            what: "GET https://a.example/".to_owned(),
            outcome,
            took: Duration::from_micros(31_400),
        };
        let shown = |outcome| line(&call(outcome));
        assert!(
            shown(Outcome::Answered("200, 12 bytes".to_owned())).contains("GET https://a.example/ -> 200, 12 bytes")
        );
        assert!(shown(Outcome::Denied).contains("denied"));
        assert!(shown(Outcome::Failed("timeout: x".to_owned())).contains("31 ms"));
        assert_eq!(time(Duration::from_micros(7)), "7 µs");
    }
}
