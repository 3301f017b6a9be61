//! The log: what the library says by `tracing`, on standard error.
//!
//! Warnings always, more with `-v`; `COFFERDAM_LOG` names targets and levels.

use crate::args::{Global, LogFormat};
use crate::environment;
use crate::failure::Failure;
use crate::terminal;
use std::io::Write;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::{Filter, SubscriberExt as _};
use tracing_subscriber::{Layer, Registry};

/// The variable that names targets and levels.
const VARIABLE: &str = "COFFERDAM_LOG";

/// Where plugins log.
const GUESTS: &str = "cofferdam::guest";

/// How much of what plugins log is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guests {
    /// As much as of everything.
    AsAll,
    /// Everything but traces.
    Loud,
}

/// Begins to log.
pub(crate) fn start(global: &Global, guests: Guests) -> Result<(), Failure> {
    match environment::variable(VARIABLE) {
        Some(directives) => {
            let filter = EnvFilter::try_new(&directives).map_err(|error| {
                Failure::usage(format!("{VARIABLE} is `{directives}`, which cannot be read: {error}"))
                    .with_hint("write `debug` or `cofferdam_engine=trace,warn`")
            })?;
            install(filter, global);
        }
        None => {
            let level = match global.verbose {
                0 => LevelFilter::WARN,
                1 => LevelFilter::INFO,
                2 => LevelFilter::DEBUG,
                _ => LevelFilter::TRACE,
            };
            let own = if guests == Guests::Loud { level.max(LevelFilter::DEBUG) } else { level };
            let targets = Targets::new().with_target("cofferdam", level).with_target(GUESTS, own);
            install(targets.with_default(level.min(LevelFilter::WARN)), global);
        }
    }
    Ok(())
}

fn install<F>(filter: F, global: &Global)
where
    F: Filter<Registry> + Send + Sync + 'static,
{
    let is_plain = global.verbose == 0 && environment::variable(VARIABLE).is_none();
    // Whoever asks for more wants to know how long things took.
    let spans = if is_plain { FmtSpan::NONE } else { FmtSpan::CLOSE };
    let lines = tracing_subscriber::fmt::layer().with_writer(Above).with_span_events(spans);
    let outcome = match (global.log_format, is_plain) {
        (LogFormat::Json, _) => set(lines.json().with_filter(filter)),
        (LogFormat::Text, true) => set(lines.without_time().with_target(false).with_filter(filter)),
        (LogFormat::Text, false) => set(lines.with_filter(filter)),
    };
    // There is one start in a process; a second would keep the first.
    drop(outcome);
}

fn set<L: Layer<Registry> + Send + Sync>(layer: L) -> Result<(), tracing::subscriber::SetGlobalDefaultError> {
    tracing::subscriber::set_global_default(Registry::default().with(layer))
}

/// Writes lines above the live view.
struct Above;

impl Write for Above {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        terminal::tell(String::from_utf8_lossy(bytes).trim_end());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Above {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        Self
    }
}
