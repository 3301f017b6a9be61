//! The vocabulary on the wire.

use super::*;

#[test]
fn the_kind_on_the_wire_is_the_kind_in_code() {
    let bodies = [
        Body::StepReady {},
        Body::OutputDelta { turn: 1, text: "a".into() },
        Body::Warning { code: "x".into(), message: "y".into() },
        Body::StepFinished {
            status: StepStatus::Completed,
            output: StepOutput::default(),
            error: None,
            usage: Usage::default(),
            truncated_inputs: Vec::new(),
        },
    ];
    for body in bodies {
        let value = serde_json::to_value(&body).unwrap();
        assert_eq!(value["kind"], body.kind());
        assert_eq!(serde_json::from_value::<Body>(value).unwrap(), body);
    }
}

#[test]
fn an_unknown_kind_of_a_newer_minor_version_is_read() {
    let line = r#"{"seq":1,"at":"2026-11-20T08:00:00.000Z","run_id":"r","kind":"teleported","to":"mars"}"#;
    let event: RunEvent = serde_json::from_str(line).unwrap();
    assert_eq!(event.body, Body::Unknown);
}
