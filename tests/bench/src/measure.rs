//! Clocks and the table.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Prints the head of the table.
pub(crate) fn title() {
    anstream::println!("{:<58} {:>14} {:>14}", "what", "measured", "goal");
}

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// As much as the figures need.
    Full,
    /// As little as shows that everything runs.
    Smoke,
}

static EXTENT: OnceLock<Extent> = OnceLock::new();
static FIGURES: AtomicUsize = AtomicUsize::new(0);

/// Says once, before anything is measured, how much of it there shall be.
pub(crate) fn set_extent(extent: Extent) {
    let _ = EXTENT.set(extent);
}

/// How often something is done: so often for a figure, so often to see that it runs.
pub(crate) fn count(full: usize, smoke: usize) -> usize {
    if EXTENT.get() == Some(&Extent::Smoke) { smoke } else { full }
}

/// How many figures were printed.
pub(crate) fn figures() -> usize {
    FIGURES.load(Ordering::Relaxed)
}

/// Prints one figure.
pub(crate) fn row(what: &str, measured: &str, goal: &str) {
    assert!(!measured.contains("NaN") && !measured.contains("inf"), "{what}: {measured}");
    FIGURES.fetch_add(1, Ordering::Relaxed);
    anstream::println!("{what:<58} {measured:>14} {goal:>14}");
}

/// Wall time of the fastest of `rounds`.
pub(crate) fn best(rounds: usize, mut work: impl FnMut()) -> Duration {
    let time = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..rounds).map(|_| time(&mut work)).min().unwrap_or_default()
}

/// Times of single calls, put together.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: Duration,
    pub(crate) p99: Duration,
}

/// The spread of some times.
pub(crate) fn spread(mut times: Vec<Duration>) -> Spread {
    times.sort_unstable();
    let at = |share: usize| {
        let index = times.len().saturating_mul(share) / 100;
        times.get(index.min(times.len().saturating_sub(1))).copied().unwrap_or_default()
    };
    Spread { median: at(50), p99: at(99) }
}

impl Spread {
    pub(crate) fn median(&self) -> String {
        micros(self.median, 1)
    }

    pub(crate) fn p99(&self) -> String {
        micros(self.p99, 1)
    }
}

/// Microseconds for one of `count`.
pub(crate) fn micros(whole: Duration, count: usize) -> String {
    format!("{:.2} us", micros_each(whole, count))
}

/// Microseconds for one of `count`, as a number.
#[expect(clippy::cast_precision_loss, reason = "figures are rounded for people")]
pub(crate) fn micros_each(whole: Duration, count: usize) -> f64 {
    whole.as_secs_f64() * 1e6 / count as f64
}

/// Processor time of all threads of this process that are alive.
pub(crate) fn processor_time() -> Duration {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return Duration::ZERO };
    let nanoseconds = tasks.flatten().filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// Memory of this process that is in use, in KiB.
pub(crate) fn resident_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok()).unwrap_or(0)
}
