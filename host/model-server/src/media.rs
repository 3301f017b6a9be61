//! Which images and files a request has, whatever the protocol: each writes them in a way that no other uses.
//! It must not decode them.

use serde_json::Value;

/// A text that counts them: `2 images: image/png, image/jpeg; 1 file: application/pdf`.
pub(crate) fn described(body: &Value) -> String {
    let mut found = Found::default();
    found.walk(body);
    let images = counted("image", &found.images);
    let files = counted("file", &found.files);
    format!("{images}; {files}")
}

fn counted(what: &str, types: &[String]) -> String {
    match types {
        [] => format!("no {what}s"),
        [one] => format!("1 {what}: {one}"),
        more => format!("{} {what}s: {}", more.len(), more.join(", ")),
    }
}

#[derive(Default)]
struct Found {
    images: Vec<String>,
    files: Vec<String>,
}

impl Found {
    fn add(&mut self, media_type: &str) {
        let list = if media_type.starts_with("image/") { &mut self.images } else { &mut self.files };
        list.push(media_type.to_owned());
    }

    fn walk(&mut self, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.walk(item)),
            Value::Object(object) if !self.take(value) => object.values().for_each(|item| self.walk(item)),
            _ => {}
        }
    }

    /// Takes an attachment; whether it was one.
    fn take(&mut self, value: &Value) -> bool {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
        // Chat Completions and Responses.
        if let Some(url) = text("/image_url/url").or_else(|| text("/image_url")) {
            self.add(of_url(url).unwrap_or("image/by-address"));
        } else if let Some(data) = text("/file/file_data").or_else(|| text("/file_data")) {
            self.add(of_url(data).unwrap_or("application/octet-stream"));
        } else if text("/file/file_id").or_else(|| text("/file_id")).is_some() {
            self.add("application/by-id");
        } else if let Some(format) = text("/input_audio/format") {
            self.add(&format!("audio/{format}"));
        // Messages.
        } else if let Some(kind @ ("image" | "document")) = text("/type").filter(|_| value.get("source").is_some()) {
            let media_type = text("/source/media_type");
            self.add(media_type.unwrap_or(if kind == "image" { "image/by-address" } else { "application/by-address" }));
        // Gemini, in both of its spellings.
        } else if let Some(media_type) = GOOGLE.iter().find_map(|pointer| text(pointer)) {
            self.add(media_type);
        // Ollama: bare base64, whose first characters tell what it is.
        } else if let Some(Value::Array(images)) = value.get("images").filter(|_| value.get("role").is_some()) {
            images.iter().filter_map(Value::as_str).for_each(|data| self.add(of_base64(data)));
        } else {
            return false;
        }
        true
    }
}

/// Its own SDK mixes two spellings.
const GOOGLE: &[&str] = &[
    "/inlineData/mimeType",
    "/inlineData/mime_type",
    "/inline_data/mime_type",
    "/fileData/mimeType",
    "/fileData/mime_type",
    "/file_data/mime_type",
];

/// The media type of a `data:` URL.
fn of_url(url: &str) -> Option<&str> {
    url.strip_prefix("data:")?.split([';', ',']).next()
}

fn of_base64(data: &str) -> &'static str {
    let known = [("iVBOR", "image/png"), ("/9j/", "image/jpeg"), ("R0lG", "image/gif"), ("UklG", "image/webp")];
    known.iter().find(|(start, _)| data.starts_with(start)).map_or("image/unknown", |(_, media_type)| media_type)
}

#[cfg(test)]
mod tests {
    use super::described;
    use serde_json::json;

    #[test]
    fn attachments_of_every_protocol_are_counted() {
        let source = json!({"type": "base64", "media_type": "image/png", "data": "aa"});
        let cases = [
            (
                json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,aa"}}),
                "1 image: image/png; no files",
            ),
            (json!({"type": "input_image", "image_url": "data:image/jpeg;base64,aa"}), "1 image: image/jpeg; no files"),
            (json!({"type": "input_image", "image_url": "https://x/y"}), "1 image: image/by-address; no files"),
            (
                json!({"type": "file", "file": {"file_data": "data:application/pdf;base64,aa"}}),
                "no images; 1 file: application/pdf",
            ),
            (
                json!([{"type": "image", "source": source}, {"type": "image", "source": source}]),
                "2 images: image/png, image/png; no files",
            ),
            (json!({"inlineData": {"mime_type": "image/gif", "data": "aa"}}), "1 image: image/gif; no files"),
            (json!({"inlineData": {"mimeType": "image/webp", "data": "aa"}}), "1 image: image/webp; no files"),
            (
                json!({"role": "user", "content": "", "images": ["iVBORw", "/9j/4", "zz"]}),
                "3 images: image/png, image/jpeg, image/unknown; no files",
            ),
            (json!({"messages": [{"role": "user", "content": "hello"}]}), "no images; no files"),
        ];
        for (body, text) in cases {
            assert_eq!(described(&body), text, "{body}");
        }
    }
}
