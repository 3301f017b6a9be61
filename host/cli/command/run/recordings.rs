//! Recordings of what providers of models answer: made beside a run, or taken in their place.
//!
//! It must not know what is in a recording.

use crate::args::WorkArgs;
use crate::failure::Failure;
use crate::terminal;
use crate::ui::paint;
use cofferdam::llm::tape::{Tape, TapeError};
use std::sync::Arc;

/// Names of recordings that were not asked for which are told one by one.
const NAMED: usize = 5;

/// The tape that the flags ask for.
pub(super) fn open(args: &WorkArgs) -> Result<Option<Arc<Tape>>, Failure> {
    let opened = match (&args.record, &args.replay) {
        (Some(folder), _) => ("--record", folder, cofferdam::tape::record(folder)),
        (None, Some(folder)) => ("--replay", folder, cofferdam::tape::replay(folder)),
        (None, None) => return Ok(None),
    };
    let (flag, folder, tape) = opened;
    let refuse = |error: TapeError| {
        let failure = Failure::usage(format!("{flag} {}: {error}", folder.display()));
        match error.hint() {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    };
    tape.map(|tape| Some(Arc::new(tape))).map_err(refuse)
}

/// Says what became of the tape once the run has ended.
pub(super) fn conclude(tape: &Tape, quiet: bool) -> Result<(), Failure> {
    if let Some(error) = tape.take_trouble() {
        return Err(Failure::failed(format!("what providers answered could not be recorded: {error}")));
    }
    if quiet {
        return Ok(());
    }
    if !tape.replays() {
        terminal::tell(&paint::quiet(&format!("recorded in {}; `--replay` answers from there", tape.place())));
        return Ok(());
    }
    let unused = tape.unused();
    if !unused.is_empty() {
        let names: Vec<&str> = unused.iter().take(NAMED).map(|one| one.path.as_str()).collect();
        let more = unused.len().saturating_sub(NAMED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let text = format!("not asked for, of the recordings: {}{more}", names.join(", "));
        terminal::tell(&paint::warn(&text));
    }
    Ok(())
}
