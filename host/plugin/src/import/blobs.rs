//! Bytes that the host keeps by the digest of their content: for values too large to copy.
//!
//! It must not know which store keeps them. The id is the capability: whoever has it may read.

use super::{caught, guarded, refuse};
use crate::bindings::cofferdam::host::blobs::{self, Writer};
use crate::bindings::cofferdam::types::common::{ErrorKind, PluginError};
use crate::instance::{Call, Guest};
use crate::limit::size;
use cofferdam_core::limits;
use cofferdam_core::port::{BlobId, Journal, JournalError};
use std::sync::Arc;
use wasmtime::component::Resource;

type Answer<T> = wasmtime::Result<Result<T, PluginError>>;

/// Blobs of one call: the one that was read last, and those that are being written.
#[derive(Default)]
pub(crate) struct Blobs {
    read: Option<(BlobId, Arc<[u8]>)>,
    /// None for a writer that is finished or dropped.
    writers: Vec<Option<Vec<u8>>>,
    bytes: usize,
}

impl blobs::Host for Guest {
    async fn size(&mut self, blob: String) -> Answer<u64> {
        let deadline = self.call.deadline;
        let begun = self.call.begin(|| blob.clone());
        let size = async { Ok(fetch(&mut self.call, &blob).await?.len() as u64) };
        let answer = guarded("blobs.size", deadline, size).await;
        self.call.end(begun, ("blobs", "size"), &answer, |size| format!("{size} bytes"));
        answer
    }

    async fn read(&mut self, blob: String, offset: u64, len: u32) -> Answer<Vec<u8>> {
        let begun = self.call.begin(|| blob.clone());
        let answer = guarded("blobs.read", self.call.deadline, async {
            let most = size(self.call.plugin.limits.payload_bytes);
            let bytes = fetch(&mut self.call, &blob).await?;
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            let len = usize::try_from(len).unwrap_or(usize::MAX).min(most);
            let to = from.saturating_add(len).min(bytes.len());
            Ok(bytes.get(from..to).unwrap_or_default().to_vec())
        })
        .await;
        self.call.end(begun, ("blobs", "read"), &answer, |bytes| format!("{} bytes", bytes.len()));
        answer
    }
}

impl blobs::HostWriter for Guest {
    fn new(&mut self, _content_type: Option<String>) -> wasmtime::Result<Resource<Writer>> {
        caught("blobs.writer", || {
            let writers = &mut self.call.blobs.writers;
            // One too many has no place: its first `append` says so.
            if writers.len() < limits::PLUGIN_BLOB_WRITERS {
                writers.push(Some(Vec::new()));
                return Resource::new_own(u32::try_from(writers.len() - 1).unwrap_or(u32::MAX));
            }
            Resource::new_own(u32::MAX)
        })
    }

    fn append(&mut self, writer: Resource<Writer>, data: Vec<u8>) -> Answer<()> {
        caught("blobs.append", || {
            let blobs = &mut self.call.blobs;
            blobs.bytes = blobs.bytes.saturating_add(data.len());
            if blobs.bytes > limits::PLUGIN_BLOB_BYTES {
                let message = format!("at most {} bytes may be written in one call", limits::PLUGIN_BLOB_BYTES);
                return Err(refuse(ErrorKind::TooLarge, message));
            }
            match blobs.writers.get_mut(writer.rep() as usize).and_then(Option::as_mut) {
                Some(written) => {
                    written.extend_from_slice(&data);
                    Ok(())
                }
                None => Err(no_writer()),
            }
        })
    }

    async fn finish(&mut self, writer: Resource<Writer>) -> Answer<String> {
        let begun = self.call.begin(String::new);
        let answer = guarded("blobs.finish", self.call.deadline, async {
            let written = self.call.blobs.writers.get_mut(writer.rep() as usize).and_then(Option::take);
            let bytes: Arc<[u8]> = written.ok_or_else(no_writer)?.into();
            let id = BlobId::of(&bytes);
            store(&self.call)?.put_blob(id.clone(), bytes).await.map_err(|error| failed(&error))?;
            Ok(id.as_str().to_owned())
        })
        .await;
        self.call.end(begun, ("blobs", "finish"), &answer, Clone::clone);
        answer
    }

    fn drop(&mut self, writer: Resource<Writer>) -> wasmtime::Result<()> {
        caught("blobs.drop", || {
            if let Some(slot) = self.call.blobs.writers.get_mut(writer.rep() as usize) {
                *slot = None;
            }
        })
    }
}

fn no_writer() -> PluginError {
    let message = format!("it is finished, or one of more than {}", limits::PLUGIN_BLOB_WRITERS);
    refuse(ErrorKind::InvalidInput, message)
}

fn store(call: &Call) -> Result<Arc<dyn Journal>, PluginError> {
    let kept = call.plugin.services.blobs.clone().filter(|_| call.ctx.is_some());
    kept.ok_or_else(|| refuse(ErrorKind::Unsupported, "no blobs are kept here"))
}

async fn fetch(call: &mut Call, blob: &str) -> Result<Arc<[u8]>, PluginError> {
    let Some(id) = BlobId::parse(blob) else {
        return Err(refuse(ErrorKind::InvalidInput, "the id of a blob is 64 hexadecimal digits"));
    };
    if let Some((known, bytes)) = &call.blobs.read
        && *known == id
    {
        return Ok(Arc::clone(bytes));
    }
    let bytes = store(call)?.get_blob(&id).await.map_err(|error| failed(&error))?;
    call.blobs.read = Some((id, Arc::clone(&bytes)));
    Ok(bytes)
}

fn failed(error: &JournalError) -> PluginError {
    if matches!(error, JournalError::NotFound(_)) {
        return refuse(ErrorKind::NotFound, "there is no such blob");
    }
    tracing::warn!(%error, "blobs cannot be reached");
    refuse(ErrorKind::Unavailable, "the store of blobs cannot be reached")
}
