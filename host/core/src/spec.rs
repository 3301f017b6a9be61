//! Documents: authored YAML or JSON with spans, validated, resolved into a [`workflow::Workflow`].

pub mod suggest;
pub mod workflow;
