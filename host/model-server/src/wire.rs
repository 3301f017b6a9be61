//! What a protocol has to say about itself. It must not name any of them but in its list.

use crate::answer::Answer;
use crate::asked::Asked;
use crate::failure::Failure;
use crate::frame::{Frame, Framing};
use crate::http::Request;
use crate::mode::Does;
use serde_json::Value;

/// A protocol.
pub(crate) trait Wire: Sync {
    /// What the request asks for; the reason if a real provider would not take it.
    fn asked(&self, request: &Request, body: &Value) -> Result<Asked, String>;

    /// Whether the answer is a stream.
    fn is_stream(&self, request: &Request, body: &Value) -> bool;

    fn framing(&self, request: &Request) -> Framing;

    /// Why this mode makes no sense here.
    fn lacks(&self, _does: &Does) -> Option<&'static str> {
        None
    }

    /// The stream.
    fn frames(&self, answer: &Answer) -> Vec<Frame>;

    /// The one document.
    fn whole(&self, answer: &Answer) -> Value;

    /// The frame of an error in the middle of a stream.
    fn error_frame(&self, framing: Framing) -> Frame;

    /// The answer that says of itself that it failed; none where only errors do.
    fn failed(&self, _answer: &Answer) -> Option<Value> {
        None
    }

    /// The frame that ends a stream with it.
    fn failed_frame(&self, _answer: &Answer, framing: Framing) -> Frame {
        self.error_frame(framing)
    }

    /// What arguments begin with where calls arrive whole, so that cutting one means cutting an event.
    fn arguments_begin(&self) -> Option<&'static str> {
        None
    }

    /// What keeps the connection alive.
    fn sign_of_life(&self) -> Frame {
        Frame::raw(": keep-alive\n\n")
    }

    /// Headers of every answer.
    fn headers(&self, number: u64) -> Vec<(&'static str, String)>;

    /// The body of a failure, and the headers that belong to it.
    fn failure(&self, failure: &Failure, about: &About<'_>) -> (Value, Vec<(&'static str, String)>);
}

/// What a failure may mention.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    pub(crate) number: u64,
    pub(crate) model: &'a str,
    /// The key of the request.
    pub(crate) key: &'a str,
}
