//! Standard output and standard error. Data goes to the one, all else to the other; a reader that left is no failure.

use crate::args::Color;
use crate::environment;
use crate::ui::live;
use cofferdam::core::text::{escaped, escaped_unseen};
use std::io::{ErrorKind, IsTerminal as _, Result, Write as _};
use std::path::Path;

/// Follows the flag `--color`; `auto` follows NO_COLOR, CLICOLOR_FORCE and the terminal.
pub(crate) fn set_color(color: Color) {
    match color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    }
    .write_global();
}

/// Writes data.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

/// The name of a file for people: a file can be called anything, also what a terminal takes for a command.
pub(crate) fn name(path: &Path) -> String {
    escaped(&path.display().to_string()).into_owned()
}

/// Writes a line for people, above the live view if there is one.
pub(crate) fn tell(text: &str) {
    let text = escaped_unseen(text);
    live::above(|| {
        let mut stderr = anstream::stderr().lock();
        // Nobody is left to tell when this fails.
        let _ = writeln!(stderr, "{text}");
    });
}

/// Whether a person watches standard error, so that lines may change after they were written.
pub(crate) fn is_watched() -> bool {
    std::io::stderr().is_terminal()
        && !environment::is_ci()
        && environment::variable("TERM").is_none_or(|term| term != "dumb")
}

/// Whether a person can be asked.
pub(crate) fn is_interactive() -> bool {
    is_watched() && std::io::stdin().is_terminal()
}

/// Whether data goes to a person, who must be kept safe from control characters.
pub(crate) fn is_read_by_a_person() -> bool {
    std::io::stdout().is_terminal()
}
