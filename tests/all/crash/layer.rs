//! The layer between a worker and its disk (`tests/faulty-disk`), and what it is told to do.
//!
//! It must not know what the worker does.

use super::stage::{Ended, Stage};
use super::trace::{self, Op};
use super::worker::{DISK, Order};
use std::path::PathBuf;
use std::process::Command;

/// What the layer does beside letting calls pass.
#[derive(Debug, Default)]
pub(super) struct Layer {
    /// Notes all that is written.
    pub(super) traces: bool,
    /// Lets calls fail, in the layer's words.
    pub(super) fault: Option<String>,
    /// How long a flush takes.
    pub(super) slow_ms: u64,
}

impl Layer {
    /// Puts the layer below a process.
    pub(super) fn below(&self, stage: &Stage, command: &mut Command) {
        command
            .env("LD_PRELOAD", library())
            .env("FAULTY_DISK", stage.path(DISK))
            .env("FAULTY_DISK_MARKS", stage.path("witness"))
            .env("FAULTY_DISK_SLOW", self.slow_ms.to_string());
        if self.traces {
            command.env("FAULTY_DISK_TRACE", stage.path("trace"));
        }
        if let Some(fault) = &self.fault {
            command.env("FAULTY_DISK_FAULT", fault);
        }
    }

    /// Has a worker carry out its order above the layer.
    pub(super) fn work(&self, stage: &Stage, order: &Order) -> Ended {
        let mut command = stage.command(order);
        self.below(stage, &mut command);
        stage.end(command.spawn().unwrap())
    }
}

/// What the layer noted.
pub(super) fn traced(stage: &Stage) -> Vec<Op> {
    trace::parse(&std::fs::read(stage.path("trace")).unwrap(), &stage.path(DISK))
}

/// Cargo builds it beside this binary, since it is a dependency of the tests.
pub(super) fn library() -> PathBuf {
    let path = std::env::current_exe().unwrap().with_file_name("libfaulty_disk.so");
    assert!(path.exists(), "`{}` is not built", path.display());
    path
}
