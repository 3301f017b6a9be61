//! Clocks and the table.

use std::time::{Duration, Instant};

/// Prints the head of the table.
pub(crate) fn title() {
    anstream::println!("{:<58} {:>14} {:>14}", "what", "measured", "goal");
}

/// Prints one figure.
pub(crate) fn row(what: &str, measured: &str, goal: &str) {
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
