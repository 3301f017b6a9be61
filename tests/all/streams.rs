//! Runs as streams: what chunks say, who sees them, and that a stream ends as its run does.

use crate::support::TestRuntime;
use cofferdam::core::event::RunStatus;
use cofferdam::core::fault::Fault;
use cofferdam::core::id::LocalName;
use cofferdam::core::port::{BoxFuture, Effects, ToolContext, ToolDefinition, ToolOutput};
use cofferdam::llm::Scripted;
use cofferdam::{
    Chunk, ChunkHandler, ChunkKind, Mode, Orchestrator, RunOptions, StreamMetadata, StreamOptions, Tool, Workflow,
};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;

fn runtime() -> TestRuntime {
    TestRuntime::quick()
}

fn scripted(script: &str) -> Orchestrator {
    Orchestrator::builder().model(Scripted::parse(script).unwrap()).build().unwrap()
}

const TWO_STEPS: &str = "name: two\nsteps:\n  - { id: first, instructions: One. }\n  - { id: second, dependsOn: [first], instructions: Two. }";
const SPEAK: &str = "chunk: 3\ndefault: { text: '<{{step}}> says this' }";

async fn all(orchestrator: &Orchestrator, document: &str, options: StreamOptions) -> Vec<Chunk> {
    let workflow = Workflow::parse(document, ".").unwrap();
    let mut stream = orchestrator.run_stream(&workflow, RunOptions::default(), options);
    stream.chunks().collect().await
}

fn kinds(chunks: &[Chunk]) -> Vec<ChunkKind> {
    let mut kinds: Vec<ChunkKind> = chunks.iter().map(|chunk| chunk.kind).collect();
    kinds.dedup();
    kinds
}

#[test]
fn a_stream_says_what_it_is_of() {
    runtime().block_on(async {
        let orchestrator = scripted(SPEAK);
        let workflow = Workflow::parse(TWO_STEPS, ".").unwrap();
        let stream = orchestrator.run_stream(&workflow, RunOptions::default(), StreamOptions::default());
        let StreamMetadata { workflow, run_id, mode, step_names, total_steps, .. } = stream.metadata().clone();
        assert_eq!((workflow.as_str(), mode, total_steps), ("two", Mode::Dag, 2));
        assert_eq!(step_names, ["first", "second"]);
        let id = stream.metadata().workflow_id.clone();
        let result = stream.wait().await.unwrap();
        assert_eq!((result.run_id, result.workflow_id), (run_id, id));
    });
}

#[test]
fn every_step_starts_once_and_completes_once_and_chunks_say_where_they_belong() {
    runtime().block_on(async {
        let chunks = all(&scripted(SPEAK), TWO_STEPS, StreamOptions::default()).await;
        use ChunkKind::{AgentComplete, AgentStart, Delta, Done, Metadata};
        let wanted = [Metadata, AgentStart, Delta, AgentComplete, AgentStart, Delta, AgentComplete, Done];
        assert_eq!(kinds(&chunks), wanted);
        for chunk in chunks.iter().filter(|chunk| chunk.kind == Delta) {
            let metadata = &chunk.metadata;
            let index = usize::from(metadata.step_name.as_deref() == Some("second"));
            assert_eq!((metadata.step_index, metadata.total_steps), (Some(index), 2));
            assert_eq!(metadata.path.as_str(), ["first", "second"][index]);
        }
        assert!(chunks.iter().enumerate().all(|(index, chunk)| chunk.index == index as u64));
    });
}

#[test]
fn steps_that_wait_are_complete_for_the_stream_and_so_is_what_is_around_them() {
    let document = "name: w
agents: { scribe: { description: S., tools: [write] } }
steps:
  - { id: group, steps: [{ id: sure, ask: { prompt: 'Sure?' } }, { id: note, agent: scribe, instructions: Write. }] }
  - { id: last, dependsOn: [group], instructions: Last. }";
    let script = "answers: [{ step: note, turn: 1, toolCalls: [{ tool: write, args: { path: a, content: b } }] }]";
    runtime().block_on(async {
        let (orchestrator, workflow) = (scripted(script), Workflow::parse(document, ".").unwrap());
        let options = RunOptions { defer_approvals: true, ..RunOptions::default() };
        let mut stream = orchestrator.run_stream(&workflow, options, StreamOptions::default());
        let chunks: Vec<Chunk> = stream.chunks().collect().await;
        assert_eq!(stream.wait().await.unwrap().status, RunStatus::Waiting);
        let paths = |kind: ChunkKind| {
            let own = chunks.iter().filter(|chunk| chunk.kind == kind);
            let mut paths: Vec<String> = own.map(|chunk| chunk.metadata.path.to_string()).collect();
            assert!(kind != ChunkKind::AgentComplete || paths.last().unwrap() == "group", "the outermost is the last");
            paths.sort();
            paths
        };
        assert_eq!(paths(ChunkKind::AgentStart), ["group", "group.note", "group.sure"]);
        assert_eq!(paths(ChunkKind::AgentComplete), paths(ChunkKind::AgentStart));
        let complete = chunks.iter().filter(|chunk| chunk.kind == ChunkKind::AgentComplete);
        assert!(complete.clone().all(|chunk| chunk.metadata.step_name.as_deref() == Some("group")));
        assert_eq!(chunks.last().unwrap().kind, ChunkKind::Done);
    });
}

#[test]
fn chunks_of_a_loop_say_which_iteration_they_belong_to() {
    runtime().block_on(async {
        let document = "name: w\nsteps: [{ id: each, loop: { forEach: [1, 2] }, instructions: Speak. }]";
        let chunks = all(&scripted(SPEAK), document, StreamOptions::default()).await;
        let mut iterations: Vec<_> = chunks
            .iter()
            .filter(|chunk| chunk.kind == ChunkKind::Delta)
            .map(|chunk| (chunk.metadata.step_name.clone().unwrap(), chunk.metadata.iteration.unwrap()))
            .collect();
        iterations.sort();
        iterations.dedup();
        assert_eq!(iterations, [("each".to_owned(), 0), ("each".to_owned(), 1)]);
        // The loop itself says nothing: its items have said it.
        assert!(chunks.iter().all(|chunk| chunk.kind != ChunkKind::Text), "{chunks:?}");
    });
}

#[test]
fn what_is_not_wanted_is_not_sent() {
    let script = "answers: [{ turn: 1, step: first, reasoning: hm, toolCalls: [{ tool: glob, args: { pattern: x } }] }]\ndefault: { reasoning: so, text: done }";
    runtime().block_on(async {
        let everything = kinds(&all(&scripted(script), TWO_STEPS, StreamOptions::default()).await);
        for (without, gone) in [
            (StreamOptions { thoughts: false, ..StreamOptions::default() }, vec![ChunkKind::Thought]),
            (
                StreamOptions { tool_calls: false, ..StreamOptions::default() },
                vec![ChunkKind::ToolCall, ChunkKind::ToolResult],
            ),
            (StreamOptions { metadata: false, ..StreamOptions::default() }, vec![ChunkKind::Metadata]),
        ] {
            assert!(gone.iter().all(|kind| everything.contains(kind)), "{everything:?}");
            let some = kinds(&all(&scripted(script), TWO_STEPS, without).await);
            assert!(gone.iter().all(|kind| !some.contains(kind)), "{some:?}");
        }
        let text_only = StreamOptions { text_only: true, ..StreamOptions::default() };
        assert_eq!(kinds(&all(&scripted(script), TWO_STEPS, text_only).await), [ChunkKind::Delta, ChunkKind::Done]);
    });
}

#[test]
fn text_only_keeps_errors() {
    runtime().block_on(async {
        let script = "default: { error: { status: 401 } }";
        let text_only = StreamOptions { text_only: true, ..StreamOptions::default() };
        let chunks = all(&scripted(script), "name: w\nsteps: [{ id: a, instructions: x }]", text_only).await;
        assert_eq!(kinds(&chunks), [ChunkKind::Error, ChunkKind::Done]);
    });
}

#[test]
fn the_text_of_a_run_can_be_read() {
    runtime().block_on(async {
        let document = "name: w\nsteps:\n  - { id: files, tool: glob, args: { pattern: 'no-such-*' } }\n  - { id: speak, dependsOn: [files], instructions: Speak. }";
        let orchestrator = scripted("chunk: 3\ndefault: { text: 'nothing was found' }");
        let workflow = Workflow::parse(document, ".").unwrap();
        let mut stream = orchestrator.run_stream(&workflow, RunOptions::default(), StreamOptions::default());
        let mut text = String::new();
        stream.text_reader().read_to_string(&mut text).await.unwrap();
        let result = stream.wait().await.unwrap();
        let whole = result.step("files").unwrap().content.to_string();
        assert!(!whole.is_empty());
        assert_eq!(text, format!("{whole}nothing was found"));
    });
}

#[test]
fn pieces_that_come_together_are_joined_and_none_waits_longer_than_the_interval() {
    runtime().block_on(async {
        let script = "chunk: 1\ninterval: 10ms\ndefault: { text: abcdefghij }";
        let document = "name: w\nsteps: [{ id: a, instructions: x }]";
        let pieces =
            |chunks: &[Chunk]| -> Vec<String> { chunks.iter().filter_map(|chunk| chunk.delta.clone()).collect() };
        let single = pieces(&all(&scripted(script), document, StreamOptions::default()).await);
        assert_eq!(single.len(), 10);
        let options = StreamOptions { flush_interval: Some(Duration::from_millis(35)), ..StreamOptions::default() };
        let joined = pieces(&all(&scripted(script), document, options).await);
        assert_eq!(joined.concat(), "abcdefghij");
        assert!((2..=5).contains(&joined.len()), "{joined:?}");
    });
}

#[test]
fn a_handler_sees_every_chunk_also_when_nobody_reads() {
    runtime().block_on(async {
        for read in [true, false] {
            let seen = Arc::new(Mutex::new(Vec::new()));
            let keep = Arc::clone(&seen);
            let handler = ChunkHandler::new(move |chunk| {
                keep.lock().unwrap().push((chunk.index, chunk.kind));
                assert!(chunk.kind != ChunkKind::AgentStart, "a panic in a handler harms nobody");
            });
            let options = StreamOptions { handler: Some(handler), buffer: 1, ..StreamOptions::default() };
            let (orchestrator, workflow) = (scripted(SPEAK), Workflow::parse(TWO_STEPS, ".").unwrap());
            let mut stream = orchestrator.run_stream(&workflow, RunOptions::default(), options);
            if read {
                while stream.next().await.is_some() {}
            }
            assert!(stream.wait().await.unwrap().success());
            let seen = seen.lock().unwrap();
            assert!(seen.len() > 10 && seen.iter().enumerate().all(|(at, (index, _))| at as u64 == *index), "{seen:?}");
            assert_eq!(seen.iter().filter(|(_, kind)| *kind == ChunkKind::Done).count(), 1);
        }
    });
}

#[test]
fn a_stream_has_the_time_that_it_is_given() {
    runtime().block_on(async {
        let slow = scripted("default: { delay: 1h, text: late }");
        let workflow = Workflow::parse("name: w\nsteps: [{ id: a, instructions: x }]", ".").unwrap();
        let options = StreamOptions { timeout: Some(Duration::from_secs(5)), ..StreamOptions::default() };
        let mut stream = slow.run_stream(&workflow, RunOptions::default(), options);
        let chunks: Vec<Chunk> = stream.chunks().collect().await;
        // A step that began is completed, also when it was stopped.
        let ends = chunks.iter().filter(|chunk| chunk.kind == ChunkKind::AgentComplete).count();
        assert_eq!((ends, kinds(&chunks).last()), (1, Some(&ChunkKind::Done)));
        let result = stream.wait().await.unwrap();
        assert_eq!(result.error.unwrap().fault.code, "timeout");
    });
}

#[test]
fn many_writers_lose_nothing_and_a_small_buffer_keeps_the_order() {
    runtime().block_on(async {
        let steps: Vec<String> = (0..10).map(|step| format!("{{ id: s{step}, instructions: x }}")).collect();
        let document = format!("name: w\noptions: {{ maxConcurrency: 10 }}\nsteps: [{}]", steps.join(", "));
        let orchestrator = scripted("chunk: 1\ndefault: { text: abcde }");
        let options = StreamOptions { buffer: 2, ..StreamOptions::default() };
        let chunks = all(&orchestrator, &document, options).await;
        for step in 0..10 {
            let name = format!("s{step}");
            let of_step = chunks.iter().filter(|chunk| chunk.metadata.step_name.as_deref() == Some(&name));
            assert_eq!(of_step.filter_map(|chunk| chunk.delta.clone()).collect::<String>(), "abcde");
        }
    });
}

#[test]
fn a_stream_that_is_cancelled_ends() {
    runtime().block_on(async {
        let orchestrator = scripted("chunk: 1\ninterval: 1s\ndefault: { text: a long text }");
        let workflow = Workflow::parse(TWO_STEPS, ".").unwrap();
        for after in [0, 5] {
            let mut stream = orchestrator.run_stream(&workflow, RunOptions::default(), StreamOptions::default());
            let mut read = 0;
            if after == 0 {
                stream.cancel();
            }
            while let Some(chunk) = stream.next().await {
                read += usize::from(chunk.kind == ChunkKind::Delta);
                if read == after {
                    stream.cancel();
                    stream.cancel();
                }
            }
            assert!(read < 10, "{read}");
            let result = stream.wait().await.unwrap();
            assert_eq!(result.status, RunStatus::Cancelled);
        }
    });
}

#[test]
fn what_the_caller_says_of_a_run_comes_back_and_is_recorded() {
    runtime().block_on(async {
        let orchestrator = scripted(SPEAK);
        let workflow = Workflow::parse(TWO_STEPS, ".").unwrap();
        let metadata = serde_json::Map::from_iter([("ticket".to_owned(), serde_json::json!(7))]);
        let options =
            RunOptions { metadata: metadata.clone(), session: Some("anna".to_owned()), ..RunOptions::default() };
        let result = orchestrator.run_flow(&workflow, options).await.unwrap();
        assert_eq!((result.metadata, result.session.as_deref()), (metadata, Some("anna")));
        let page = orchestrator.runs().read(&result.run_id, 0, 10).await.unwrap();
        let first = format!("{page:?}");
        assert!(first.contains("ticket") && first.contains("anna"), "{first}");
    });
}

#[test]
fn closing_ends_a_run_whose_stream_nobody_reads_and_says_so() {
    runtime().block_on(async {
        // The first has done all its work and waits for its reader alone; the second is at work.
        let at_work =
            "chunk: 1\nanswers: [{ step: second, delay: 1h, text: late }]\ndefault: { text: 'many small pieces' }";
        for (script, status) in [(SPEAK, RunStatus::Completed), (at_work, RunStatus::Cancelled)] {
            let orchestrator = scripted(script);
            let workflow = Workflow::parse(TWO_STEPS, ".").unwrap();
            let options = StreamOptions { buffer: 1, ..StreamOptions::default() };
            let mut stream = orchestrator.run_stream(&workflow, RunOptions::default(), options);
            assert!(stream.next().await.is_some());
            tokio::time::sleep(Duration::from_secs(60)).await;
            let began = tokio::time::Instant::now();
            let report = orchestrator.close().await;
            assert!(report.still_running.is_empty(), "{report:?}");
            assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
            let chunks: Vec<Chunk> = stream.chunks().collect().await;
            assert!(chunks.len() > 5, "what was made is there");
            assert_eq!(chunks.last().unwrap().kind, ChunkKind::Done);
            assert_eq!(stream.wait().await.unwrap().status, status);
        }
    });
}

/// A tool that gives bytes as servers of tools do.
struct Camera(Vec<ToolDefinition>);

impl Camera {
    fn new() -> Self {
        Self(vec![ToolDefinition {
            name: LocalName::parse("camera").unwrap(),
            title: None,
            description: "Looks and listens.".into(),
            input_schema: Arc::new(json!({ "type": "object" })),
            output_schema: None,
            effects: Effects { read_only: true, ..Effects::default() },
            examples: Vec::new(),
        }])
    }
}

impl Tool for Camera {
    fn definitions(&self) -> &[ToolDefinition] {
        &self.0
    }

    fn call<'a>(&'a self, _: ToolContext, _: &'a LocalName, _: Arc<Value>) -> BoxFuture<'a, Result<ToolOutput, Fault>> {
        let part = |media: &str, base64: &str| json!({ "kind": "x", "media_type": media, "base64": base64 });
        let left_out = json!({ "kind": "image", "media_type": "image/png", "left_out": "more than 9 bytes" });
        let data = [
            part("image/png", "QUFB"),
            part("audio/wav", "QkJC"),
            part("video/mp4", "Q0ND"),
            part("text/csv", "RERE"),
            left_out,
        ];
        let output = ToolOutput { result: Arc::new(json!({ "data": data })), content: Some("look".into()) };
        Box::pin(std::future::ready(Ok(output)))
    }
}

#[test]
fn what_a_tool_shows_and_plays_comes_behind_its_result() {
    let chunks = |options: StreamOptions| {
        runtime().block_on(async {
            let orchestrator = Orchestrator::builder().tool(Camera::new()).build().unwrap();
            all(&orchestrator, "name: w\nsteps: [{ id: a, tool: camera }]", options).await
        })
    };
    let media = |chunks: &[Chunk]| {
        let told = chunks.iter().filter_map(|chunk| {
            let media = chunk.media.as_ref()?;
            assert_eq!((chunk.tool.as_ref().unwrap().name.as_str(), chunk.metadata.path.as_str()), ("camera", "a"));
            Some((chunk.kind, media.media_type.clone(), media.base64.to_string()))
        });
        told.collect::<Vec<_>>()
    };
    let all = chunks(StreamOptions::default());
    let wanted = [
        (ChunkKind::Image, "image/png".to_owned(), "QUFB".to_owned()),
        (ChunkKind::Audio, "audio/wav".to_owned(), "QkJC".to_owned()),
        (ChunkKind::Video, "video/mp4".to_owned(), "Q0ND".to_owned()),
    ];
    assert_eq!(media(&all), wanted);
    let place = |kind| all.iter().position(|chunk| chunk.kind == kind).unwrap();
    assert_eq!(place(ChunkKind::ToolResult) + 1, place(ChunkKind::Image));
    assert_eq!(media(&chunks(StreamOptions { tool_calls: false, ..StreamOptions::default() })), wanted);
    assert_eq!(media(&chunks(StreamOptions { text_only: true, ..StreamOptions::default() })), []);
}
