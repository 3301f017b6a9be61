//! How a run shows itself while it runs: events as JSON, a live view, lines, or nothing.

use crate::args::RunArgs;
use crate::local_time;
use crate::terminal;
use crate::ui::live::{Before, Live};
use cofferdam::sink::{Paint, human, ndjson};
use cofferdam::{Builder, Sink, Workflow};
use std::sync::Arc;

/// How a run shows itself.
pub(super) enum View {
    /// Every event on standard output.
    Events,
    /// A live view on standard error.
    Live(Arc<Live>),
    /// Lines on standard error.
    Lines,
    /// Nothing.
    Silent,
}

impl View {
    pub(super) fn start(args: &RunArgs, workflow: &Workflow) -> Self {
        match (args.json, args.quiet, terminal::is_watched()) {
            (true, _, _) => Self::Events,
            (_, true, _) => Self::Silent,
            (_, _, true) => Self::Live(Arc::new(Live::start(match workflow.document().plugins.is_empty() {
                true => Before::Nothing,
                false => Before::Plugins,
            }))),
            (_, _, false) => Self::Lines,
        }
    }

    pub(super) fn attach(&self, builder: Builder) -> Builder {
        match self {
            Self::Events => builder.sink(Arc::new(ndjson(std::io::stdout()))),
            Self::Live(live) => builder.sink(Arc::clone(live) as Arc<dyn Sink>),
            Self::Lines => {
                let lines = human(anstream::stderr()).paint(Paint::Ansi).utc_offset_s(local_time::utc_offset_s());
                builder.sink(Arc::new(lines))
            }
            Self::Silent => builder,
        }
    }

    /// Leaves the terminal as it was.
    pub(super) fn stop(&self) {
        if let Self::Live(live) = self {
            live.stop();
        }
    }
}
