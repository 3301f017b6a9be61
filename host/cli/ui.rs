//! How things look: findings, progress, questions, the end of a run. Nothing here decides anything.

pub(crate) mod paint;

pub(crate) mod command_line;
pub(crate) mod diff;
pub(crate) mod difference;
pub(crate) mod finding;
pub(crate) mod live;
pub(crate) mod question;
pub(crate) mod recap;
pub(crate) mod table;
