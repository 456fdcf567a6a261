/*!
Held drops between the catalog, which holds them, and the user, who decides.

The catalog's thread shows what it holds and takes decisions; whoever serves a request reads and decides. A decision
names what was shown when it was made, so that what is held later is not dropped by it.
*/

use parking_lot::Mutex;

/// What becomes of held drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropDecision {
    /// They are carried out.
    Confirm,
    /// The objects stay on the target and are the task's no longer.
    Discard,
}

/// What a task does when its source drops a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDrop {
    /// Drops it on the target, too.
    #[default]
    Follow,
    /// Leaves it on the target, where it is the task's no longer.
    Keep,
    /// Gives it another name on the target, and drops it there after this time.
    Rename {
        /// How long it is kept, in hours.
        hours: u32,
    },
}

impl OnDrop {
    /// How long a renamed collection is kept where a request does not say.
    pub const DEFAULT_HOURS: u32 = 7 * 24;
    /// The longest time for which one is kept.
    pub const MAX_HOURS: u32 = 10 * 366 * 24;

    /// By the name that a request gives; empty for the default.
    pub fn named(name: &str) -> Option<OnDrop> {
        match name {
            "" | "follow" => Some(OnDrop::Follow),
            "keep" => Some(OnDrop::Keep),
            "rename" => Some(OnDrop::Rename { hours: Self::DEFAULT_HOURS }),
            _ => None,
        }
    }

    /// The same with a time for which renamed collections are kept; `None` where nothing is renamed, or for so long.
    pub fn keeping(self, hours: u32) -> Option<OnDrop> {
        match self {
            OnDrop::Rename { .. } if (1..=Self::MAX_HOURS).contains(&hours) => Some(OnDrop::Rename { hours }),
            OnDrop::Follow | OnDrop::Keep | OnDrop::Rename { .. } => None,
        }
    }

    /// How long renamed collections are kept, in hours, unless it is the default.
    pub fn hours(self) -> Option<u32> {
        match self {
            OnDrop::Rename { hours } => Some(hours).filter(|hours| *hours != Self::DEFAULT_HOURS),
            OnDrop::Follow | OnDrop::Keep => None,
        }
    }

    /// As a request names it.
    pub fn name(self) -> &'static str {
        match self {
            OnDrop::Follow => "follow",
            OnDrop::Keep => "keep",
            OnDrop::Rename { .. } => "rename",
        }
    }
}

/// The kind of an object whose drop is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HeldKind {
    /// A collection.
    Collection,
    /// A database.
    Database,
}

/// One held drop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldDrop {
    /// What is held.
    pub kind: HeldKind,
    /// Its id at the source; 0 of a database.
    pub id: i64,
    /// Its last name at the source; empty where that is not known.
    pub source: String,
    /// Its name on the target.
    pub target: String,
    /// Since when, in Unix milliseconds.
    pub since_ms: u64,
}

/// A collection that the source has dropped and that stands on the target under another name for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Its last name at the source; empty where that is not known.
    pub source: String,
    /// Its name on the target now.
    pub target: String,
    /// When it is dropped there, in Unix milliseconds.
    pub until_ms: u64,
}

/// What became, or may become, of collections that the source has dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropsView {
    /// What is held, or was decided about.
    pub held: Vec<HeldDrop>,
    /// What has another name on the target for a time.
    pub set_aside: Vec<SetAside>,
}

/// A decision, and what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecidedDrops {
    /// What is decided.
    pub decision: DropDecision,
    /// What was held then.
    pub drops: Vec<HeldDrop>,
}

/// Where both sides meet.
#[derive(Debug, Default)]
pub struct DropDesk {
    state: Mutex<DeskState>,
}

#[derive(Debug, Default)]
struct DeskState {
    held: Vec<HeldDrop>,
    set_aside: Vec<SetAside>,
    decided: Vec<DecidedDrops>,
}

/// Names that a reason lists; more are counted.
const NAMED: usize = 5;

impl DropDesk {
    /// What is held now.
    pub fn held(&self) -> Vec<HeldDrop> {
        self.state.lock().held.clone()
    }

    /// What is set aside now.
    pub fn set_aside(&self) -> Vec<SetAside> {
        self.state.lock().set_aside.clone()
    }

    /// Shows what is set aside.
    pub fn show_set_aside(&self, set_aside: Vec<SetAside>) {
        self.state.lock().set_aside = set_aside;
    }

    /// Decides about all that is held now, and answers what that is.
    pub fn decide(&self, decision: DropDecision) -> Vec<HeldDrop> {
        let mut state = self.state.lock();
        let drops = state.held.clone();
        if !drops.is_empty() {
            state.decided.push(DecidedDrops { decision, drops: drops.clone() });
        }
        drops
    }

    /// Shows what is held.
    pub fn show(&self, held: Vec<HeldDrop>) {
        self.state.lock().held = held;
    }

    /// Takes what was decided.
    pub fn take_decided(&self) -> Vec<DecidedDrops> {
        std::mem::take(&mut self.state.lock().decided)
    }

    /// Why drops are held, for the task's reason.
    pub fn reason(&self) -> Option<String> {
        let state = self.state.lock();
        let count = state.held.len();
        if count == 0 {
            return None;
        }
        let named: Vec<&str> = state.held.iter().take(NAMED).map(|drop| drop.target.as_str()).collect();
        let more = if count > NAMED { format!(" and {} more", count - NAMED) } else { String::new() };
        Some(format!(
            "{count} drops are held, because the source lost much at once or cannot be recognised: {}{more} stay on \
             the target until you confirm or discard the drops (request `drops`, or milvus-cdc task drops)",
            named.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(target: &str) -> HeldDrop {
        HeldDrop { kind: HeldKind::Collection, id: 1, source: "d.a".into(), target: target.into(), since_ms: 5 }
    }

    #[test]
    fn a_decision_is_about_what_was_shown() {
        let desk = DropDesk::default();
        assert!(desk.decide(DropDecision::Confirm).is_empty() && desk.take_decided().is_empty());
        assert_eq!(desk.reason(), None);
        desk.show(vec![held("d.a")]);
        assert_eq!(desk.decide(DropDecision::Discard), [held("d.a")]);
        desk.show(vec![held("d.a"), held("d.b")]);
        let expected = DecidedDrops { decision: DropDecision::Discard, drops: vec![held("d.a")] };
        assert_eq!(desk.take_decided(), [expected]);
        assert!(desk.take_decided().is_empty());
    }

    #[test]
    fn a_reason_names_some_and_counts_the_others() {
        let desk = DropDesk::default();
        desk.show((0..7).map(|number| held(&format!("d.c{number}"))).collect());
        let reason = desk.reason().unwrap();
        assert!(reason.starts_with("7 drops are held") && reason.contains("d.c4 and 2 more"), "{reason}");
    }

    #[test]
    fn names_of_what_a_drop_does() {
        let rename = OnDrop::named("rename").unwrap();
        for on_drop in [OnDrop::Follow, OnDrop::Keep, rename] {
            assert_eq!(OnDrop::named(on_drop.name()), Some(on_drop));
        }
        assert_eq!((OnDrop::named(""), OnDrop::named("archive")), (Some(OnDrop::Follow), None));
        assert_eq!((rename.hours(), OnDrop::Keep.keeping(5)), (None, None));
        assert_eq!(rename.keeping(5).and_then(OnDrop::hours), Some(5));
        assert_eq!((rename.keeping(0), rename.keeping(OnDrop::MAX_HOURS + 1)), (None, None));
    }
}
