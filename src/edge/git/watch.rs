//! Watches a local repository for changes of its refs.
//!
//! Enters: the repository's Git folder. Leaves: a notice that it may have moved. It reads no content.

use std::path::Path;
use std::sync::Arc;

use notify::event::EventKind;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// Gives `hint` whenever a ref below `folder` may have changed, for as long as the result is kept.
///
/// Folders are watched, not files: Git replaces files by renaming, and a watch of a file ends there.
pub(super) fn watch(folder: &Path, hint: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let refs = folder.join("refs");
    let below = refs.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
        Ok(event) if is_change(&event, &below) => hint.notify_one(),
        Ok(_) => {}
        // Events were lost.
        Err(_) => hint.notify_one(),
    })?;
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    watcher.watch(&refs, RecursiveMode::Recursive)?;
    Ok(watcher)
}

fn is_change(event: &notify::Event, refs: &Path) -> bool {
    let is_write = match event.kind {
        EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) => true,
        // Our own polls read these files.
        EventKind::Access(_) => false,
        EventKind::Any | EventKind::Other => true,
    };
    let names_ref = |path: &Path| {
        let is_lock = path.extension().is_some_and(|extension| extension == "lock");
        let is_listed = path.file_name().is_some_and(|name| name == "HEAD" || name == "packed-refs");
        !is_lock && (is_listed || path.starts_with(refs))
    };
    event.need_rescan() || (is_write && event.paths.iter().any(|path| names_ref(path)))
}
