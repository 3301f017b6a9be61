//! The events of a run in which everything happens that can happen: each kind at least once, in an order in which it could.

use cofferdam_core::event::{Body, RunEvent};
use cofferdam_core::id::{RunId, StepPath};
use cofferdam_core::time::Timestamp;
use std::sync::Arc;

/// Where something happens, and what, as it stands on the wire.
const HAPPENS: &[(&str, &str)] = &[
    (
        "",
        r#"{"kind":"run_started","schema_version":1,"workflow":"sample","hash":"0","sources":[],"inputs":{},"settings":{},"plan":["scan","each","ask"]}"#,
    ),
    ("", r#"{"kind":"memory_seen","entries":[{"namespace":"scout","key":"k","value":1,"revision":2}]}"#),
    ("scan", r#"{"kind":"step_ready"}"#),
    ("scan", r#"{"kind":"step_started","agent":"scout"}"#),
    ("scan", r#"{"kind":"memory_recalled"}"#),
    ("scan", r#"{"kind":"turn_started","turn":1,"model":"scripted"}"#),
    ("scan", r#"{"kind":"thinking_delta","turn":1,"text":"hm"}"#),
    ("scan", r#"{"kind":"output_delta","turn":1,"text":"Grüße,\n\u001b[31m\u0000 "}"#),
    (
        "scan",
        r#"{"kind":"turn_finished","turn":1,"model":"scripted","message":{"role":"assistant","text":"Grüße"},"usage":{"input":7,"output":2}}"#,
    ),
    ("scan", r#"{"kind":"permission_asked","call_id":"1","tool":"write","args":{"path":"out:a"},"agent":"scout"}"#),
    ("scan", r#"{"kind":"permission_decided","call_id":"1","tool":"write","decision":"allow","rule":"sandbox"}"#),
    ("scan", r#"{"kind":"tool_call_started","call_id":"1","tool":"write","args":{"path":"out:a"}}"#),
    ("scan", r#"{"kind":"progress","message":"half","fraction":0.5}"#),
    ("scan", r#"{"kind":"effect_decided","call_id":"1","tool":"write","decision":"repeat","rule":"it may"}"#),
    ("scan", r#"{"kind":"tool_call_finished","call_id":"1","tool":"write","content":"done","duration_ms":12}"#),
    ("scan", r#"{"kind":"plugin_denied","plugin":"p","digest":"0","request":"http GET","allow":"grants"}"#),
    (
        "scan",
        r#"{"kind":"plugin_failed","plugin":"p","digest":"0","error":{"class":"step","code":"plugin_trap","message":"it crashed"}}"#,
    ),
    ("scan", r#"{"kind":"turn_started","turn":2,"model":"scripted"}"#),
    ("scan", r#"{"kind":"turn_failed","turn":2,"model":"scripted","usage":{"input":3,"output":0}}"#),
    (
        "scan",
        r#"{"kind":"step_retrying","error":{"class":"retry","code":"model_timeout","message":"too slow"},"delay_ms":5}"#,
    ),
    ("scan", r#"{"kind":"step_waiting"}"#),
    ("", r#"{"kind":"run_resumed","settings":{}}"#),
    ("scan", r#"{"kind":"spent","model":"scripted","usage":{"input":1,"output":1}}"#),
    (
        "scan",
        r#"{"kind":"files_changed","isolation":"copy-per-step","files":[{"path":"a","change":"added"}],"directory":"scan"}"#,
    ),
    ("", r#"{"kind":"budget_warning","of":"the run","resource":"tokens","spent":8,"most":10}"#),
    ("", r#"{"kind":"budget_exhausted","of":"the run","resource":"tokens","spent":10,"most":10}"#),
    ("scan", r#"{"kind":"variable_set","key":"k","value":[1,null]}"#),
    ("scan", r#"{"kind":"memory_written","namespace":"scout","key":"k","value":1}"#),
    ("scan", r#"{"kind":"memory_deleted","namespace":"scout","key":"k"}"#),
    ("scan", r#"{"kind":"message_posted","id":1,"key":"a","to":"@coordinator","message_kind":"info","text":"hi"}"#),
    ("@coordinator", r#"{"kind":"message_delivered","id":1,"from":"scan","message_kind":"info","text":"hi","turn":1}"#),
    ("@coordinator", r#"{"kind":"told","turn":1,"upto":9,"text":"a step began"}"#),
    ("@coordinator", r#"{"kind":"narrated","text":"it goes on","key":"b"}"#),
    (
        "",
        r#"{"kind":"message_dropped","id":2,"from":"@coordinator","to":"gone","reason":"unknown_step","text":"hello"}"#,
    ),
    ("scan", r#"{"kind":"step_finished","status":"completed","output":{"content":"Grüße","result":{"n":1}}}"#),
    ("each", r#"{"kind":"step_started","items":[1,2]}"#),
    ("each[0]", r#"{"kind":"loop_iteration_started","index":0}"#),
    ("each[0]", r#"{"kind":"step_skipped","because":"condition","detail":"it is false"}"#),
    ("each[0]", r#"{"kind":"loop_iteration_finished","index":0,"status":"skipped"}"#),
    ("each[1]", r#"{"kind":"loop_iteration_started","index":1}"#),
    ("each[1]", r#"{"kind":"step_cancelled","detail":"the run was stopped"}"#),
    ("each", r#"{"kind":"loop_postponed","until":"2026-11-20T08:00:00.000Z"}"#),
    ("each", r#"{"kind":"loop_finished","iterations":2,"because":"items"}"#),
    (
        "each",
        r#"{"kind":"step_finished","status":"failed","output":{},"error":{"class":"step","code":"timeout","message":"too late"}}"#,
    ),
    ("ask", r#"{"kind":"branch_chosen","plugin":"route","step":"ask","label":"yes"}"#),
    ("ask", r#"{"kind":"question_asked","question":"Which?","choices":["a","b"]}"#),
    ("ask", r#"{"kind":"question_answered","answer":"a","by":"person"}"#),
    ("@coordinator", r#"{"kind":"summarized","summary":"it is done"}"#),
    ("", r#"{"kind":"warning","code":"isolation","message":"a\nb"}"#),
    ("", r#"{"kind":"run_finished","status":"partial","output":{"n":1},"usage":{"input":11,"output":3}}"#),
];

/// The run, under this id.
pub(super) fn of(run: &str) -> Vec<Arc<RunEvent>> {
    let run_id = RunId::parse(run).expect("it follows the grammar");
    let (mut seq, mut sub) = (0, 0);
    let events = HAPPENS.iter().map(|(path, body)| {
        let body: Body = serde_json::from_str(body).expect("it is an event of this version");
        (seq, sub) = if body.is_transient() { (seq, sub + 1) } else { (seq + 1, 0) };
        let at = Timestamp::from_millis(1_700_000_000_000 + i64::try_from(seq).unwrap_or_default());
        let (sub, path) = ((sub > 0).then_some(sub), StepPath::from(*path));
        let attempt = (!path.is_root()).then_some(1);
        Arc::new(RunEvent { seq, sub, at, run_id: run_id.clone(), path, attempt, body })
    });
    events.collect()
}

#[cfg(test)]
mod tests {
    use cofferdam_core::event::KINDS;

    #[test]
    fn every_kind_of_event_happens() {
        let happens = super::of("r");
        let missing: Vec<_> =
            KINDS.iter().filter(|kind| !happens.iter().any(|event| event.body.kind() == **kind)).collect();
        assert_eq!(missing, Vec::<&&str>::new());
    }
}
