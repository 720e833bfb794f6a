//! A body, read within limits.
//!
//! Enters: a request's body as it streams. Leaves: its bytes, each heard on the way by whoever proves them.

use axum::body::{Body, HttpBody};
use http_body_util::BodyExt;

use super::Refusal;

/// By how much the memory of a body grows: never to twice its size, as it would by itself.
const GROWTH_BYTES: usize = 1024 * 1024;

/// Reads a body to its end, or refuses it as soon as it says or shows that it is too large.
pub(super) async fn read(mut body: Body, bytes_max: usize, mut hear: impl FnMut(&[u8])) -> Result<Vec<u8>, Refusal> {
    // Its `Content-Length`, if it came with one.
    if body.size_hint().lower() > u64::try_from(bytes_max).unwrap_or(u64::MAX) {
        return Err(Refusal::TooLarge);
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::Broken)?;
        // What is not data is a trailer.
        let Some(chunk) = frame.data_ref() else { continue };
        if chunk.len() > bytes_max - bytes.len() {
            return Err(Refusal::TooLarge);
        }
        hear(chunk);
        if bytes.capacity() - bytes.len() < chunk.len() {
            bytes.reserve_exact(chunk.len().max(GROWTH_BYTES));
        }
        bytes.extend_from_slice(chunk);
    }
    Ok(bytes)
}
