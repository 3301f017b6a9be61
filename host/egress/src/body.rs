//! Reads a body to its end or to its bound, counted after inflation.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::EgressError;

/// The whole body of a plugin's response; its time is bounded by the caller.
pub(crate) async fn read_all(mut response: reqwest::Response, host: &str, limit: u64) -> Result<Bytes, EgressError> {
    let too_large = || EgressError::TooLarge { what: "the response's body", limit };
    // A declared length is no proof, but enough to refuse early.
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    loop {
        let piece = response.chunk().await.map_err(|error| EgressError::from_reqwest(host, &error, Duration::ZERO))?;
        let Some(piece) = piece else {
            return Ok(body.freeze());
        };
        if (body.len() + piece.len()) as u64 > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&piece);
    }
}
