//! The same from a program, with runs that are cut anywhere.

use cofferdam::core::event::{Body, RunStatus};
use cofferdam::core::fault::Fault;
use cofferdam::core::id::{LocalName, RunId};
use cofferdam::core::port::{
    Answer, Append, Approver, BlobId, BoxFuture, Effects, JournalError, Lease, LeaseRequest, Page, Question,
    RecordBody, RunFilter, RunPage, ToolContext, ToolDefinition, ToolOutput,
};
use cofferdam::core::spec::workflow::UnknownEffect;
use cofferdam::llm::Scripted;
use cofferdam::store::Memory;
use cofferdam::{
    Approval, Calls, Decision, Error, ForkOptions, Journal, Orchestrator, ResumeOptions, RunOptions, RunResult, Tool,
    UserDirs, Workflow,
};
use cofferdam_engine::TokioClock;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// A journal that remembers every append, of all runs in one order.
#[derive(Default)]
struct Log {
    journal: Memory,
    appends: Mutex<Vec<Append>>,
}

impl Log {
    /// What would be there, had the machine stopped after so many appends, and after so many records of the next one.
    async fn cut(&self, appends: usize) -> Arc<Self> {
        let log = Arc::new(Self::default());
        let kept: Vec<Append> = self.appends.lock().unwrap()[..appends].to_vec();
        for append in kept {
            log.append(append).await.unwrap();
        }
        log
    }

    fn events(&self) -> Vec<Body> {
        let appends = self.appends.lock().unwrap();
        let records = appends.iter().flat_map(|append| &append.records);
        let events = records.filter_map(|record| match &record.body {
            RecordBody::Event(event) => Some(event.body.clone()),
            RecordBody::Spilled(_) | RecordBody::Note { .. } => None,
        });
        events.collect()
    }
}

impl Journal for Log {
    fn append(&self, request: Append) -> BoxFuture<'_, Result<u64, JournalError>> {
        self.appends.lock().unwrap().push(request.clone());
        self.journal.append(request)
    }

    fn read<'a>(&'a self, run: &'a RunId, after: u64, limit: usize) -> BoxFuture<'a, Result<Page, JournalError>> {
        self.journal.read(run, after, limit)
    }

    fn list(&self, filter: RunFilter) -> BoxFuture<'_, Result<RunPage, JournalError>> {
        self.journal.list(filter)
    }

    fn put_blob(&self, id: BlobId, bytes: Arc<[u8]>) -> BoxFuture<'_, Result<(), JournalError>> {
        self.journal.put_blob(id, bytes)
    }

    fn get_blob<'a>(&'a self, id: &'a BlobId) -> BoxFuture<'a, Result<Arc<[u8]>, JournalError>> {
        self.journal.get_blob(id)
    }

    fn lease(&self, request: LeaseRequest) -> BoxFuture<'_, Result<Lease, JournalError>> {
        self.journal.lease(request)
    }

    fn delete<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<(), JournalError>> {
        self.journal.delete(run)
    }
}

/// Posts, and remembers how often under each key.
#[derive(Clone, Default)]
struct Post(Arc<Mutex<BTreeMap<String, usize>>>);

impl Post {
    fn keys(&self) -> BTreeMap<String, usize> {
        self.0.lock().unwrap().clone()
    }
}

struct PostTool(Post, Vec<ToolDefinition>);

#[expect(clippy::fallible_impl_from, reason = "the name of the tool follows the grammar")]
impl From<Post> for PostTool {
    fn from(post: Post) -> Self {
        let definition = ToolDefinition {
            name: LocalName::parse("post").unwrap(),
            title: None,
            description: "Posts.".to_owned(),
            input_schema: Arc::new(json!({ "type": "object" })),
            output_schema: None,
            effects: Effects::default(),
            examples: Vec::new(),
        };
        Self(post, vec![definition])
    }
}

impl Tool for PostTool {
    fn definitions(&self) -> &[ToolDefinition] {
        &self.1
    }

    fn call<'a>(
        &'a self,
        ctx: ToolContext,
        _: &'a LocalName,
        args: Arc<Value>,
    ) -> BoxFuture<'a, Result<ToolOutput, Fault>> {
        *self.0.0.lock().unwrap().entry(ctx.idempotency_key.to_string()).or_default() += 1;
        Box::pin(std::future::ready(Ok(ToolOutput { result: Arc::clone(&args), content: None })))
    }
}

const POSTING: &str = "
name: posting
agents: { poster: { description: Posts., tools: [post, agent] } }
steps:
  - { id: a, agent: poster, instructions: Post. }
  - { id: b, dependsOn: [a], agent: poster, instructions: Post. }
  - { id: each, loop: { forEach: [x, y], steps: [{ id: c, agent: poster, instructions: Post. }] } }
output: steps.b.content
";

const POSTS: &str = "
chunk: 0
answers:
  - { step: a, turn: 1, toolCalls: [{ tool: post, args: { n: 1 } }, { tool: agent, args: { task: Post. } }, { tool: post, args: { n: 2 } }] }
  - { step: a@2, turn: 1, toolCalls: [{ tool: post, args: { n: 3 } }], usage: { input: 3, output: 1 } }
  - { step: a, turn: 2, text: a is done, usage: { input: 9, output: 1 } }
  - { step: b, turn: 1, toolCalls: [{ tool: post, args: { n: 4 } }], usage: { input: 4, output: 1 } }
  - { step: 'each[1].c', turn: 1, toolCalls: [{ tool: post, args: { n: 5 } }] }
  - step: 'each[0].c'
    turn: 1
    toolCalls: [{ tool: agent, args: { task: Post., background: true } }, { tool: post, args: { n: 6 } }]
  - { step: 'each[0].c@1', turn: 1, delay: 5s, toolCalls: [{ tool: post, args: { n: 7 } }] }
default: { text: done, usage: { input: 1, output: 1 } }
";

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

fn orchestrator(log: &Arc<Log>, post: &Post) -> Orchestrator {
    let builder = Orchestrator::builder().model(Scripted::parse(POSTS).unwrap()).tool(PostTool::from(post.clone()));
    builder.storage(Arc::clone(log) as Arc<dyn Journal>).build().unwrap()
}

fn deferring() -> RunOptions {
    RunOptions { defer_approvals: true, ..RunOptions::default() }
}

/// Allows all but the fourth post, call by call, in as many processes.
async fn allow_all(log: &Arc<Log>, post: &Post, mut result: RunResult) -> RunResult {
    let workflow = Workflow::parse(POSTING, ".").unwrap();
    for _ in 0..20 {
        let Some(open) = result.approvals.first() else { break };
        let decision = if open.args["n"] == 4 { Decision::Deny } else { Decision::Allow };
        let approval =
            Approval { step: open.step.to_string(), calls: Calls::One(open.call.clone()), decision, reason: None };
        result = go_on(log, post, &workflow, &result.run_id, vec![approval]).await;
    }
    result
}

async fn go_on(log: &Arc<Log>, post: &Post, workflow: &Workflow, run: &RunId, approvals: Vec<Approval>) -> RunResult {
    let on_unknown_effect = Some(UnknownEffect::Retry);
    let options = ResumeOptions { approvals, on_unknown_effect, ..ResumeOptions::default() };
    orchestrator(log, post).resume_flow(run, Some(workflow), options).await.unwrap()
}

#[test]
fn a_run_that_was_cut_between_any_two_records_goes_on() {
    runtime().block_on(async {
        let workflow = Workflow::parse(POSTING, ".").unwrap();
        let (log, post) = (Arc::new(Log::default()), Post::default());
        let begun = orchestrator(&log, &post).run_flow(&workflow, deferring()).await.unwrap();
        assert_eq!((begun.status, begun.approvals.len()), (RunStatus::Waiting, 6), "{begun:?}");
        assert!(post.keys().is_empty());
        let whole = Box::pin(allow_all(&log, &post, begun)).await;
        assert_eq!((whole.status, whole.final_output()), (RunStatus::Completed, "done".to_owned()), "{whole:?}");
        assert!(whole.usage.input > 16, "{:?}", whole.usage);
        let keys = post.keys();
        assert!(keys.len() == 6 && keys.values().all(|times| *times == 1), "{keys:?}");
        let is_stop = |body: &Body| matches!(body, Body::Warning { code, .. } if code == "agents_stopped");
        assert!(!log.events().iter().any(is_stop), "nobody is stopped who waits: {:?}", whole.warnings);
        orchestrator(&log, &post).replay(&whole.run_id).await.unwrap();
        let appends = log.appends.lock().unwrap().len();
        for cut in 1..appends {
            let log = log.cut(cut).await;
            let has_begun =
                |body: &Body| matches!(body, Body::ToolCallStarted { tool, .. } if tool.to_string() == "post");
            let has_ended =
                |body: &Body| matches!(body, Body::ToolCallFinished { tool, .. } if tool.to_string() == "post");
            let events = log.events();
            let (begun, ended) = (
                events.iter().filter(|body| has_begun(body)).count(),
                events.iter().filter(|body| has_ended(body)).count(),
            );
            let post = Post::default();
            let result = go_on(&log, &post, &workflow, &whole.run_id, Vec::new()).await;
            let result = Box::pin(allow_all(&log, &post, result)).await;
            assert_eq!((result.status, result.final_output()), (whole.status, whole.final_output()), "cut at {cut}");
            assert_eq!(result.usage, whole.usage, "cut at {cut}");
            // What has an end is not made again; of the rest each is made once, under the key that it had.
            let again = post.keys();
            assert!(again.iter().all(|(key, times)| *times == 1 && keys.contains_key(key)), "cut at {cut}: {again:?}");
            assert_eq!(again.len(), keys.len() - ended, "cut at {cut}: {begun} had begun");
            orchestrator(&log, &post).replay(&whole.run_id).await.unwrap();
        }
    });
}

#[test]
fn only_a_users_own_words_allow_a_call() {
    let (mine, theirs) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    runtime().block_on(async {
        let workflow = Workflow::parse(POSTING, ".").unwrap();
        let (log, post) = (Arc::new(Log::default()), Post::default());
        let user = |log: &Arc<Log>, post: &Post, state: &TempDir| {
            let builder = Orchestrator::builder().model(Scripted::parse(POSTS).unwrap());
            let builder = builder.tool(PostTool::from(post.clone())).storage(Arc::clone(log) as Arc<dyn Journal>);
            let dirs = UserDirs { cache: state.path().join("cache"), state: state.path().join("state") };
            builder.user_dirs(dirs).build().unwrap()
        };
        let begun = user(&log, &post, &mine).run_flow(&workflow, deferring()).await.unwrap();
        let said = |decision| Approval { step: "a".to_owned(), calls: Calls::All, decision, reason: None };
        let options = ResumeOptions { approvals: vec![said(Decision::Allow)], ..ResumeOptions::default() };
        let resumed = user(&log, &post, &mine).resume_flow(&begun.run_id, Some(&workflow), options).await.unwrap();
        assert_eq!(post.keys().len(), 3, "{resumed:?}");
        let appends = log.appends.lock().unwrap().clone();
        let says = |append: &Append| {
            append.records.iter().any(|record| match &record.body {
                RecordBody::Event(event) => {
                    matches!(&event.body, Body::RunResumed { approved, .. } if !approved.is_empty())
                }
                _ => false,
            })
        };
        // The process ended when the word was recorded, before the calls were made.
        let cut = 1 + appends.iter().position(says).unwrap();
        for (state, made) in [(&mine, 3), (&theirs, 0)] {
            let (log, post) = (log.cut(cut).await, Post::default());
            let resume = |approvals| {
                let options = ResumeOptions { approvals, ..ResumeOptions::default() };
                Box::pin(async { user(&log, &post, state).resume_flow(&begun.run_id, Some(&workflow), options).await })
            };
            let result = resume(Vec::new()).await.unwrap();
            assert_eq!((result.status, post.keys().len()), (RunStatus::Waiting, made), "{result:?}");
            if made == 0 {
                // Whoever reads it may say so themselves, or say no.
                let both = vec![said(Decision::Allow), said(Decision::Deny)];
                let Err(Error::Refused(faults)) = resume(both).await else { panic!("both") };
                assert!(faults.iter().all(|fault| fault.code == "contradicting_approvals"), "{faults:?}");
                resume(vec![said(Decision::Allow)]).await.unwrap();
                assert_eq!(post.keys().len(), 3);
            }
        }
    });
}

#[test]
fn a_person_who_does_not_answer_in_time_is_waited_for() {
    struct Silent;
    impl Approver for Silent {
        fn ask(&self, _: Question) -> BoxFuture<'_, Answer> {
            Box::pin(std::future::pending())
        }
    }
    runtime().block_on(async {
        let workflow = Workflow::parse(POSTING, ".").unwrap();
        let post = Post::default();
        let builder = Orchestrator::builder().model(Scripted::parse(POSTS).unwrap()).tool(PostTool::from(post.clone()));
        let asking = builder.approval(Arc::new(Silent), std::time::Duration::from_secs(60)).build().unwrap();
        let result = asking.run_flow(&workflow, deferring()).await.unwrap();
        assert_eq!((result.status, result.approvals.len()), (RunStatus::Waiting, 6), "{result:?}");
    });
}

#[test]
fn words_about_calls_that_are_not_there_are_refused() {
    runtime().block_on(async {
        let workflow = Workflow::parse(POSTING, ".").unwrap();
        let (log, post) = (Arc::new(Log::default()), Post::default());
        let begun = orchestrator(&log, &post).run_flow(&workflow, deferring()).await.unwrap();
        let word = |step: &str, calls: Calls| Approval {
            step: step.to_owned(),
            calls,
            decision: Decision::Allow,
            reason: None,
        };
        for (approval, code) in [
            (word("zzz", Calls::Only), "unknown_approval"),
            (word("a", Calls::Only), "ambiguous_approval"),
            (word("a", Calls::One("9".to_owned())), "unknown_approval"),
        ] {
            let options = ResumeOptions { approvals: vec![approval], ..ResumeOptions::default() };
            let error = orchestrator(&log, &post).resume_flow(&begun.run_id, Some(&workflow), options).await;
            let Err(Error::Refused(faults)) = error else { panic!("{code}: {error:?}") };
            assert_eq!(faults[0].code, code);
        }
        assert!(post.keys().is_empty());
        // A branch may be given a word as well.
        let resume = ResumeOptions { approvals: vec![word("a", Calls::All)], ..ResumeOptions::default() };
        let fork = ForkOptions { from: vec!["each".into()], resume, ..ForkOptions::default() };
        let forking = orchestrator(&log, &post);
        let branch = forking.branch(&begun.run_id, Some(&workflow), &fork).await.unwrap();
        let forked = forking.run_branch(branch, fork.resume).await.unwrap();
        assert_eq!((forked.status, post.keys().len()), (RunStatus::Waiting, 3), "{forked:?}");
    });
}

#[test]
fn the_time_in_which_a_step_waits_is_not_its_own() {
    runtime().block_on(async {
        let document = "
name: slow
agents: { poster: { description: Posts., tools: [post] } }
steps:
  - { id: a, agent: poster, instructions: Post., timeout: 5s }
  - { id: b, instructions: Take your time. }
";
        let script = "
chunk: 0
answers:
  - { step: a, turn: 1, toolCalls: [{ tool: post, args: { n: 1 } }] }
  - { step: b, delay: 1h, text: late }
default: { text: done }
";
        let workflow = Workflow::parse(document, ".").unwrap();
        let (log, post, clock) = (Arc::new(Log::default()), Post::default(), Arc::new(TokioClock::new()));
        let start = || {
            let builder = Orchestrator::builder().model(Scripted::parse(script).unwrap());
            let builder = builder.tool(PostTool::from(post.clone())).storage(Arc::clone(&log) as Arc<dyn Journal>);
            builder.clock(Arc::clone(&clock) as _).build().unwrap()
        };
        let begun = start().run_flow(&workflow, deferring()).await.unwrap();
        assert_eq!(begun.status, RunStatus::Waiting, "{begun:?}");
        let approval = Approval { step: "a".to_owned(), calls: Calls::Only, decision: Decision::Allow, reason: None };
        let options = ResumeOptions { approvals: vec![approval], ..ResumeOptions::default() };
        let result = start().resume_flow(&begun.run_id, Some(&workflow), options).await.unwrap();
        assert_eq!(result.status, RunStatus::Completed, "{:?}", result.error);
    });
}
