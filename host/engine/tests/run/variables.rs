//! Variables: set by agents and tools, read by expressions, bounded.

use crate::scene::{Scene, agent, expr, step, template, text, workflow};
use cofferdam_core::event::{Body, RunStatus};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::ToolName;
use cofferdam_core::spec::workflow::{Condition, Step, ToolWork, Work};
use serde_json::{Value, json};

fn tool(id: &str, name: &str, args: &Value, after: Vec<usize>) -> Step {
    let work = ToolWork { tool: ToolName::parse(name).unwrap(), args: template(args, &[]) };
    Step { depends_on: after, ..step(id, Work::Tool(work)) }
}

#[test]
fn a_variable_that_an_agent_sets_is_read_by_what_comes_after() {
    let mut document = workflow(vec![
        agent("first", "setting", "go"),
        tool("second", "context_set", &json!({ "key": "copy", "value": "{{ vars.topic }}" }), vec![0]),
        tool("third", "context_get", &json!({ "key": "copy" }), vec![1]),
        Step {
            depends_on: vec![2],
            condition: Some(Condition::Expr(expr("vars.topic == 'old'", &[]))),
            ..agent("never", "setting", "go")
        },
    ]);
    document.vars.insert("topic".to_owned(), json!("old"));
    let scene = Scene::default().agent("setting", |ctx, _| async move {
        let before = ctx.run.variable("topic").unwrap();
        ctx.run.set_variable("topic".to_owned(), json!("new")).await?;
        Ok(text(&format!("{before} {}", ctx.run.variable("topic").unwrap())))
    });
    let seen = scene.run(document);
    assert_eq!(seen.content("first"), "\"old\" \"new\"");
    assert_eq!(*seen.result.step("third").unwrap().result, json!("new"));
    assert!(seen.kinds("never").contains(&"step_skipped"), "{:?}", seen.kinds("never"));
    let set = |event: &Body| matches!(event, Body::VariableSet { key, .. } if key == "topic");
    assert_eq!(seen.journal.iter().filter(|event| set(&event.body)).count(), 1);
    assert_eq!(seen.result.status, RunStatus::Completed);
}

#[test]
fn what_is_no_variable_fails_who_sets_it() {
    let document = workflow(vec![tool("bad", "context_set", &json!({ "key": "no-name", "value": 1 }), vec![])]);
    let seen = Scene::default().run(document);
    let error = seen.result.step("bad").unwrap().error.clone().unwrap();
    assert_eq!(error.code, "invalid_variable");
    assert!(error.message.contains("`no-name`"));
}

#[test]
fn an_agent_sees_the_steps_that_have_ended() {
    let document = workflow(vec![
        agent("first", "echo", "hello"),
        Step { depends_on: vec![0], ..agent("second", "looking", "look") },
    ]);
    let scene = Scene::default().echo().agent("looking", |ctx, _| async move {
        let first = ctx.run.step("first".to_owned()).await.ok_or_else(|| Fault::step("gone", "not seen"))?;
        let own = ctx.run.step("second".to_owned()).await;
        Ok(text(&format!("{} {} {}", first.path, first.status.as_str(), own.is_none())))
    });
    assert_eq!(scene.run(document).content("second"), "first completed true");
}
