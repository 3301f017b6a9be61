//! What can be expected of a case of a plugin, as tables that the decoder, the check and the documentation follow.

use crate::testing::shape::{Form, Shape};

/// Of a call of a tool.
pub(in crate::testing) const CALLED: Shape = Shape {
    short: "result",
    keys: &[
        ("result", Form::Value),
        ("content", Form::Value),
        ("error", Form::Table(&FAILED)),
        ("denied", Form::Value),
        ("requests", Form::List(&REQUEST)),
        ("kv", Form::Members),
        ("fuel", Form::Most),
        ("memory", Form::MostBytes),
    ],
};

/// Of a batch of a transform.
pub(in crate::testing) const APPLIED: Shape = Shape {
    short: "outcomes",
    keys: &[
        ("outcomes", Form::List(&OUTCOME)),
        ("error", Form::Table(&FAILED)),
        ("fuel", Form::Most),
        ("memory", Form::MostBytes),
    ],
};

/// Of a decision of a condition.
pub(in crate::testing) const DECIDED: Shape = Shape {
    short: "verdict",
    keys: &[
        ("verdict", Form::Words(&["proceed", "skip", "stop"])),
        ("reason", Form::Value),
        ("error", Form::Table(&FAILED)),
        ("fuel", Form::Most),
        ("memory", Form::MostBytes),
    ],
};

/// Of a choice of a condition.
pub(in crate::testing) const CHOSEN: Shape = Shape {
    short: "choice",
    keys: &[
        ("choice", Form::Value),
        ("error", Form::Table(&FAILED)),
        ("fuel", Form::Most),
        ("memory", Form::MostBytes),
    ],
};

/// Of what failed.
pub(in crate::testing) const FAILED: Shape = Shape {
    short: "code",
    keys: &[("code", Form::Value), ("kind", Form::Value), ("message", Form::Value), ("own", Form::Value)],
};

/// Of what becomes of an item.
pub(in crate::testing) const OUTCOME: Shape = Shape {
    short: "keep",
    keys: &[("keep", Form::Value), ("replace", Form::Value), ("drop", Form::Value), ("fail", Form::Table(&FAILED))],
};

/// Of a request that was sent.
pub(in crate::testing) const REQUEST: Shape = Shape {
    short: "url",
    keys: &[
        ("method", Form::Value),
        ("url", Form::Value),
        ("headers", Form::Members),
        ("body", Form::Value),
        ("json", Form::Value),
    ],
};
