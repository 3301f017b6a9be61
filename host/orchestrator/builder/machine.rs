//! What an orchestrator takes of the machine that it runs on: time, chance, programs.

use super::Builder;
use cofferdam_core::port::{Clock, Randomness};
use cofferdam_plugin::CompileChild;
use cofferdam_tools::ExecSettings;
use std::sync::Arc;

impl Builder {
    /// Time. Default: real time.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Chance. Default: the system's.
    #[must_use]
    pub fn randomness(mut self, randomness: Arc<dyn Randomness>) -> Self {
        self.randomness = Some(randomness);
        self
    }

    /// How plugins are compiled in a process of their own. Default: in this one.
    #[must_use]
    pub fn compile_child(mut self, child: CompileChild) -> Self {
        self.compile_child = Some(child);
        self
    }

    /// How the tool `exec` runs commands. It is there where a rule allows it by name, or the stance is [`Stance::Yolo`], and
    /// never in the sandbox. Default: nothing runs commands.
    ///
    /// [`Stance::Yolo`]: cofferdam_core::permission::Stance::Yolo
    #[must_use]
    pub fn exec(mut self, settings: ExecSettings) -> Self {
        self.exec = Some(settings);
        self
    }
}
