//! Answers by the hash of their question, on disk: a restart, or a revert, renders nothing again.
//!
//! Enters: keys and answers. Leaves: answers that were put in before. The folder may be lost at any time, and what is broken
//! in it counts as absent. It may hold what charts make of values, so nobody else may read it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::ANSWER_BYTES_MAX;
use crate::model::Digest;

/// Answers kept: each app has one for its target and some for what it had before.
const ANSWERS_MAX: usize = 20_000;
/// Bytes of them on disk, compressed.
const BYTES_MAX: u64 = 512 << 20;
/// The folder is counted once in so many answers.
const PUTS_PER_TIDYING: u64 = 200;

/// A folder of answers.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    puts: std::sync::Arc<std::sync::atomic::AtomicU64>,
}

impl Cache {
    /// Names the folder; nothing is made yet.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, puts: std::sync::Arc::default() }
    }

    /// Looks for an answer.
    pub(super) async fn get(&self, key: &Digest) -> Option<Bytes> {
        let path = self.path(key);
        tokio::task::spawn_blocking(move || read(&path)).await.ok().flatten()
    }

    /// Keeps an answer. What cannot be kept is asked again some day.
    pub(super) async fn put(&self, key: &Digest, answer: Bytes) {
        let (path, cache) = (self.path(key), self.clone());
        let kept = tokio::task::spawn_blocking(move || {
            cache.write(&path, &answer)?;
            let puts = cache.puts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if puts.is_multiple_of(PUTS_PER_TIDYING) { cache.tidy(ANSWERS_MAX, BYTES_MAX) } else { Ok(()) }
        });
        if let Ok(Err(error)) = kept.await {
            tracing::warn!(%error, "what was rendered cannot be kept on disk");
        }
    }

    fn path(&self, key: &Digest) -> PathBuf {
        self.folder.join(format!("{key}.gz"))
    }

    fn write(&self, path: &Path, answer: &[u8]) -> std::io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        // Under another name first: a file that is there is whole.
        let unfinished = path.with_extension("unfinished");
        let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        let mut encoder = GzEncoder::new(file, Compression::fast());
        encoder.write_all(answer)?;
        encoder.finish()?;
        fs::rename(&unfinished, path)
    }

    /// Removes what was used longest ago, until a quarter of the room is free again.
    fn tidy(&self, answers_max: usize, bytes_max: u64) -> std::io::Result<()> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)?.flatten() {
            let metadata = entry.metadata()?;
            found.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.len(), entry.path()));
        }
        let bytes: u64 = found.iter().map(|(_, bytes, _)| bytes).sum();
        if found.len() <= answers_max && bytes <= bytes_max {
            return Ok(());
        }
        found.sort();
        let (mut count, mut bytes) = (found.len(), bytes);
        for (_, length, path) in found {
            if count <= answers_max / 4 * 3 && bytes <= bytes_max / 4 * 3 {
                break;
            }
            fs::remove_file(path)?;
            (count, bytes) = (count - 1, bytes - length);
        }
        Ok(())
    }
}

fn read(path: &Path) -> Option<Bytes> {
    let file = fs::File::open(path).ok()?;
    // When it was used last decides what goes first; an old time only costs a rendering.
    drop(file.set_modified(SystemTime::now()));
    let mut bytes = Vec::new();
    GzDecoder::new(file).take(ANSWER_BYTES_MAX as u64).read_to_end(&mut bytes).ok()?;
    Some(bytes.into())
}

#[cfg(test)]
mod cases {
    use super::*;

    fn key(number: u8) -> Digest {
        Digest([number; 32])
    }

    #[tokio::test]
    async fn what_was_kept_is_found_and_what_is_broken_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("rendered"));
        assert_eq!(cache.get(&key(1)).await, None);
        cache.put(&key(1), Bytes::from_static(b"text")).await;
        let other = Cache::new(folder.path().join("rendered"));
        assert_eq!(other.get(&key(1)).await.as_deref(), Some(&b"text"[..]));
        assert_eq!(other.get(&key(2)).await, None);
        let path = other.path(&key(1));
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 5]).unwrap();
        assert_eq!(other.get(&key(1)).await, None, "its end is missing");
    }

    #[tokio::test]
    async fn what_was_used_longest_ago_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().to_owned());
        for number in 0..8 {
            cache.put(&key(number), Bytes::from(vec![number; 100])).await;
            let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(u64::from(number));
            fs::File::open(cache.path(&key(number))).unwrap().set_modified(at).unwrap();
        }
        cache.get(&key(0)).await.unwrap();
        cache.tidy(4, u64::MAX).unwrap();
        let mut left = Vec::new();
        for number in 0..8 {
            left.extend(cache.get(&key(number)).await.map(|_| number));
        }
        assert_eq!(left, [0, 6, 7]);
    }
}
