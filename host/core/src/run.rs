//! The run as a fold: events in, effects out.
//!
//! Nothing here does IO. The engine appends an event to the journal, feeds it to the [`Machine`], and performs what
//! the machine asks for; `resume` and `replay` are the same fold over a recorded list.

mod address;
pub mod branch;
mod decisions;
mod digest;
mod each;
mod effect;
mod expect;
mod fold;
mod follow;
mod isolation;
mod loops;
mod machine;
mod message;
mod narrow;
mod node;
mod origin;
mod output;
mod questions;
mod reopen;
pub mod replay;
mod result;
mod rounds;
mod schedule;
mod scopes;
mod sequel;
mod shown;
mod spending;
mod transformed;
mod variables;
mod view;
mod waits;

#[cfg(test)]
mod laws;

pub use crate::variable::LOOP_CONTINUE;
pub use address::Unreachable;
pub use decisions::Branch;
pub use digest::digest;
pub use effect::{Effect, Emission};
pub use machine::{Instance, Machine, Settings, Stop, Verdict};
pub use message::{Assembled, Draft, MessageError, with_files};
pub use node::NodeState;
pub use result::{LoopResult, RunResult, StepFault, StepResult};
pub use spending::limits_cost;
pub use transformed::{Transformed, Untransformed};
pub use view::Reads;
pub use waits::{DEFER_APPROVALS, Waits};
