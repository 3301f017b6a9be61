//! The laws of sinks. What a sink does with events it alone knows; the laws are about what its host relies on.

use super::{Law, Verdict, sample_run, told};
use cofferdam_core::event::{RunEvent, unknown_kind};
use cofferdam_core::limits;
use cofferdam_core::port::{Ack, Batch, Sink};
use std::sync::Arc;

pub(super) const LAWS: &[Law<dyn Sink>] = &[
    Law {
        sentence: "it has a name, and wants the same whenever it is asked, and nothing that there is not",
        holds: |sink| Box::pin(std::future::ready(says_what_it_wants(sink))),
    },
    Law { sentence: "it takes whatever happens in a run", holds: |sink| Box::pin(a_run(sink)) },
    Law { sentence: "it takes one event at a time", holds: |sink| Box::pin(one_by_one(sink)) },
    Law { sentence: "it takes again what it has taken, as after a crash", holds: |sink| Box::pin(again(sink)) },
    Law { sentence: "it takes a run whose beginning it missed", holds: |sink| Box::pin(from_the_middle(sink)) },
    Law { sentence: "it takes several runs at once", holds: |sink| Box::pin(side_by_side(sink)) },
    Law { sentence: "who gives a delivery up may make it again", holds: |sink| Box::pin(given_up(sink)) },
    Law { sentence: "it is flushed whenever its host likes", holds: |sink| Box::pin(flushed(sink)) },
];

fn says_what_it_wants(sink: &dyn Sink) -> Verdict {
    if sink.name().trim().is_empty() {
        return Err("it has no name".to_owned());
    }
    let (want, again) = (sink.want(), sink.want());
    if format!("{want:?}") != format!("{again:?}") {
        return Err(format!("it wants {want:?}, and then {again:?}"));
    }
    if want.batch_events == 0 {
        return Err("it wants batches of no events".to_owned());
    }
    match unknown_kind(want.kinds.iter().map(String::as_str)) {
        None => Ok(()),
        Some((kind, _)) => Err(format!("it wants `{kind}`, and no event is of that kind")),
    }
}

async fn a_run(sink: &dyn Sink) -> Verdict {
    take_all(sink, &sample_run::of("a"), 0).await
}

async fn one_by_one(sink: &dyn Sink) -> Verdict {
    for event in sample_run::of("a") {
        take_all(sink, &[event], 0).await?;
    }
    Ok(())
}

async fn again(sink: &dyn Sink) -> Verdict {
    let run = sample_run::of("a");
    take_all(sink, &run, 0).await?;
    let half = run.get(run.len() / 2..).unwrap_or_default();
    take_all(sink, half, 0).await?;
    take_all(sink, &run, 0).await
}

async fn from_the_middle(sink: &dyn Sink) -> Verdict {
    let run = sample_run::of("a");
    for from in 1..run.len() {
        take_all(sink, run.get(from..).unwrap_or_default(), from as u64).await?;
    }
    Ok(())
}

async fn side_by_side(sink: &dyn Sink) -> Verdict {
    let runs = sample_run::of("a").into_iter().zip(sample_run::of("b"));
    let mixed: Vec<_> = runs.flat_map(|(one, other)| [one, other]).collect();
    take_all(sink, &mixed, 0).await
}

/// As at the end of a run whose grace is over.
async fn given_up(sink: &dyn Sink) -> Verdict {
    let run = sample_run::of("a");
    if let Some(batch) = batches(sink, &run, 0).into_iter().next() {
        let mut delivery = sink.deliver(batch);
        let _ = futures_util::poll!(&mut delivery);
    }
    take_all(sink, &run, 0).await
}

async fn flushed(sink: &dyn Sink) -> Verdict {
    for events in [Vec::new(), sample_run::of("a"), Vec::new()] {
        take_all(sink, &events, 0).await?;
        sink.flush().await.map_err(|fault| told(&fault))?;
    }
    Ok(())
}

/// What it wants of the events, in batches as large as it wants them.
fn batches(sink: &dyn Sink, events: &[Arc<RunEvent>], missed: u64) -> Vec<Batch> {
    let want = sink.want();
    let wanted: Vec<_> = events.iter().filter(|event| want.takes(&event.body)).cloned().collect();
    let mut dropped_before = missed;
    let batch = |events: &[Arc<RunEvent>]| Batch {
        events: events.to_vec(),
        dropped_before: std::mem::take(&mut dropped_before),
    };
    wanted.chunks(want.batch_events.max(1)).map(batch).collect()
}

/// Offers events until all are handled.
async fn take_all(sink: &dyn Sink, events: &[Arc<RunEvent>], missed: u64) -> Verdict {
    for mut batch in batches(sink, events, missed) {
        let mut idle = 0;
        while !batch.events.is_empty() {
            let ack = sink.deliver(batch.clone()).await.map_err(|fault| told(&fault))?;
            let handled = handled(&ack, batch.events.len())?;
            idle = if handled == 0 { idle + 1 } else { 0 };
            if idle > limits::SINK_OFFERS {
                return Err(format!("it takes nothing of a batch that was offered {idle} times"));
            }
            batch.events.drain(..handled);
            batch.dropped_before = 0;
        }
    }
    Ok(())
}

/// How many events need not be offered again.
fn handled(ack: &Ack, offered: usize) -> Result<usize, String> {
    let handled = ack.handled(offered);
    if handled > offered {
        return Err(format!("it took {handled} events of a batch of {offered}"));
    }
    match ack.rejected().iter().find(|rejection| rejection.index >= handled) {
        Some(beyond) => Err(format!("it refused event {} and handled {handled}", beyond.index)),
        None => Ok(handled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_core::event::Body;
    use cofferdam_core::fault::Fault;
    use cofferdam_core::port::{BoxFuture, Pressure, Rejection, Want};
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    /// A sink that breaks a law.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Breaks {
        Nothing,
        Name,
        Want,
        Kinds,
        Most,
        TakesNone,
        TakesMore,
        RefusesMore,
        Kind,
        Repetition,
        Middle,
        OtherRun,
        GivenUp,
        SecondFlush,
    }

    #[derive(Default)]
    struct Seen {
        asked: usize,
        flushed: usize,
        events: BTreeSet<(String, u64, Option<u64>)>,
        run: Option<String>,
        under_way: bool,
    }

    struct Odd(Breaks, Mutex<Seen>);

    impl Odd {
        async fn take(&self, batch: Batch) -> Result<Ack, Fault> {
            let Self(breaks, seen) = self;
            if *breaks == Breaks::GivenUp {
                if std::mem::replace(&mut seen.lock().unwrap().under_way, true) {
                    return Err(Fault::bug("two at once"));
                }
                tokio::task::yield_now().await;
                seen.lock().unwrap().under_way = false;
            }
            let mut seen = seen.lock().unwrap();
            for event in &batch.events {
                let run = event.run_id.to_string();
                let fresh = seen.events.insert((run.clone(), event.seq, event.sub));
                let other = seen.run.replace(run.clone()).is_some_and(|before| before != run);
                let broken = match breaks {
                    Breaks::Kind => matches!(event.body, Body::RunResumed { .. }),
                    Breaks::Repetition => !fresh,
                    Breaks::OtherRun => other,
                    _ => false,
                };
                if broken {
                    return Err(Fault::bug("it cannot"));
                }
            }
            let refused = Rejection { index: batch.events.len(), reason: String::new() };
            match breaks {
                Breaks::TakesNone => Ok(Ack::First(0)),
                Breaks::TakesMore => Ok(Ack::First(batch.events.len() + 1)),
                Breaks::RefusesMore => Ok(Ack::Except { handled: batch.events.len(), rejected: vec![refused] }),
                Breaks::Middle if batch.dropped_before > 0 => Err(Fault::bug("it cannot")),
                _ => Ok(Ack::All),
            }
        }
    }

    impl Sink for Odd {
        fn want(&self) -> Want {
            let mut seen = self.1.lock().unwrap();
            seen.asked += 1;
            let kinds = match self.0 {
                Breaks::Want if seen.asked > 1 => vec!["run_*".to_owned()],
                Breaks::Kinds => vec!["run_ended".to_owned()],
                _ => Vec::new(),
            };
            let batch_events = if self.0 == Breaks::Most { 0 } else { 7 };
            Want { batch_events, ..Want::new(kinds, Pressure::Wait) }
        }

        fn name(&self) -> String {
            if self.0 == Breaks::Name { String::new() } else { "an odd sink".to_owned() }
        }

        fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
            Box::pin(self.take(batch))
        }

        fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
            let mut seen = self.1.lock().unwrap();
            seen.flushed += 1;
            let broken = self.0 == Breaks::SecondFlush && seen.flushed > 1;
            Box::pin(std::future::ready(if broken { Err(Fault::bug("it cannot")) } else { Ok(()) }))
        }
    }

    #[tokio::test]
    async fn who_breaks_a_law_is_told_which() {
        let cases = [
            (Breaks::Nothing, ""),
            (Breaks::Name, "it has no name"),
            (Breaks::Want, "and then"),
            (Breaks::Kinds, "`run_ended`"),
            (Breaks::Most, "batches of no events"),
            (Breaks::TakesNone, "takes nothing"),
            (Breaks::TakesMore, "it took 8 events of a batch of 7"),
            (Breaks::RefusesMore, "it refused event 7"),
            (Breaks::Kind, "it takes whatever happens in a run"),
            (Breaks::Repetition, "it takes again"),
            (Breaks::Middle, "whose beginning it missed"),
            (Breaks::OtherRun, "several runs"),
            (Breaks::GivenUp, "who gives a delivery up"),
            (Breaks::SecondFlush, "it is flushed"),
        ];
        for (breaks, law) in cases {
            let make = || Arc::new(Odd(breaks, Mutex::default())) as Arc<dyn Sink>;
            match super::super::sink(make).await {
                Ok(()) => assert_eq!(breaks, Breaks::Nothing),
                Err(found) => assert!(!law.is_empty() && found.contains(law), "{breaks:?}: {found}"),
            }
        }
    }
}
