//! How a run shows itself while it runs: events as JSON, a live view, lines, or nothing.

use crate::args::{EventForm, RunArgs};
use crate::local_time;
use crate::terminal;
use crate::ui::live::{Before, Live};
use cofferdam::core::spec;
use cofferdam::sink::{LoopBounds, Paint, human, ndjson, zenflow};
use cofferdam::{Builder, Sink, Workflow};
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// How a run shows itself.
pub(super) enum View {
    /// Every event on standard output.
    Events(Written),
    /// The same with the names of zenflow, of this document.
    Zenflow(Written, Box<spec::workflow::Workflow>),
    /// A live view on standard error.
    Live(Arc<Live>),
    /// Lines on standard error.
    Lines(LoopBounds),
    /// Nothing.
    Silent,
}

/// The first failure to write events. A run goes on without its sink, and the exit code must still tell.
#[derive(Clone, Default)]
pub(super) struct Written(Arc<Mutex<Option<String>>>);

/// Standard output, whose failures are kept.
struct Watched(Written);

impl Watched {
    fn keep<T>(&self, outcome: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &outcome
            && !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::Interrupted)
        {
            self.0.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| error.to_string());
        }
        outcome
    }
}

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.keep(io::stdout().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.keep(io::stdout().flush())
    }
}

impl View {
    pub(super) fn start(args: &RunArgs, workflow: &Workflow) -> Self {
        match (args.work.json, args.work.quiet, terminal::is_watched()) {
            (Some(EventForm::Cofferdam), _, _) => Self::Events(Written::default()),
            (Some(EventForm::Zenflow), _, _) => {
                Self::Zenflow(Written::default(), Box::new(workflow.document().clone()))
            }
            (_, true, _) => Self::Silent,
            (_, _, true) => {
                let none = workflow.document().plugins.is_empty();
                let before = if none { Before::Nothing } else { Before::Plugins };
                Self::Live(Arc::new(Live::start(before, LoopBounds::of(workflow.document()))))
            }
            (_, _, false) => Self::Lines(LoopBounds::of(workflow.document())),
        }
    }

    pub(super) fn attach(&self, builder: Builder) -> Builder {
        match self {
            Self::Events(written) => builder.sink(Arc::new(ndjson(Watched(written.clone())))),
            Self::Zenflow(written, document) => {
                builder.sink(Arc::new(zenflow(Watched(written.clone())).document(document)))
            }
            Self::Live(live) => builder.sink(Arc::clone(live) as Arc<dyn Sink>),
            Self::Lines(bounds) => {
                let lines = human(anstream::stderr()).paint(Paint::Ansi).utc_offset_s(local_time::utc_offset_s());
                builder.sink(Arc::new(lines.loop_bounds(bounds.clone())))
            }
            Self::Silent => builder,
        }
    }

    /// Why events did not reach standard output, unless nobody wanted to read on.
    pub(super) fn failure(&self) -> Option<String> {
        match self {
            Self::Events(written) | Self::Zenflow(written, _) => {
                written.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
            }
            Self::Live(_) | Self::Lines(_) | Self::Silent => None,
        }
    }

    /// Leaves the terminal as it was.
    pub(super) fn stop(&self) {
        if let Self::Live(live) = self {
            live.stop();
        }
    }
}
