//! The one harness: it runs a probe in a configuration, and asserts what holds for every probe.
//!
//! The ledger of a run: how it ended and when, what the run heard, whether the neighbour was served, and what was left
//! behind: descriptors, slots, tasks, files.

use crate::guest::{LOOP, Scratch, assemble, echo, tool};
use crate::peer::Peer;
use crate::probe::{Ends, Guest, Probe, Runs};
use crate::scene::{CANARY, Scene, WALL, compile_child, dirs_of, nothing};
use crate::watch::{descriptors, listen, take_lines};
use cofferdam_core::event::Body;
use cofferdam_core::fault::Fault;
use cofferdam_core::policy::PluginKind;
use cofferdam_core::port::Recall as _;
use cofferdam_plugin::{Allocation, LoadedPlugin, Occupancy};
use serde_json::{Value, json};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a guest may exceed its limit by on a quiet machine.
const LATE: Duration = Duration::from_millis(200);
/// How often a run may be late before its probe fails: other programs have the machine at times.
const TRIES: usize = 4;
/// How often other programs may take all the time of a guest that does not need it.
const STARVED_TRIES: usize = 20;
/// What no machine is so loaded for.
const TOO_LATE: Duration = Duration::from_secs(20);
/// How long what ends may take to be gone.
const SETTLING: Duration = Duration::from_secs(5);

/// Where instances get their memory, and whether they are fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Configuration {
    pub(crate) allocation: Allocation,
    pub(crate) warm: bool,
}

/// All configurations.
pub(crate) const CONFIGURATIONS: [Configuration; 4] = [
    Configuration { allocation: Allocation::Pooled { slots: 8 }, warm: false },
    Configuration { allocation: Allocation::Pooled { slots: 8 }, warm: true },
    Configuration { allocation: Allocation::OnDemand { slots: 8 }, warm: false },
    Configuration { allocation: Allocation::OnDemand { slots: 8 }, warm: true },
];

impl Configuration {
    /// Whether a probe has a meaning here.
    pub(crate) fn suits(self, probe: &Probe) -> bool {
        !self.warm || probe.runs == Runs::Both
    }
}

/// A host with a neighbour, a server and things that must stay as they are.
pub(crate) struct Stage {
    scene: Scene,
    good: Arc<LoadedPlugin>,
    peer: Peer,
}

impl Stage {
    /// A stage whose code comes out of this cache where it was there before. Plugins are compiled apart when told so.
    pub(crate) async fn new(allocation: Allocation, cache: &Scratch, apart: bool) -> Self {
        listen();
        let scene = Scene::allocating(allocation, |settings| {
            settings.cache = Some(dirs_of(cache));
            settings.compile_child = apart.then(compile_child);
        });
        let good = scene.load(echo(), nothing()).await.unwrap();
        scene.call(&good, json!(1)).await.unwrap();
        // The threads for those who compute long come with the first of them, and stay.
        let endless = scene.load(tool(LOOP), nothing()).await.unwrap();
        scene.call(&endless, json!(1)).await.unwrap_err();
        let stage = Self { scene, good, peer: Peer::start().await };
        stage.furnish();
        stage
    }

    /// Runs a probe until it was in time once.
    pub(crate) async fn run(&self, probe: &Probe, configuration: Configuration) {
        for attempt in 1.. {
            let (took, starved) = self.run_once(probe, configuration).await;
            if !starved && took <= WALL + LATE {
                return;
            }
            let most = if starved { STARVED_TRIES } else { TRIES };
            assert!(attempt < most && took < TOO_LATE, "{probe:?} in {configuration:?} took {took:?}");
        }
    }

    /// Runs a probe once; says how long that took, and whether it was starved.
    async fn run_once(&self, probe: &Probe, configuration: Configuration) -> (Duration, bool) {
        let what = format!("{probe:?} in {configuration:?}");
        take_lines();
        self.scene.heard.take();
        self.peer.take_requests();
        let before = self.held().await;
        let (took, fault) = self.attack(probe, configuration.warm, &what).await;
        if was_starved(probe, fault.as_ref()) {
            self.settled(before, &what).await;
            return (took, true);
        }
        self.assert_clean(fault.as_ref(), &what);
        self.assert_heard(probe, configuration.warm, fault.as_ref(), &what);
        assert!(!self.peer.was_breached(), "{what}: somebody connected");
        self.assert_furnished(&what);
        self.settled(before, &what).await;
        (took, false)
    }

    /// Attacks while the neighbour works, and gives how long that took and how it failed.
    async fn attack(&self, probe: &Probe, warm: bool, what: &str) -> (Duration, Option<Fault>) {
        let kind = if warm { PluginKind::Recall } else { PluginKind::Tool };
        let component = match &probe.guest {
            Guest::Code(code) => assemble(kind, code),
            Guest::Bytes(bytes) => bytes(),
        };
        let grants: Value = serde_json::from_str(&self.placed(probe.grants)).unwrap();
        let loading = Instant::now();
        let loaded = self.scene.load(component, grants).await;
        let plugin = match (loaded, probe.ends) {
            (Err(error), Ends::Unloaded(code, says)) => {
                let fault = error.to_fault();
                assert!(fault.code.starts_with(code) && fault.message.contains(says), "{what}: {} {fault}", fault.code);
                assert!(loading.elapsed() < TOO_LATE, "{what}: loading took {:?}", loading.elapsed());
                self.neighbour(what).await;
                // Compiling is not the guest's time.
                return (Duration::ZERO, Some(fault));
            }
            (Err(error), _) => panic!("{what}: {error}"),
            (Ok(plugin), Ends::Unloaded(..)) => panic!("{what}: {plugin:?} was loaded"),
            (Ok(plugin), _) => plugin,
        };
        let args = self.placed(&probe.args);
        let (took, fault) = if warm {
            let recall = plugin.recall().await.unwrap_or_else(|fault| panic!("{what}: {fault}"));
            if !probe.at_once {
                // It is up and was called before.
                recall.upsert("", Vec::new()).await.unwrap_or_else(|fault| panic!("{what}: {fault}"));
            }
            let began = Instant::now();
            let (answer, ()) = tokio::join!(recall.upsert(&args, Vec::new()), self.neighbour(what));
            (began.elapsed(), answer.err())
        } else {
            let args: Value = serde_json::from_str(&args).unwrap();
            let began = Instant::now();
            let (answer, ()) = tokio::join!(self.scene.call(&plugin, args), self.neighbour(what));
            let took = began.elapsed();
            if let (Ok(output), Ends::Well(expected)) = (&answer, probe.ends) {
                assert_eq!(*output.result, serde_json::from_str::<Value>(expected).unwrap(), "{what}");
            }
            (took, answer.err())
        };
        if !was_starved(probe, fault.as_ref()) {
            assert_ends(probe, fault.as_ref(), what);
        }
        (took, fault)
    }

    /// A good plugin answers at the same time, and rightly.
    async fn neighbour(&self, what: &str) {
        for number in 0..3 {
            let answer = self.scene.call(&self.good, json!({ "n": number })).await;
            let answer = answer.unwrap_or_else(|fault| panic!("{what}: the neighbour: {fault}"));
            assert_eq!(*answer.result, json!({ "n": number }), "{what}: the neighbour");
        }
    }

    fn placed(&self, text: &str) -> String {
        text.replace("{P}", &self.peer.port.to_string())
            .replace("{Q}", &self.peer.closed_port.to_string())
            .replace("{ROOT}", self.root().to_str().unwrap())
    }

    fn root(&self) -> &Path {
        self.scene.scratch.path()
    }

    /// No secret and no path of the host is in what was said, heard, logged or sent.
    fn assert_clean(&self, fault: Option<&Fault>, what: &str) {
        let root = self.root().to_str().unwrap();
        let said = fault.map(|fault| serde_json::to_string(fault).unwrap()).unwrap_or_default();
        let heard = serde_json::to_string(&self.scene.heard.all()).unwrap();
        for text in [&said, &heard] {
            for secret in [CANARY, root, "/root", "/home", "/proc", "wasm backtrace", "\\u001b", "\u{202e}"] {
                assert!(!text.contains(secret), "{what}: `{secret}` in {text}");
            }
        }
        assert!(said.len() < 20_000, "{what}: {} bytes", said.len());
        let lines = take_lines();
        assert!(!lines.contains(CANARY) && !lines.contains('\u{1b}'), "{what}: {lines}");
        assert!(!lines.contains("canary-0123"), "{what}: half of a secret in {lines}");
        assert!(
            !lines.lines().any(|line| line.contains("FORGED") && line.starts_with("2026-01-01")),
            "{what}: {lines}"
        );
        let sent = self.peer.take_requests().concat();
        let injects = what.contains("a credential that");
        assert_eq!(sent.contains(CANARY), injects, "{what}: {sent}");
    }

    /// What a plugin did wrong to a run is told to that run: who, which component, and which bound.
    fn assert_heard(&self, probe: &Probe, warm: bool, fault: Option<&Fault>, what: &str) {
        let heard = self.scene.heard.all();
        let failed = |body: &&Body| matches!(body, Body::PluginFailed { .. });
        assert!(heard.len() <= 2_100, "{what}: {} events", heard.len());
        match (probe.ends, warm, heard.iter().find(failed)) {
            (
                Ends::Limit(_) | Ends::Trap(_) | Ends::Lie(_),
                false,
                Some(Body::PluginFailed { plugin, digest, error }),
            ) => {
                let detail = error.detail.as_ref().unwrap();
                assert_eq!(plugin, "guest", "{what}");
                assert_eq!(detail["digest"], json!(format!("sha256:{digest}")), "{what}");
                assert_eq!(Some(error), fault, "{what}");
            }
            (Ends::Limit(_) | Ends::Trap(_) | Ends::Lie(_), false, _) => panic!("{what}: the run heard nothing"),
            (_, _, found) => assert!(found.is_none(), "{what}: {found:?}"),
        }
        let denials: Vec<&Body> = heard.iter().filter(|body| matches!(body, Body::PluginDenied { .. })).collect();
        let twice =
            denials.iter().enumerate().any(|(index, denial)| denials.iter().take(index).any(|before| before == denial));
        assert!(!twice, "{what}: one denial is told twice");
        let denied = !denials.is_empty();
        let said = fault.is_some_and(|fault| fault.detail.as_ref().is_some_and(|detail| detail["denied"].is_array()));
        assert!(!said || denied || warm, "{what}: a denial that the run did not hear of");
    }

    /// What may be read and not written, what may be written, and what lies outside.
    fn furnish(&self) {
        let root = self.root();
        std::fs::create_dir(root.join("work")).unwrap();
        for (path, text) in FURNITURE {
            std::fs::write(root.join(path), text).unwrap();
        }
        for (to, at) in LINKS {
            symlink(to, root.join("step").join(at)).unwrap();
        }
        symlink(root.join("secret.txt"), root.join("step/absolute")).unwrap();
    }

    /// Everything outside of `work` is as it was; that is put in order for the next.
    fn assert_furnished(&self, what: &str) {
        let root = self.root();
        for (path, text) in FURNITURE {
            assert_eq!(std::fs::read_to_string(root.join(path)).unwrap_or_default(), text, "{what}: {path}");
        }
        let count = |folder: &str| std::fs::read_dir(root.join(folder)).unwrap().count();
        assert_eq!((count(""), count("step"), count("out")), (4, LINKS.len() + 2, 0), "{what}");
        for entry in std::fs::read_dir(root.join("work")).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() != "plain.txt" {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
    }

    /// What is held once nothing runs: the neighbour's server and the log are the same before and after.
    async fn held(&self) -> (usize, Occupancy) {
        let began = Instant::now();
        loop {
            let occupancy = self.scene.host.occupancy();
            if occupancy.tasks == 0 && occupancy.free == occupancy.slots || began.elapsed() > SETTLING {
                return (descriptors(), occupancy);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// As many descriptors, slots and tasks as before.
    async fn settled(&self, before: (usize, Occupancy), what: &str) {
        let began = Instant::now();
        loop {
            let now = (descriptors(), self.scene.host.occupancy());
            if now.0 <= before.0 && now.1.tasks == 0 && now.1.free == now.1.slots {
                return;
            }
            assert!(began.elapsed() < SETTLING, "{what} left something behind: {before:?} before, {now:?} now");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

const FURNITURE: [(&str, &str); 3] =
    [("secret.txt", "secret"), ("step/plain.txt", "plain"), ("work/plain.txt", "work")];
const LINKS: [(&str, &str); 4] =
    [("../secret.txt", "relative"), ("..", "up"), ("plain.txt", "inside"), ("loop", "loop")];

/// Whether time ran out for a guest that does not need it all: then other programs have the machine.
fn was_starved(probe: &Probe, fault: Option<&Fault>) -> bool {
    let ran_out = fault.and_then(|fault| fault.detail.as_ref()).is_some_and(|detail| detail["limit"] == json!("wall"));
    ran_out && !matches!(probe.ends, Ends::Limit("wall"))
}

/// Held against what must come of the probe.
fn assert_ends(probe: &Probe, fault: Option<&Fault>, what: &str) {
    let (code, says) = match (probe.ends, fault) {
        (Ends::Well(_), None) => return,
        (_, None) => panic!("{what}: it ended well"),
        (Ends::Limit(limit), Some(fault)) => {
            assert_eq!(fault.detail.as_ref().unwrap()["limit"], json!(limit), "{what}: {fault}");
            ("plugin_limit", "")
        }
        (Ends::Trap(says), _) => ("plugin_trap", says),
        (Ends::Lie(says), _) => ("plugin_protocol", says),
        (Ends::Refused(says), _) => ("plugin_refused", says),
        (Ends::Own(kind, says), Some(fault)) => {
            let told = fault.detail.as_ref().unwrap()["kind"].clone();
            assert!(kind.is_empty() || told == json!(kind), "{what}: {told} {fault}");
            ("plugin_error", says)
        }
        (Ends::Well(_) | Ends::Unloaded(..), Some(fault)) => panic!("{what}: {fault}"),
    };
    let fault = fault.unwrap();
    assert!(fault.code == code && fault.message.contains(says), "{what}: {} {fault}", fault.code);
    let detail = fault.detail.as_ref().unwrap();
    assert!(fault.message.contains("plugin `guest` (") && detail["plugin"] == json!("guest"), "{what}: {fault}");
    assert!(detail["digest"].as_str().unwrap().starts_with("sha256:"), "{what}: {fault}");
}
