//! Which window holds a Deployment at exactly a wave's size, and which takes it back.
//!
//! Pure arithmetic over observed counts, on top of the controller's law (`observe::law`).

use crate::model::Capacity;
use crate::mutants::{Mutant, is_planted};
use crate::observe::{Counts, Window, law};

/// The window that lets the new side grow to `k`, or `None` when fewer than that cannot be held (the floor is n - R).
#[must_use]
pub fn grow(counts: &Counts, k: u32) -> Option<Window> {
    let Counts { n, new_available, .. } = *counts;
    let others = if is_planted(Mutant::WishedCounts) { n } else { counts.others };
    let unavailable = n.saturating_sub(others).saturating_sub(new_available);
    let (others_end, _) = law(&Counts { others, ..*counts }, Window { surge: 0, unavailable });
    let surge = (k + others_end).checked_sub(n)?;
    Some(never_both_zero(surge, unavailable))
}

/// The window that the first apply carries, together with the new template.
#[must_use]
pub fn first(capacity: Capacity, k: u32, declared: Window) -> Window {
    match capacity {
        Capacity::Surge => never_both_zero(k, 0),
        Capacity::InPlace if declared.surge == 0 => never_both_zero(0, declared.unavailable.min(k)),
        Capacity::InPlace => never_both_zero(declared.surge.min(k), 0),
    }
}

/// The next window at a fixpoint, or `None` when nothing is to be changed: the size is reached, or readiness must be
/// waited for.
#[must_use]
pub fn next(capacity: Capacity, counts: &Counts, k: u32, declared: Window) -> Option<Window> {
    match capacity {
        Capacity::Surge => grow(counts, k),
        Capacity::InPlace => next_in_place(counts, k, declared),
    }
}

/// Alternates between growing the new side into the room there is and shrinking the old side by what is ready beyond
/// the declared floor.
fn next_in_place(counts: &Counts, k: u32, declared: Window) -> Option<Window> {
    let Counts { n, others, new, new_available, new_ready, others_ready, .. } = *counts;
    let room = k.min((n + declared.surge).saturating_sub(others));
    if room > new {
        return grow(counts, room);
    }
    let others_wanted = n.saturating_sub(k);
    if others <= others_wanted {
        return None;
    }
    let step = (others_ready + new_ready).saturating_sub(n.saturating_sub(declared.unavailable));
    let others_next = others_wanted.max(others.saturating_sub(step));
    if others_next == others {
        return None;
    }
    let unavailable = n.saturating_sub(others_next).saturating_sub(new_available);
    Some(never_both_zero((new + others_next).saturating_sub(n), unavailable))
}

/// The window of a revert: Stable scales up first, then the new side goes; it cannot deadlock when surge cannot start.
#[must_use]
pub fn revert(counts: &Counts, declared: Window) -> Window {
    let missing = counts.n.saturating_sub(counts.others_available + counts.new_ready);
    Window { surge: counts.new.max(1), unavailable: declared.unavailable.max(missing) }
}

fn never_both_zero(surge: u32, unavailable: u32) -> Window {
    if surge == 0 && unavailable == 0 { Window { surge: 1, unavailable: 0 } } else { Window { surge, unavailable } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(n: u32, others: u32, new: u32) -> Counts {
        Counts { n, others, new, new_ready: new, others_ready: others, others_available: others, new_available: 0 }
    }

    /// Plays the controller to its fixpoint and every pod to Ready, step after step, and returns the sizes passed.
    fn play(capacity: Capacity, n: u32, waves: &[u32], declared: Window) -> Vec<(u32, u32)> {
        let mut seen = Vec::new();
        let mut now = counts(n, n, 0);
        for (index, &k) in waves.iter().enumerate() {
            let mut window =
                if index == 0 { Some(first(capacity, k, declared)) } else { next(capacity, &now, k, declared) };
            while let Some(wanted) = window {
                let (others, new) = law(&now, wanted);
                let after = counts(n, others, new);
                if after == now {
                    break;
                }
                now = after;
                seen.push((others, new));
                assert!(seen.len() < 100, "no fixpoint: {seen:?}");
                window = next(capacity, &now, k, declared);
            }
            seen.dedup();
        }
        seen
    }

    #[test]
    fn surge_keeps_every_old_pod() {
        let declared = Window { surge: 3, unavailable: 2 };
        assert_eq!(play(Capacity::Surge, 10, &[1, 3], declared), [(10, 1), (10, 3)]);
        assert_eq!(play(Capacity::Surge, 1, &[1], declared), [(1, 1)]);
    }

    #[test]
    fn in_place_never_exceeds_the_declared_surge() {
        let seen = play(Capacity::InPlace, 10, &[1, 3], Window { surge: 1, unavailable: 0 });
        assert_eq!(seen.first(), Some(&(10, 1)));
        assert_eq!(seen.last(), Some(&(7, 3)));
        assert!(seen.iter().all(|(others, new)| others + new <= 11), "{seen:?}");
    }

    #[test]
    fn in_place_without_surge_makes_room_first() {
        let seen = play(Capacity::InPlace, 10, &[3], Window { surge: 0, unavailable: 2 });
        assert_eq!(seen.first(), Some(&(8, 2)));
        assert_eq!(seen.last(), Some(&(7, 3)));
    }

    #[test]
    fn scaling_down_in_a_hold_keeps_what_stands() {
        // Seen on the real controllers: 10+3, n 10 -> 5 gives 5+3; growing to 2 sends a window that changes nothing.
        let now = counts(5, 5, 3);
        let window = grow(&now, 2).expect("2 can be asked for");
        assert_eq!(law(&now, window), (5, 3));
        // n 5 -> 10 gave 8+5 with ms 5; the rule asks for 3 and keeps five.
        let now = counts(10, 8, 5);
        let window = grow(&now, 5).expect("5 can be asked for");
        assert_eq!((window.surge, law(&now, window)), (3, (8, 5)));
    }

    #[test]
    fn a_size_below_the_floor_is_not_sent() {
        assert_eq!(grow(&counts(10, 5, 5), 2), None);
    }

    #[test]
    fn a_revert_that_cannot_surge_may_still_give_up_what_is_missing() {
        let now = Counts { n: 10, others: 7, new: 3, others_available: 7, ..Counts::default() };
        assert_eq!(revert(&now, Window { surge: 1, unavailable: 0 }), Window { surge: 3, unavailable: 3 });
    }
}
