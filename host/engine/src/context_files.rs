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

/// Adds text files to the message and gives the others as attachments.
pub(crate) async fn attach(
    paths: &[String],
    sources: &Arc<dyn Sources>,
    message: &mut String,
    most: usize,
) -> Result<Vec<Attachment>, Fault> {
    let (paths, sources) = (paths.to_vec(), Arc::clone(sources));
    let read = tokio::task::spawn_blocking(move || read_all(&paths, sources.as_ref()));
    let files = read.await.map_err(|_| Fault::bug("reading context files panicked"))??;
    let mut attachments = Vec::new();
    let mut section = String::new();
    for (path, bytes) in files {
        match media_type(&path) {
            Some(media_type) => attachments.push(Attachment {
                base64: base64::engine::general_purpose::STANDARD.encode(&bytes).into(),
                media_type: media_type.to_owned(),
                name: path,
            }),
            None => {
                let text = String::from_utf8(bytes.to_vec())
                    .map_err(|_| Fault::user("context_file", format!("context file `{path}` is not text")))?;
                write!(section, "\n\n### {path}\n{text}").expect("writing to a string cannot fail");
            }
        }
    }
    if !section.is_empty() {
        if message.trim().is_empty() {
            message.clear();
        } else {
            message.push_str("\n\n");
        }
        message.push_str("## Files");
        message.push_str(&section);
    }
    let bytes = message.len();
    if bytes > most {
        let what = format!("the message has {bytes} bytes with its context files, more than {most}");
        return Err(Fault::user("message_too_large", what));
    }
    Ok(attachments)
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
