//! Rounds of work, each begun by a change. Whoever wakes it (the system's watcher, a clock, a test) only says that it is
//! time to look; what has changed the sources say.

use super::sources::Sources;
use crate::terminal;
use crate::ui::paint;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// Nothing has changed for so long: an editor that writes several files has written them all.
const QUIET: Duration = Duration::from_millis(150);
/// Somebody who writes without end does not keep a build from beginning.
const MOST_PATIENCE: Duration = Duration::from_secs(2);
/// How often the folder is looked at where the system cannot watch it.
const LOOKS: Duration = Duration::from_secs(1);

/// Tells of changes: the port behind which a watcher stands.
pub(super) trait Changes {
    /// Waits until something may have changed. False when nobody will ever say so.
    async fn woken(&mut self) -> bool;

    /// What has changed since the last time.
    fn changed(&mut self) -> Vec<PathBuf>;
}

/// Works once, and again after each change. Ends when nobody tells of changes any more.
pub(super) async fn rounds(changes: &mut impl Changes, mut work: impl AsyncFnMut(&[PathBuf])) {
    // What is there now is what the first round is about.
    changes.changed();
    work(&[]).await;
    while changes.woken().await {
        settle(changes).await;
        let changed = changes.changed();
        if !changed.is_empty() {
            work(&changed).await;
        }
    }
}

/// Waits until it is quiet.
async fn settle(changes: &mut impl Changes) {
    let latest = Instant::now() + MOST_PATIENCE;
    while Instant::now() < latest {
        let quiet = latest.min(Instant::now() + QUIET);
        if !matches!(timeout_at(quiet, changes.woken()).await, Ok(true)) {
            return;
        }
    }
}

/// A folder that is watched.
pub(super) struct Watched {
    sources: Sources,
    wakes: mpsc::Receiver<()>,
    /// None where the system cannot watch; then a clock wakes.
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
    sender: mpsc::Sender<()>,
}

impl Watched {
    /// Begins to watch. Must run inside a tokio runtime.
    pub(super) fn start(root: &Path) -> Self {
        // One place: whoever is to be woken is woken once.
        let (sender, wakes) = mpsc::channel(1);
        let told = sender.clone();
        let watcher = notify::recommended_watcher(move |_event| {
            // Full: it is known already. Closed: nobody waits any more.
            let _ = told.try_send(());
        });
        let mut watched = Self { sources: Sources::new(root), wakes, watcher: None, folders: BTreeSet::new(), sender };
        match watcher {
            Ok(watcher) => watched.watcher = Some(watcher),
            Err(error) => watched.look_instead(&error),
        }
        watched
    }

    /// Watches folders that came, and no others: what builds write is none of them.
    fn follow(&mut self) {
        let wanted = self.sources.folders().clone();
        let Some(watcher) = &mut self.watcher else { return };
        for folder in wanted.difference(&self.folders) {
            match watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => {}
                // It may be gone again.
                Err(_) if !folder.exists() => {}
                Err(error) => {
                    self.look_instead(&error);
                    return;
                }
            }
        }
        // A folder that went is watched by nobody; under the same name it comes as a new one.
        self.folders = wanted;
    }

    /// Wakes by a clock from now on.
    fn look_instead(&mut self, error: &notify::Error) {
        let why = format!("the system does not watch folders ({error}); they are looked at each second");
        terminal::tell(&paint::quiet(&why));
        self.watcher = None;
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(LOOKS);
            while !sender.is_closed() {
                ticks.tick().await;
                let _ = sender.try_send(());
            }
        });
    }
}

impl Changes for Watched {
    async fn woken(&mut self) -> bool {
        self.wakes.recv().await.is_some()
    }

    fn changed(&mut self) -> Vec<PathBuf> {
        let mut changed = self.sources.changed();
        self.follow();
        // What was written between the look and the watch is seen by another look.
        let late = self.sources.changed();
        changed.extend(late.into_iter().filter(|path| !changed.contains(path)).collect::<Vec<_>>());
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// Wakes come from a channel, what has changed from a list.
    struct Scripted {
        wakes: mpsc::UnboundedReceiver<()>,
        changes: VecDeque<Vec<PathBuf>>,
    }

    impl Changes for Scripted {
        async fn woken(&mut self) -> bool {
            self.wakes.recv().await.is_some()
        }

        fn changed(&mut self) -> Vec<PathBuf> {
            self.changes.pop_front().unwrap_or_default()
        }
    }

    fn scripted(changes: &[&[&str]]) -> (mpsc::UnboundedSender<()>, Scripted) {
        let (sender, wakes) = mpsc::unbounded_channel();
        let changes = changes.iter().map(|files| files.iter().map(PathBuf::from).collect()).collect();
        (sender, Scripted { wakes, changes })
    }

    #[tokio::test(start_paused = true)]
    async fn many_wakes_are_one_round_and_a_wake_without_a_change_is_none() {
        let (sender, mut changes) = scripted(&[&["everything"], &["a", "b"], &[], &["c"]]);
        let seen = std::sync::Mutex::new(Vec::new());
        let begin = Instant::now();
        let waking = async {
            for pause_ms in [100, 100, 100, 1_000, 1_000] {
                sender.send(()).unwrap();
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            }
            drop(sender);
        };
        let working = rounds(&mut changes, async |changed: &[PathBuf]| {
            seen.lock().unwrap().push((changed.len(), begin.elapsed().as_millis() / 10 * 10));
        });
        tokio::join!(waking, working);
        // The fourth wake came while the first three were settling, and the fifth brought nothing.
        assert_eq!(seen.into_inner().unwrap(), [(0, 0), (2, 450)]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_writes_without_end_does_not_keep_a_round_from_beginning() {
        let (sender, mut changes) = scripted(&[&[], &["a"]]);
        let (done, mut is_done) = tokio::sync::oneshot::channel();
        let mut done = Some(done);
        let writing = async {
            while is_done.try_recv().is_err() {
                sender.send(()).unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let begin = Instant::now();
        let working = rounds(&mut changes, async |changed: &[PathBuf]| {
            if !changed.is_empty() {
                assert!(begin.elapsed() < Duration::from_secs(3));
                let _ = done.take().unwrap().send(());
            }
        });
        tokio::select! {
            () = writing => {}
            () = working => unreachable!("the writer has not left"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_changes_during_a_round_begins_the_next_one() {
        let (sender, mut changes) = scripted(&[&[], &["a"], &["b"]]);
        let mut sender = Some(sender);
        let mut seen = Vec::new();
        rounds(&mut changes, async |changed: &[PathBuf]| {
            seen.push(changed.to_vec());
            match seen.len() {
                1 | 2 => sender.as_ref().unwrap().send(()).unwrap(),
                _ => drop(sender.take()),
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
        })
        .await;
        assert_eq!(seen, [vec![], vec![PathBuf::from("a")], vec![PathBuf::from("b")]]);
    }
}
