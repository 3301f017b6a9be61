//! Faults of the disk: calls that fail, once or from then on, flushes that take long, a store that others hold. A run
//! goes on, or ends and says why; when the fault is gone it goes on to what would have come out.
//!
//! `KILLS=200` lets each call of a long run fail; without it, the first ones of a short run. Of the ways in which a call may
//! fail the first is tried at each call, the others at every fourth.

use super::layer::{self, Layer, traced};
use super::stage::{Count, Ended, Stage, Whole};
use super::trace::Op;
use super::worker::{self, Failpoint, Report, Store, Unknown};
use super::{plot, tell};
use crate::support::Project;
use std::path::Path;
use std::time::{Duration, Instant};

/// Calls of each kind that fail, one after another.
const CALLS: usize = 30;

const EIO: &str = "5";
const EACCES: &str = "13";
const ENOSPC: &str = "28";

/// The kinds of calls, and how each may fail.
const FAULTS: [(&str, &[&str]); 5] = [
    ("open", &[EACCES, EIO, ENOSPC]),
    ("write", &[ENOSPC, EIO, EACCES, "short"]),
    ("sync", &[EIO, ENOSPC]),
    ("truncate", &[EIO, EACCES]),
    ("name", &[EACCES, EIO, ENOSPC]),
];

fn is_thorough() -> bool {
    std::env::var_os("KILLS").is_some()
}

/// A stage; for every day one with a short document.
fn stage(store: Store) -> Stage {
    let stage = Stage::new(store, 0);
    if !is_thorough() {
        std::fs::write(stage.path("crash.yaml"), plot::SHORT).unwrap();
    }
    stage
}

fn whole(store: Store) -> Whole {
    let stage = stage(store);
    let report = stage.finish(Unknown::Look);
    assert_eq!((report.status.as_str(), &report.error), ("completed", &None));
    Whole { effects: stage.effects(), report }
}

fn work(stage: &Stage, layer: &Layer) -> Report {
    let order = stage.order("report.json", Failpoint::Never, Unknown::Look);
    match layer.work(stage, &order) {
        Ended::Itself(report) => report,
        Ended::Killed => panic!("nobody kills this one"),
    }
}

/// What was seen of a kind of fault.
#[derive(Debug, Default)]
struct Seen {
    runs: usize,
    /// Runs that a fault ended.
    ended: usize,
    count: Count,
}

impl Seen {
    /// Lets calls of a kind fail, one a run, until a run has no more of them.
    fn each_call(&mut self, whole: &Whole, store: Store, calls: impl Iterator<Item = usize>, fault: [&str; 3]) {
        let [kind, how, lasts] = fault;
        for number in calls {
            let stage = stage(store);
            let layer =
                Layer { traces: true, fault: Some(format!("{kind}:{number}:{how}:{lasts}")), ..Layer::default() };
            let report = work(&stage, &layer);
            let is_hit = traced(&stage).iter().any(|op| matches!(op, Op::Fault));
            let what = format!("{store:?}, {layer:?}: {report:?}");
            self.runs += 1;
            let error = report.error.as_deref().unwrap_or_default();
            if report.status.is_empty() {
                // Which file, and what is wrong with it.
                assert!(error.contains("the journal failed") && error.contains(".cofferdam"), "{what}");
                self.ended += 1;
            } else {
                assert_eq!((report.status.as_str(), error), ("completed", ""), "{what}");
                assert_eq!(report.output, whole.report.output, "{what}");
            }
            self.count.recover(&stage, whole);
            if !is_hit {
                break;
            }
        }
    }
}

fn faults_of(store: Store) {
    let (whole, mut ended) = (whole(store), 0);
    for (kind, hows) in FAULTS {
        for (place, how) in hows.iter().enumerate() {
            let mut seen = Seen::default();
            for lasts in ["once", "lasting"] {
                let most = if is_thorough() { usize::MAX } else { CALLS };
                let calls = (1..=most).step_by(if place == 0 { 1 } else { 4 });
                seen.each_call(&whole, store, calls, [kind, how, lasts]);
            }
            tell(&format!("{store:?}, {kind} with {how}: {seen:?}"));
            ended += seen.ended;
        }
    }
    assert!(ended > 30, "{store:?}: only {ended} runs were ended");
}

#[test]
fn a_disk_that_fails_ends_no_run_in_sqlite_for_good() {
    faults_of(Store::Sqlite);
}

#[test]
fn a_disk_that_fails_ends_no_run_in_files_for_good() {
    faults_of(Store::File);
}

#[test]
fn a_slow_disk_makes_a_run_slow_and_no_more() {
    for store in [Store::Sqlite, Store::File] {
        let (whole, stage, started) = (whole(store), stage(store), Instant::now());
        let report = work(&stage, &Layer { slow_ms: 50, ..Layer::default() });
        assert_eq!((report.status.as_str(), report.output), ("completed", whole.report.output));
        assert!(started.elapsed() > Duration::from_millis(300), "{:?}", started.elapsed());
        assert_eq!((stage.effects(), report.steps), (whole.effects, whole.report.steps));
    }
}

#[test]
fn a_store_that_others_hold_is_waited_for_and_then_named() {
    let (whole, stage) = (whole(Store::Sqlite), stage(Store::Sqlite));
    assert!(matches!(stage.work(Failpoint::AfterAppend(3)), Ended::Killed));
    let path = stage.path(worker::SQLITE);
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    let error = stage.finish(Unknown::Look).error.unwrap();
    let said = "is held by another process (go on when that one is done with it, or end it)";
    assert!(error.contains(&path.display().to_string()) && error.contains(said), "{error}");
    drop(other);
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiting = stage.spawn(Failpoint::Never, Unknown::Look);
    has_open(waiting.id(), &path);
    drop(other);
    let Ended::Itself(report) = stage.end(waiting) else { panic!("nobody kills this one") };
    assert_eq!((report.status.as_str(), &report.output), ("completed", &whole.report.output));
    Count::default().recover(&stage, &whole);
}

/// Waits until a process has a file open.
fn has_open(pid: u32, path: &Path) {
    let is_open = || {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        files.flatten().any(|file| std::fs::read_link(file.path()).is_ok_and(|target| target == path))
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_open() {
        assert!(Instant::now() < deadline, "`{}` was never opened", path.display());
        std::thread::sleep(Duration::from_millis(1));
    }
}

const TWO: &str = "
name: two
steps:
  - { id: a, tool: write, args: { path: 'out:a.txt', content: a } }
  - { id: b, tool: read, args: { path: 'out:a.txt' }, dependsOn: [a] }
output: steps.b.content
";

/// The binary above a disk on which calls of a kind fail, from the n-th on.
fn faulty(project: &Project, args: &[&str], fault: &str) -> (Option<i32>, String) {
    let mut command = project.command(args);
    let disk = project.path(".cofferdam");
    command.env("LD_PRELOAD", layer::library()).env("FAULTY_DISK", disk).env("FAULTY_DISK_FAULT", fault);
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_run_on_a_disk_that_fails_says_so_with_its_exit_code() {
    for storage in ["sqlite", "file"] {
        let run = ["run", "two.yaml", "--storage", storage];
        let mut ended = 0;
        for (kind, hows) in FAULTS {
            for (how, number) in [(hows[0], 1), (hows[0], 6), (hows[1], 3)] {
                let project = Project::new();
                project.file("two.yaml", TWO);
                let fault = format!("{kind}:{number}:{how}:lasting");
                let (code, said) = faulty(&project, &run, &fault);
                assert!(!said.contains("panicked"), "{storage}, {fault}: {said}");
                if code != Some(0) {
                    // A step that cannot have its directory fails as any step does.
                    let is_told = said.contains("hint: ") || !said.contains("the journal failed");
                    assert!(
                        code == Some(1) && said.contains(".cofferdam") && is_told,
                        "{storage}, {fault}: {code:?}\n{said}"
                    );
                    ended += 1;
                }
                let resumed = project.run(&["resume", "last", "--storage", storage]);
                assert!(
                    code != Some(0) || resumed.code == Some(0),
                    "{storage}, {fault}: a success that nobody recorded"
                );
                let outcome = if resumed.code == Some(3) { project.run(&run) } else { resumed };
                assert_eq!(outcome.expect(0).stdout, "a\n", "{storage}, {fault}");
            }
        }
        assert!(ended > 5, "{storage}: only {ended} runs were ended");
    }
}
