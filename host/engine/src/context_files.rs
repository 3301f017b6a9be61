//! Context files: text goes into the message, images and documents go with it.

use base64::Engine as _;
use cofferdam_core::fault::Fault;
use cofferdam_core::limits;
use cofferdam_core::message::Attachment;
use cofferdam_core::port::Sources;
use std::fmt::Write as _;
use std::sync::Arc;

/// A file that was read, with the path that the document names.
type Named = (String, Arc<[u8]>);

/// Context files, as they go with a message.
#[derive(Default)]
pub(crate) struct ContextFiles {
    /// The section of those that are text; empty when there are none.
    pub(crate) section: String,
    /// The others.
    pub(crate) attachments: Vec<Attachment>,
}

/// Reads context files.
pub(crate) async fn read(paths: &[String], sources: &Arc<dyn Sources>) -> Result<ContextFiles, Fault> {
    if paths.is_empty() {
        return Ok(ContextFiles::default());
    }
    let (paths, sources) = (paths.to_vec(), Arc::clone(sources));
    let read = tokio::task::spawn_blocking(move || read_all(&paths, sources.as_ref()));
    let files = read.await.map_err(|_| Fault::bug("reading context files panicked"))??;
    let mut read = ContextFiles::default();
    for (path, bytes) in files {
        match media_type(&path) {
            Some(media_type) => read.attachments.push(Attachment {
                base64: base64::engine::general_purpose::STANDARD.encode(&bytes).into(),
                media_type: media_type.to_owned(),
                name: path,
            }),
            None => {
                let text = String::from_utf8(bytes.to_vec())
                    .map_err(|_| Fault::user("context_file", format!("context file `{path}` is not text")))?;
                write!(read.section, "\n\n### {path}\n{text}").expect("writing to a string cannot fail");
            }
        }
    }
    if !read.section.is_empty() {
        read.section.insert_str(0, "## Files");
    }
    Ok(read)
}

fn read_all(paths: &[String], sources: &dyn Sources) -> Result<Vec<Named>, Fault> {
    let read = |path: &String| match sources.read(path, limits::ATTACHMENT_BYTES) {
        Ok(file) => Ok((path.clone(), file.bytes)),
        Err(error) => Err(Fault::user("context_file", error.to_string())),
    };
    paths.iter().map(read).collect()
}

fn media_type(path: &str) -> Option<&'static str> {
    let extension = path.rsplit_once('.')?.1.to_ascii_lowercase();
    match extension.as_str() {
        "png" => Some("image/png"),
        "jpg" | "jpeg" => Some("image/jpeg"),
        "gif" => Some("image/gif"),
        "webp" => Some("image/webp"),
        "pdf" => Some("application/pdf"),
        _ => None,
    }
}
