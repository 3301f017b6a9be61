//! Calls that a model makes over and over, with the same arguments and the same answer each time, while nothing new happens.
//!
//! It must not call anything: it counts, and says what the count means.

use cofferdam_core::digest::sha256_hex;
use cofferdam_core::limits;
use cofferdam_core::message::ToolCall;
use std::collections::HashMap;

/// How often each call of a conversation was made since something new happened: a call that was not made before, or an answer
/// that was not given to it before.
#[derive(Default)]
pub(super) struct Repeats {
    /// By the digest of the call.
    calls: HashMap<String, Repeated>,
}

struct Repeated {
    /// The digest of the answer.
    answer: String,
    times: usize,
}

impl Repeats {
    /// One of the calls that a model wants to make, and how often it was made, where each of them would be one too many.
    pub(super) fn one_too_many<'c>(&self, calls: &'c [ToolCall]) -> Option<(&'c ToolCall, usize)> {
        let times = |call: &ToolCall| self.calls.get(&key(call)).map_or(0, |known| known.times);
        let all = calls.iter().all(|call| times(call) + 1 >= limits::REPEATED_CALLS_STOP);
        calls.first().filter(|_| all).map(|call| (call, times(call)))
    }

    /// Counts an answered call; gives what the model is told when it repeats itself.
    pub(super) fn count(&mut self, call: &ToolCall, answer: &str) -> Option<String> {
        let (key, answer) = (key(call), sha256_hex(answer.as_bytes()));
        let times = match self.calls.get_mut(&key) {
            Some(known) if known.answer == answer => {
                known.times += 1;
                known.times
            }
            _ => {
                self.calls.values_mut().for_each(|known| known.times = 0);
                self.calls.insert(key, Repeated { answer, times: 1 });
                1
            }
        };
        (times >= limits::REPEATED_CALLS_NUDGE).then(|| {
            format!(
                "[the same call gave the same answer {times} times; do something else, or finish. At {} times you are stopped]",
                limits::REPEATED_CALLS_STOP
            )
        })
    }
}

/// What is the same for two calls that want the same: arguments are compared as JSON, whatever their spaces and order.
fn key(call: &ToolCall) -> String {
    let arguments = call.parse_arguments().map_or_else(
        |_| call.arguments.clone(),
        |mut value| {
            value.sort_all_objects();
            value.to_string()
        },
    );
    sha256_hex(format!("{}\0{arguments}", call.name).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(arguments: &str) -> ToolCall {
        ToolCall { id: "1".into(), name: "read".into(), arguments: arguments.into() }
    }

    #[test]
    fn the_same_call_with_the_same_answer_is_counted() {
        let mut repeats = Repeats::default();
        let same = [r#"{"a":1,"b":2}"#, r#"{ "b": 2, "a": 1 }"#];
        for times in 1..limits::REPEATED_CALLS_STOP {
            let calls = [call(same[times % 2])];
            assert!(repeats.one_too_many(&calls).is_none(), "{times}");
            assert_eq!(repeats.count(&calls[0], "x").is_some(), times >= limits::REPEATED_CALLS_NUDGE, "{times}");
        }
        let calls = [call(same[0])];
        assert_eq!(repeats.one_too_many(&calls), Some((&calls[0], limits::REPEATED_CALLS_STOP - 1)));
        assert_eq!(repeats.one_too_many(&[call(same[0]), call("{}")]), None, "something else is wanted as well");
    }

    #[test]
    fn what_is_new_begins_the_count_anew() {
        let mut repeats = Repeats::default();
        for times in 0..20 {
            assert!(repeats.one_too_many(&[call("{}")]).is_none());
            assert!(repeats.count(&call("{}"), &format!("{}", times / 2)).is_none(), "{times}");
        }
        // A check that fails the same way, after one change and another.
        for times in 0..20 {
            assert!(repeats.count(&call(&format!("[{times}]")), "changed").is_none(), "{times}");
            assert!(repeats.one_too_many(&[call("{}")]).is_none());
            assert!(repeats.count(&call("{}"), "1 failed").is_none(), "{times}");
        }
    }

    #[test]
    fn two_calls_in_turn_are_a_loop_as_well() {
        let mut repeats = Repeats::default();
        let stuck = (0..20).position(|_| {
            repeats.count(&call("{}"), "a");
            repeats.count(&call("[]"), "b");
            repeats.one_too_many(&[call("{}")]).is_some()
        });
        assert_eq!(stuck, Some(limits::REPEATED_CALLS_STOP - 1));
    }
}
