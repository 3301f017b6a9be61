//! Every probe in every configuration that it has a meaning in, a family a test.

use crate::guest::Scratch;
use crate::probe::{Family, Probe};
use crate::probes;
use crate::stage::{CONFIGURATIONS, Stage};
use crate::watch::{Alone, resident_bytes};
use futures_util::FutureExt as _;
use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;

/// What a family may leave behind, once its engines have run before.
const LEFT_BYTES: u64 = 20 << 20;
/// What allocators may keep at most.
const KEPT_BYTES: u64 = 100 << 20;
/// How often a family may run again until they do.
const AGAIN: u32 = 4;
/// How many probes there are at least.
const FEWEST: usize = 60;

async fn run(family: Family) {
    let _alone = Alone::new();
    let all: Vec<Probe> = probes::all().into_iter().filter(|probe| probe.family == family).collect();
    assert!(!all.is_empty(), "no probe of {family:?}");
    let cache = Scratch::new();
    // The first probe of a process brings along what every later one finds: threads, allocator, compiler.
    round(all.get(..1).unwrap(), &cache, family).await;
    let before = resident_bytes();
    let mut kept = whole(&all, &cache, family, before).await;
    assert!(kept < KEPT_BYTES, "{family:?} left {} KiB behind", kept >> 10);
    for _ in 0..AGAIN {
        // Allocators keep what was once large for the next time, for each thread. That ends; what leaks goes on.
        if kept > LEFT_BYTES {
            kept = whole(&all, &cache, family, resident_bytes()).await;
        }
    }
    assert!(kept < LEFT_BYTES, "{family:?} left {} KiB behind", kept >> 10);
    report(&format!("{family:?}: {} probes, {} KiB kept", all.len(), kept >> 10));
}

/// Runs a family, and gives how many bytes more than before there are.
async fn whole(all: &[Probe], cache: &Scratch, family: Family, before: u64) -> u64 {
    let (runs, failed) = round(all, cache, family).await;
    assert!(failed.is_empty(), "{} of {runs} runs failed:\n{}", failed.len(), failed.join("\n"));
    resident_bytes().saturating_sub(before)
}

/// Runs the probes, each in all configurations, counts the runs, and gives what failed.
async fn round(probes: &[Probe], cache: &Scratch, family: Family) -> (usize, Vec<String>) {
    let (mut runs, mut failed) = (0, Vec::new());
    for configuration in CONFIGURATIONS {
        let suiting: Vec<&Probe> = probes.iter().filter(|probe| configuration.suits(probe)).collect();
        if suiting.is_empty() {
            continue;
        }
        let stage = Stage::new(configuration.allocation, cache, family == Family::Components).await;
        for probe in suiting {
            // One that fails does not hide the others.
            if let Err(panicked) = AssertUnwindSafe(stage.run(probe, configuration)).catch_unwind().await {
                failed.push(panicked.downcast::<String>().map_or_else(|_| format!("{probe:?}"), |text| *text));
            }
            runs += 1;
        }
    }
    (runs, failed)
}

#[expect(clippy::print_stderr, reason = "the table of what ran, for whoever runs the tests with `--nocapture`")]
fn report(line: &str) {
    eprintln!("{line}");
}

#[test]
fn there_are_probes_of_every_family_and_enough_of_them() {
    let all = probes::all();
    let names: BTreeSet<&str> = all.iter().map(|probe| probe.name).collect();
    assert_eq!(names.len(), all.len(), "two probes have one name");
    assert!(names.len() >= FEWEST, "{}", names.len());
    for family in Family::ALL {
        assert!(all.iter().any(|probe| probe.family == family), "{family:?}");
    }
    let runs: usize =
        all.iter().map(|probe| CONFIGURATIONS.iter().filter(|configuration| configuration.suits(probe)).count()).sum();
    report(&format!("{} probes, {runs} runs", all.len()));
}

macro_rules! families {
    ($($name:ident: $family:ident),* $(,)?) => {$(
        #[tokio::test]
        async fn $name() {
            run(Family::$family).await;
        }
    )*};
}

families! {
    loops_end_at_their_limits: Loops,
    what_grows_ends_at_its_bounds: Growth,
    recursion_ends_with_the_stack: Recursion,
    lies_are_told_apart_from_crashes: Lies,
    floods_are_kept_to_a_bound: Floods,
    there_is_nothing_to_see_around: Surroundings,
    files_are_reached_as_granted: Files,
    quotas_hold: Quotas,
    forbidden_addresses_are_not_reached: Addresses,
    the_network_is_bounded: Network,
    secrets_stay_secret: Secrets,
    what_is_not_offered_is_not_linked: Imports,
    what_is_no_component_is_refused: Components,
    what_is_no_plugin_is_refused: Kinds,
    names_are_not_paths: Names,
}
