//! What a rollout would do that waits for a person to ask for it, in one sentence.

use std::collections::BTreeSet;

use crate::model::{Application, ObjectKey, Release};
use crate::stage::{is_hook, moving, trailing};

/// So many objects are named for each thing that would be done to them.
const NAMED_MAX: usize = 3;

/// What would come of rolling out `next` where `stable` stands.
pub(super) fn tell(application: &Application, stable: Option<&Release>, next: &Release) -> String {
    let version = &next.reference.version;
    let Some(stable) = stable else {
        let added = next.objects.iter().filter(|(_, object)| !is_hook(object)).map(|(key, _)| key.clone()).collect();
        return format!("version {version} would be applied for the first time: {}", names(&added));
    };
    let waves = application.plan.waves.len();
    let in_waves = moving(stable, next);
    let after = trailing(stable, next);
    let is_moved = |key: &ObjectKey| in_waves.contains(key) || after.contains(key);
    let of = |release: &Release, is_it: &dyn Fn(&ObjectKey) -> bool| -> BTreeSet<ObjectKey> {
        let objects = release.objects.iter().filter(|(_, object)| !is_hook(object));
        objects.map(|(key, _)| key).filter(|key| is_it(key)).cloned().collect()
    };
    let changed = of(next, &|key| {
        !is_moved(key) && stable.objects.get(key).is_some_and(|known| Some(known) != next.objects.get(key))
    });
    let added = of(next, &|key| !stable.objects.contains_key(key));
    let left = of(stable, &|key| !next.objects.contains_key(key));
    let fate = if application.sync.prunes { "delete" } else { "leave behind" };
    let mut parts = Vec::new();
    for (what, keys) in [
        (format!("roll out in {waves} wave{}", if waves == 1 { "" } else { "s" }), &in_waves),
        ("roll out after the last wave".to_owned(), &after),
        ("change".to_owned(), &changed),
        ("add".to_owned(), &added),
        (fate.to_owned(), &left),
    ] {
        if !keys.is_empty() {
            parts.push(format!("{what} {}", names(keys)));
        }
    }
    if parts.is_empty() {
        return format!("version {version} would change no object");
    }
    format!("version {version} would {}", parts.join("; "))
}

fn names(keys: &BTreeSet<ObjectKey>) -> String {
    let named: Vec<String> = keys.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    let more = keys.len() - named.len();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", named.join(", "))
}
