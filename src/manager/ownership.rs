/*!
The collections of the target that a task writes to: its patterns, under the names that `name_mapping` assigns.
*/

use crate::task::mapping::NameMapping;
use crate::task::scope::{NamePattern, ScopePattern};
use crate::task::selection::database_name;
use crate::task::spec::TaskSpec;

/// One pattern of a task as renamed by one rule of its mapping.
pub(super) struct Claim {
    rule: Rule,
    /// The pattern in the target's names.
    image: ScopePattern,
    /// Excluded parts of the image: another rule assigns other names to those collections.
    renamed: Vec<ScopePattern>,
    /// Excluded parts of the image: other tasks replicate them.
    excluded: Vec<ScopePattern>,
}

/// Collections of the source and their names on the target. `None` keeps the source's name.
#[derive(Clone)]
struct Rule {
    from: ScopePattern,
    database: Option<NamePattern>,
    collection: Option<NamePattern>,
}

/// Everything that a task with these exclusions writes to.
pub(super) fn claims(spec: &TaskSpec, excluded: &[ScopePattern]) -> Vec<Claim> {
    let rules = rules(&spec.mapping);
    let pairs = spec.scope.included().iter().flat_map(|pattern| (0..rules.len()).map(move |index| (pattern, index)));
    pairs.filter_map(|(pattern, index)| claim(pattern, &rules, index, excluded)).collect()
}

/// The rules of a mapping, and one for the names that it does not change. Where two rules match, the earlier one
/// counts.
fn rules(mapping: &NameMapping) -> Vec<Rule> {
    let (whole, some): (Vec<_>, Vec<_>) =
        mapping.databases().iter().partition(|database| database.collections.is_empty());
    let named = |database: &str| NamePattern::Named(database_name(database).to_owned());
    let some = some.into_iter().flat_map(|database| {
        database.collections.iter().map(move |(from, to)| Rule {
            from: ScopePattern { database: named(&database.source_db), collection: NamePattern::Named(from.clone()) },
            database: Some(named(&database.target_db)),
            collection: Some(NamePattern::Named(to.clone())),
        })
    });
    let whole = whole.into_iter().map(|database| Rule {
        from: ScopePattern { database: named(&database.source_db), collection: NamePattern::Any },
        database: Some(named(&database.target_db)),
        collection: None,
    });
    let rest = Rule { from: ScopePattern::everything(), database: None, collection: None };
    some.chain(whole).chain([rest]).collect()
}

fn claim(pattern: &ScopePattern, rules: &[Rule], index: usize, excluded: &[ScopePattern]) -> Option<Claim> {
    let rule = &rules[index];
    let source = pattern.common(&rule.from)?;
    let earlier: Vec<_> = rules[..index].iter().filter_map(|earlier| earlier.from.common(&source)).collect();
    let excluded: Vec<_> = excluded.iter().filter_map(|pattern| pattern.common(&source)).collect();
    if earlier.iter().chain(&excluded).any(|part| *part == source) {
        return None;
    }
    let images = |parts: Vec<ScopePattern>| parts.iter().map(|part| rule.image(part)).collect();
    Some(Claim { image: rule.image(&source), renamed: images(earlier), excluded: images(excluded), rule: rule.clone() })
}

impl Rule {
    fn image(&self, source: &ScopePattern) -> ScopePattern {
        ScopePattern {
            database: self.database.as_ref().unwrap_or(&source.database).clone(),
            collection: self.collection.as_ref().unwrap_or(&source.collection).clone(),
        }
    }

    /// The pattern of the source that becomes this part of the image.
    fn source(&self, image: &ScopePattern) -> ScopePattern {
        let ScopePattern { database, collection } = &self.from;
        ScopePattern {
            database: if self.database.is_some() { database } else { &image.database }.clone(),
            collection: if self.collection.is_some() { collection } else { &image.collection }.clone(),
        }
    }
}

impl Claim {
    /// The collections that both may write to.
    pub(super) fn common(&self, other: &Claim) -> Option<ScopePattern> {
        let left_out = || [&self.renamed, &self.excluded, &other.renamed, &other.excluded].into_iter().flatten();
        self.image.common(&other.image).filter(|common| !left_out().any(|part| part.covers(common)))
    }

    /// The collections of the source that must be excluded to leave `other` its own. `None` if nothing of this claim
    /// would remain, or if collections with other names on the target would be excluded too.
    pub(super) fn around(&self, other: &Claim) -> Option<ScopePattern> {
        let around = self.image != other.image && self.image.covers(&other.image);
        let alone = !self.renamed.iter().any(|part| part.meets(&other.image));
        (around && alone).then(|| self.rule.source(&other.image))
    }
}
