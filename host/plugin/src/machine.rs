//! What this machine can do for plugins, for whoever asks before there is one. It must not load a plugin.

use crate::compile::{CompileChild, CompileError, Compiler};
use crate::engine::{Allocation, Engine, Meter};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The smallest component: a header and nothing else.
const EMPTY: [u8; 8] = *b"\0asm\x0d\0\x01\0";

/// How guests get their memory here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Reserved once; an instance costs microseconds.
    Pooled {
        /// How many instances may live at once.
        slots: u32,
    },
    /// Mapped for each instance, since the address space is too small for the pool.
    OnDemand,
}

/// Tries how guests get their memory, as the first plugin of a process does.
///
/// # Errors
/// When there is no engine for this machine at all.
pub fn memory() -> Result<Memory, String> {
    match crate::engine::probe(Meter::Plain) {
        Ok((_, Allocation::Pooled { slots })) => Ok(Memory::Pooled { slots }),
        Ok(_) => Ok(Memory::OnDemand),
        Err(error) => Err(format!("{error:#}")),
    }
}

/// Has a component compiled that does nothing, in a process of its own, and gives the time that it took.
///
/// # Errors
/// What kept the compiler from its work.
pub async fn try_compiler(child: CompileChild) -> Result<Duration, CompileError> {
    let engine =
        Engine::new(Meter::Plain, Allocation::Probed).map_err(|error| CompileError::Died(format!("{error:#}")))?;
    let begun = Instant::now();
    Compiler::new(Some(child)).compile(&Arc::new(engine), Arc::from(EMPTY)).await?;
    Ok(begun.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_compiler_that_is_none_is_noticed() {
        let child = |program: &str| CompileChild { program: program.into(), args: Vec::new() };
        assert!(matches!(try_compiler(child("/nowhere")).await, Err(CompileError::Child(_))));
        assert!(try_compiler(child("/bin/true")).await.is_err());
        assert!(memory().is_ok());
    }
}
