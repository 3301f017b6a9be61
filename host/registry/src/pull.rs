//! Fetches a component: its manifest, then its one layer ("Pulling manifests" and "Pulling blobs" of the distribution
//! specification). Nothing is given out whose digest is not the one that was named.

use crate::artifact::{INDEX_TYPE, MANIFEST_TYPE, digest_of, layer_of};
use crate::client::{Ask, Client, Progress, read_all};
use crate::error::Error;
use bytes::Bytes;
use cofferdam_core::limits;
use cofferdam_egress::{EgressError, StreamingResponse};

/// What registries are asked for: they may keep other forms, too.
const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";

/// A component that was fetched.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// Its bytes.
    pub component: Bytes,
    /// The digest of the component.
    pub digest: String,
    /// The digest of its manifest: what the tag pointed to.
    pub manifest: String,
}

impl Client {
    /// Fetches the component that the reference names. With a digest, the manifest with that digest is taken instead of
    /// what the tag points to.
    ///
    /// # Errors
    /// What the registry or the network did; nothing is given then.
    pub async fn pull(&mut self, manifest: Option<&str>, mut report: impl FnMut(Progress)) -> Result<Pulled, Error> {
        let wanted = manifest.or(self.reference.digest()).map(str::to_owned);
        let version = wanted.clone().unwrap_or_else(|| self.reference.version().to_owned());
        let (text, media_type) = self.manifest(&version).await?;
        let found = digest_of(&text);
        if let Some(expected) = wanted.filter(|wanted| *wanted != found) {
            return Err(self.mismatch("manifest", &expected, found));
        }
        let layer = layer_of(&text, &media_type)?;
        let total = layer.size;
        report(Progress { done: 0, total });
        let mut ask = Ask::get(self.url(&format!("blobs/{}", layer.digest)), limits::PLUGIN_COMPONENT_BYTES);
        // An honest body is not one byte longer; what is inflated is counted after.
        ask.limit = usize::try_from(total).unwrap_or(limits::PLUGIN_COMPONENT_BYTES);
        let answer = self.send(&ask).await?;
        if answer.status != 200 {
            let status = answer.status;
            return Err(self.refusal(answer, "give the component", status).await);
        }
        let done = |done: usize| report(Progress { done: done as u64, total });
        let component = read_all(answer, ask.limit, done).await.map_err(|cause| self.broken(cause, total))?;
        if component.len() as u64 != total {
            let reason = format!("gave {} bytes of a component of {total} bytes", component.len());
            return Err(Error::protocol(&self.host, reason));
        }
        let digest = digest_of(&component);
        if digest != layer.digest {
            return Err(self.mismatch("component", &layer.digest, digest));
        }
        Ok(Pulled { component, digest, manifest: found })
    }

    /// The manifest of a tag or digest, and the type that the registry says it has.
    async fn manifest(&mut self, version: &str) -> Result<(Bytes, String), Error> {
        let url = self.url(&format!("manifests/{version}"));
        let limit = limits::REGISTRY_MANIFEST_BYTES;
        let ask = Ask { headers: vec![("accept", ACCEPT)], ..Ask::get(url, limit) };
        let answer = self.send(&ask).await?;
        if answer.status != 200 {
            let status = answer.status;
            return Err(self.refusal(answer, "give the manifest", status).await);
        }
        let media_type = header(&answer, "content-type");
        let said = header(&answer, "docker-content-digest");
        let text = read_all(answer, limit, |_| ()).await.map_err(|cause| match cause {
            EgressError::TooLarge { limit, .. } => Error::TooLarge { what: "the manifest", limit },
            cause => Error::network(&self.host, cause),
        })?;
        let found = digest_of(&text);
        if said.starts_with("sha256:") && said != found {
            return Err(self.mismatch("manifest", &said, found));
        }
        let known = [MANIFEST_TYPE, INDEX_TYPE].into_iter().find(|known| media_type.starts_with(known));
        Ok((text, known.map_or(media_type.clone(), str::to_owned)))
    }

    pub(crate) fn mismatch(&self, what: &'static str, expected: &str, found: String) -> Error {
        let expected = cofferdam_core::text::clean_to(expected, 100);
        Error::Digest { host: self.host.clone(), what, expected, found }
    }

    fn broken(&self, cause: EgressError, total: u64) -> Error {
        match cause {
            EgressError::TooLarge { .. } => {
                Error::protocol(&self.host, format!("gives more than the {total} bytes that its manifest says"))
            }
            cause => Error::network(&self.host, cause),
        }
    }
}

/// A header's text; empty when there is none.
pub(crate) fn header(answer: &StreamingResponse, name: &str) -> String {
    answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}
