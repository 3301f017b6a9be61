//! Documents through the public surface: valid ones load, invalid ones give exactly the expected findings.
//!
//! `documents/*.cases` hold one case after another; `UPDATE=1` writes the findings as they are now.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

mod bounds;
mod case;
mod findings;
mod hostile;
mod valid;
