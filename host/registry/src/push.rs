//! Puts a component into a registry: its layer, its configuration, and last the manifest that names both ("Pushing a blob
//! monolithically" by POST and PUT, "Pushing Manifests" of the distribution specification).

use crate::artifact::{self, Described, digest_of};
use crate::client::{Ask, Client, Progress};
use crate::error::Error;
use crate::pull::header;
use bytes::Bytes;
use cofferdam_core::policy::Method;
use url::Url;

/// What was pushed.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// The digest of the component.
    pub digest: String,
    /// The digest of the manifest: the reference that never changes is `REPOSITORY@` and this.
    pub manifest: String,
    /// Bytes that were sent; what the registry had already is not sent again.
    pub sent: u64,
}

impl Client {
    /// Pushes a component under the tag of the reference. The same component gives the same manifest.
    ///
    /// # Errors
    /// What the registry or the network did; the tag points to what it pointed to then.
    pub async fn push(
        &mut self,
        component: Bytes,
        described: &Described,
        mut report: impl FnMut(Progress),
    ) -> Result<Pushed, Error> {
        let written = artifact::write(&component, described);
        let (config, manifest) = written.map_err(|error| Error::protocol(&self.host, error.to_string()))?;
        let (digest, total) = (digest_of(&component), component.len() as u64);
        report(Progress { done: 0, total });
        let mut sent = self.blob(component).await?;
        report(Progress { done: total, total });
        sent += self.blob(Bytes::from(config)).await?;
        let named = digest_of(&manifest);
        let version = self.reference.version().to_owned();
        let url = self.url(&format!("manifests/{version}"));
        let answer = self.send(&Ask::put_manifest(url, Bytes::from(manifest))).await?;
        if answer.status != 201 {
            let status = answer.status;
            return Err(self.refusal(answer, "take the manifest", status).await);
        }
        let said = header(&answer, "docker-content-digest");
        if said.starts_with("sha256:") && said != named {
            return Err(self.mismatch("manifest", &named, said));
        }
        Ok(Pushed { digest, manifest: named, sent })
    }

    /// Uploads a blob unless it is there; the bytes that were sent.
    async fn blob(&mut self, bytes: Bytes) -> Result<u64, Error> {
        let (digest, size) = (digest_of(&bytes), bytes.len() as u64);
        let there =
            Ask { method: Method::Head, right: "pull,push", ..Ask::get(self.url(&format!("blobs/{digest}")), 0) };
        let answer = self.send(&there).await?;
        match answer.status {
            200 => return Ok(0),
            404 => {}
            status => return Err(self.refusal(answer, "say whether it has the component", status).await),
        }
        let begun = self.send(&Ask::put(Method::Post, self.url("blobs/uploads/"), Bytes::new())).await?;
        if begun.status != 202 {
            let status = begun.status;
            return Err(self.refusal(begun, "begin an upload", status).await);
        }
        let place = self.place(&header(&begun, "location"), &digest)?;
        let answer = self.send(&Ask::put(Method::Put, place, bytes)).await?;
        if answer.status != 201 {
            let status = answer.status;
            return Err(self.refusal(answer, "take the component", status).await);
        }
        Ok(size)
    }

    /// Where the bytes go: what the registry said, with the digest. Only the registry itself gets them, and our key.
    fn place(&self, location: &str, digest: &str) -> Result<String, Error> {
        let unclear = || Error::protocol(&self.host, "begins an upload and does not say where it goes");
        let base = Url::parse(&self.url("blobs/uploads/")).map_err(|_| unclear())?;
        if location.is_empty() {
            return Err(unclear());
        }
        let mut place = base.join(location).map_err(|_| unclear())?;
        place.query_pairs_mut().append_pair("digest", digest);
        if !self.is_own(place.as_str()) {
            return Err(Error::protocol(&self.host, "leads the upload to another host, which is not followed"));
        }
        Ok(place.into())
    }
}
