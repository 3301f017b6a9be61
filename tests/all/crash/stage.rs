//! Where workers are started, killed and followed by others, and what must come out.
//!
//! It must not know why a worker is killed.

use super::plot;
use super::worker::{self, Failpoint, KILLED, Order, Report, Store, Unknown};
use cofferdam::core::event::{Body, RunEvent, StepStatus};
use cofferdam::core::id::RunId;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The variable that makes a test process a worker.
pub(super) const ORDER: &str = "COFFERDAM_CRASH_ORDER";

/// Starts, kills and resumes workers in a folder of their own.
pub(super) struct Stage {
    pub(super) folder: TempDir,
    pub(super) store: Store,
    pub(super) tool_ms: u64,
    pub(super) coordinated: bool,
}

/// How a worker ended.
#[derive(Debug)]
pub(super) enum Ended {
    Killed,
    Itself(Report),
}

impl Stage {
    pub(super) fn new(store: Store, tool_ms: u64) -> Self {
        let folder = tempfile::Builder::new().prefix("cofferdam-crash-").tempdir().unwrap();
        std::fs::write(folder.path().join("crash.yaml"), plot::document()).unwrap();
        std::fs::write(folder.path().join("inner.yaml"), plot::INNER).unwrap();
        std::fs::create_dir(folder.path().join("journal")).unwrap();
        std::fs::create_dir(folder.path().join(worker::DISK)).unwrap();
        Self { folder, store, tool_ms, coordinated: false }
    }

    /// Where agents and their coordinator write to each other.
    pub(super) fn of_talk(store: Store) -> Self {
        let stage = Self { coordinated: true, ..Self::new(store, 0) };
        std::fs::write(stage.path("crash.yaml"), plot::TALKING).unwrap();
        stage
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn spawn(&self, failpoint: Failpoint, unknown: Unknown) -> Child {
        self.spawn_to("report.json", failpoint, unknown)
    }

    pub(super) fn spawn_to(&self, report: &str, failpoint: Failpoint, unknown: Unknown) -> Child {
        self.spawn_with(&self.order(report, failpoint, unknown))
    }

    pub(super) fn order(&self, report: &str, failpoint: Failpoint, unknown: Unknown) -> Order {
        let (folder, report) = (self.folder.path().to_owned(), self.path(report));
        Order {
            folder,
            store: self.store,
            failpoint,
            unknown,
            many: None,
            report,
            tool_ms: self.tool_ms,
            coordinated: self.coordinated,
        }
    }

    pub(super) fn spawn_with(&self, order: &Order) -> Child {
        self.command(order).spawn().unwrap()
    }

    /// The process of a worker that is still to be started.
    pub(super) fn command(&self, order: &Order) -> Command {
        let _ = std::fs::remove_file(&order.report);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "crash::a_worker_carries_out_its_order", "--nocapture"])
            .env(ORDER, serde_json::to_string(order).unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    pub(super) fn end(&self, child: Child) -> Ended {
        self.end_with("report.json", child)
    }

    pub(super) fn end_with(&self, report: &str, mut child: Child) -> Ended {
        let deadline = Instant::now() + Duration::from_secs(60);
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > deadline => {
                    child.kill().unwrap();
                    panic!("a worker hangs");
                }
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        if status.code() == Some(KILLED) || status.code().is_none() {
            return Ended::Killed;
        }
        assert!(status.success(), "the worker failed: {status}");
        let report = std::fs::read(self.path(report)).unwrap();
        Ended::Itself(serde_json::from_slice(&report).unwrap())
    }

    pub(super) fn work(&self, failpoint: Failpoint) -> Ended {
        self.end(self.spawn(failpoint, Unknown::Look))
    }

    pub(super) fn finish(&self, unknown: Unknown) -> Report {
        match self.end(self.spawn(Failpoint::Never, unknown)) {
            Ended::Itself(report) => report,
            Ended::Killed => panic!("nobody kills this one"),
        }
    }

    /// How often each effect happened: its tool and its key.
    pub(super) fn effects(&self) -> BTreeMap<(String, String), usize> {
        let mut effects = BTreeMap::new();
        for line in self.witnessed("effect ") {
            let (tool, key) = line.split_once(' ').unwrap();
            *effects.entry((tool.to_owned(), key.to_owned())).or_default() += 1;
        }
        effects
    }

    /// What the journal holds.
    pub(super) fn events(&self) -> Vec<Arc<RunEvent>> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let order = self.order("report.json", Failpoint::Never, Unknown::Look);
            let (on, mut events) = (worker::builder(&order).build().unwrap(), Vec::new());
            let run = RunId::parse(worker::RUN).unwrap();
            cofferdam_engine::read_events(&*on.runs(), &run, |event| events.push(Arc::clone(event))).await.unwrap();
            on.close().await;
            events
        })
    }

    /// Steps that began again though they were done, and turns that were asked for again though they were answered.
    pub(super) fn done_again(&self) -> Vec<String> {
        let (mut done, mut again) = (BTreeSet::new(), Vec::new());
        for event in self.events() {
            let key = match &event.body {
                Body::StepStarted { .. } => event.path.to_string(),
                Body::StepFinished { status: StepStatus::Completed, .. } => {
                    done.insert(event.path.to_string());
                    continue;
                }
                Body::TurnStarted { turn, .. } => format!("{} try {:?} turn {turn}", event.path, event.attempt),
                Body::TurnFinished { turn, .. } => {
                    done.insert(format!("{} try {:?} turn {turn}", event.path, event.attempt));
                    continue;
                }
                _ => continue,
            };
            if done.contains(&key) {
                again.push(key);
            }
        }
        again
    }

    pub(super) fn witnessed(&self, what: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("witness")).unwrap_or_default();
        text.lines().filter_map(|line| line.strip_prefix(what)).map(str::to_owned).collect()
    }
}

/// What a run that nobody kills comes to.
pub(super) struct Whole {
    pub(super) report: Report,
    pub(super) effects: BTreeMap<(String, String), usize>,
}

impl Whole {
    pub(super) fn of(store: Store) -> Self {
        let stage = Stage::new(store, 0);
        let report = stage.finish(Unknown::Look);
        assert_eq!((report.status.as_str(), &report.error), ("completed", &None));
        assert!(report.steps.len() >= 50, "{} steps", report.steps.len());
        let effects = stage.effects();
        assert!(effects.values().all(|&count| count == 1));
        Self { report, effects }
    }
}

/// What was seen, to be printed.
#[derive(Debug, Default)]
pub(super) struct Count {
    pub(super) kills: usize,
    /// Processes that went on with a killed run.
    pub(super) resumes: usize,
    /// Effects that happened again, each idempotent or one that only reads.
    pub(super) repeated: usize,
    /// Runs with a step that ended as unknown: its effect had happened, and a person said that it must not happen again.
    pub(super) unknown: usize,
}

impl Count {
    /// Goes on with a killed run until it is done, and holds what came out against the run that nobody killed.
    pub(super) fn recover(&mut self, stage: &Stage, whole: &Whole) {
        let mut report = stage.finish(Unknown::Look);
        self.resumes += 1;
        let effects = stage.effects();
        assert!(effects.iter().all(|((tool, _), &times)| tool != "once" || times == 1), "doubled: {effects:?}");
        if report.error.as_deref() == Some("effect_unknown") {
            self.unknown += 1;
            // Now somebody wants it all the same.
            report = stage.finish(Unknown::Retry);
            self.resumes += 1;
        }
        assert_eq!((report.status.as_str(), &report.error), ("completed", &None), "{report:?}");
        assert_eq!(report.output, whole.report.output);
        assert_eq!(report.steps, whole.report.steps);
        assert!(stage.effects().keys().eq(whole.effects.keys()), "lost or invented: {:?}", stage.effects());
        self.repeated += effects.values().map(|times| times - 1).sum::<usize>();
        assert_eq!(stage.done_again(), Vec::<String>::new());
    }
}
