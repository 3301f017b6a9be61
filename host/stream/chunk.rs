//! One piece of a stream: what happened, in the words of streaming clients.

use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::run::RunResult;
use cofferdam_core::time::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

/// What a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChunkKind {
    /// A whole text: the content of a step that did not stream it.
    Text,
    /// A piece of text.
    Delta,
    /// A piece of reasoning.
    Thought,
    /// A tool is called.
    ToolCall,
    /// A tool answered.
    ToolResult,
    /// Something else happened: a step was skipped, a try failed, a warning.
    Metadata,
    /// A step began.
    AgentStart,
    /// A step ended, or waits and goes on in another stream.
    AgentComplete,
    /// An image that a tool gave.
    Image,
    /// Sound that a tool gave.
    Audio,
    /// A film that a tool gave.
    Video,
    /// A step failed, or the run could not start.
    Error,
    /// The run ended. The last chunk, exactly once.
    Done,
}

/// A piece of a stream.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chunk {
    /// What it is.
    pub kind: ChunkKind,
    /// Position in the stream, from 0, dense.
    pub index: u64,
    /// When it happened.
    pub at: Timestamp,
    /// Text, whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<Arc<str>>,
    /// Text, a piece.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<String>,
    /// Where it belongs.
    pub metadata: ChunkMetadata,
    /// The tool, for calls, results, and what is in a result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<ChunkTool>,
    /// The bytes of an image, of sound, of a film.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media: Option<ChunkMedia>,
    /// What failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Fault>,
}

/// Where a chunk belongs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ChunkMetadata {
    /// The id of the outermost step; of a document that is a loop, of the step in its body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_name: Option<String>,
    /// The whole path.
    #[serde(skip_serializing_if = "StepPath::is_root")]
    pub path: StepPath,
    /// The iteration of the innermost loop around it, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iteration: Option<u32>,
    /// Position of `step_name` among [`super::StreamMetadata::step_names`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_index: Option<usize>,
    /// How many names there are.
    pub total_steps: usize,
    /// The workflows around it, `main/analyze`, when it belongs to a workflow that works as an agent: names, positions
    /// and counts are then those of the inner one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// The kind of the event it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<&'static str>,
}

/// A tool of a chunk.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChunkTool {
    /// The call's id.
    pub call_id: String,
    /// The tool's name.
    pub name: String,
    /// The arguments, for calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Arc<Value>>,
    /// The result, for results.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Arc<Value>>,
}

/// Bytes of a chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChunkMedia {
    /// The media type, `image/png` for instance.
    pub media_type: String,
    /// The bytes in base64.
    pub base64: Arc<str>,
}

impl ChunkMedia {
    /// What is in a result as servers of tools give it: the entries of its `data` that have a `media_type` and `base64`.
    pub(super) fn all_of(result: &Value) -> impl Iterator<Item = (ChunkKind, Self)> {
        let entries = result.get("data").and_then(Value::as_array);
        entries.into_iter().flatten().filter_map(|entry| {
            let text = |key: &str| entry.get(key).and_then(Value::as_str);
            let (media_type, base64) = (text("media_type")?, text("base64")?);
            let kind = match media_type.split_once('/')?.0 {
                "image" => ChunkKind::Image,
                "audio" => ChunkKind::Audio,
                "video" => ChunkKind::Video,
                _ => return None,
            };
            Some((kind, Self { media_type: media_type.to_owned(), base64: base64.into() }))
        })
    }
}

impl Chunk {
    pub(super) fn new(kind: ChunkKind, at: Timestamp, metadata: ChunkMetadata) -> Self {
        Self { kind, index: 0, at, content: None, delta: None, metadata, tool: None, media: None, error: None }
    }

    /// The text that it adds to the run's.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self.kind {
            ChunkKind::Text => self.content.as_deref(),
            ChunkKind::Delta => self.delta.as_deref(),
            _ => None,
        }
    }

    /// The end of a run that ran.
    pub(super) fn done(result: &RunResult) -> Self {
        let mut chunk = Self::new(ChunkKind::Done, Timestamp::default(), ChunkMetadata::default());
        chunk.content = Some(result.final_output().into());
        chunk.error = result.error.as_ref().map(|error| error.fault.clone());
        chunk
    }

    /// The end of a run that never ran.
    pub(super) fn refused(fault: Fault) -> Self {
        let mut chunk = Self::new(ChunkKind::Done, Timestamp::default(), ChunkMetadata::default());
        chunk.error = Some(fault);
        chunk
    }
}
