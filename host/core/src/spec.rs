//! Documents: authored YAML or JSON with spans, validated, resolved into a [`workflow::Workflow`].

pub mod workflow;
