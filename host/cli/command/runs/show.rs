//! `runs show`: a run as a tree, as what its agents said and did, or as its events.

use super::history::History;
use super::transcript::{self, Transcripts};
use super::{each_event, find_row, removal, standing, tree};
use crate::args::ShowArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::terminal;
use cofferdam::Orchestrator;
use cofferdam::core::event::{Body, RunEvent, Sensitive};
use cofferdam::core::id::RunId;
use cofferdam::core::port::RunIndex;
use cofferdam::core::spec::suggest::did_you_mean;

/// Events are written when there are so many bytes of them, so that a long run is not held as text.
const WRITE_BYTES: usize = 64 * 1024;

pub(super) async fn run(session: &Session, orchestrator: &Orchestrator, args: &ShowArgs) -> anyhow::Result<Exit> {
    let journal = &*orchestrator.runs();
    let row = find_row(journal, &args.run).await?;
    let run = row.run_id;
    let copying = row.index.status == RunIndex::COPYING;
    let interrupted = row.index.status == standing::RUNNING && standing::is_interrupted(orchestrator, &run).await;
    let mut history = History::new(run.clone());
    history.directory = removal::outputs(session).join(run.as_str());
    let length = if args.full { transcript::Length::Full } else { transcript::Length::Short };
    let mut transcripts = args.transcript.as_deref().map(|step| Transcripts::of(step, length));
    let mut lines = String::new();
    let (mut shown, mut has_ended) = (Shown::new(args.reveal), false);
    each_event(journal, &run, |_, event| {
        match event.body {
            Body::RunFinished { .. } => has_ended = true,
            Body::RunResumed { .. } => has_ended = false,
            _ => {}
        }
        let public = shown.public(event);
        let event = public.as_ref().unwrap_or(event);
        if !args.json || transcripts.is_some() {
            history.add(event);
        }
        if args.json {
            if transcripts.as_ref().is_none_or(|transcripts| transcripts.covers(event)) {
                lines.push_str(&serde_json::to_string(event)?);
                lines.push('\n');
            }
            if lines.len() >= WRITE_BYTES {
                terminal::print(&std::mem::take(&mut lines))?;
            }
        } else if let Some(transcripts) = &mut transcripts {
            transcripts.add(event);
        }
        Ok(())
    })
    .await?;
    if let Some(step) = args.transcript.as_deref().filter(|step| !step.is_empty()) {
        known_step(&run, step, &history)?;
    }
    // It may have ended since its row was read.
    let interrupted = interrupted && !has_ended;
    history.interrupted = interrupted;
    history.copying = copying;
    match transcripts {
        _ if args.json => {
            terminal::print(&lines)?;
            if interrupted {
                // Standard output has what was recorded, and nobody recorded this.
                terminal::tell(&format!("run {run} was interrupted; {}", standing::how_to_go_on(&run)));
            }
        }
        Some(transcripts) => match transcripts.render(&history) {
            text if text.is_empty() => terminal::tell("no model was asked and no tool was called there"),
            text => terminal::print(&text)?,
        },
        None => terminal::print(&tree::render(&history))?,
    }
    Ok(Exit::Done)
}

/// What may be shown of the events of a run, which are given in their order.
pub(super) struct Shown {
    reveal: bool,
    sensitive: Option<Sensitive>,
}

impl Shown {
    pub(super) fn new(reveal: bool) -> Self {
        Self { reveal, sensitive: None }
    }

    /// The event without what must not be shown; none when it may be shown as it is.
    pub(super) fn public(&mut self, event: &RunEvent) -> Option<RunEvent> {
        if !self.reveal && self.sensitive.is_none() {
            self.sensitive = Sensitive::recorded(event);
        }
        self.sensitive.as_mut().and_then(|sensitive| sensitive.publish(event))
    }

    /// An event that was given before, without what must not be shown by all that was learnt since.
    pub(super) fn again(&self, event: &RunEvent) -> Option<RunEvent> {
        self.sensitive.as_ref().map(|sensitive| event.public(sensitive))
    }
}

fn known_step(run: &RunId, step: &str, history: &History) -> Result<(), Failure> {
    if history.steps.iter().any(|known| transcript::names(step, &known.path)) {
        return Ok(());
    }
    let known = history.steps.iter().map(|step| step.path.as_str());
    let hint = did_you_mean(step, known).unwrap_or_else(|| format!("`cofferdam runs show {run}` lists them"));
    Err(Failure::usage(format!("run `{run}` has no step `{step}`")).with_hint(hint))
}
