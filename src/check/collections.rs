//! Every collection of the scope: whether the target can hold it, and what is in its way there.

use std::collections::BTreeMap;
use std::time::Instant;

use super::report::Report;
use super::{Question, Server};
use crate::catalog::capability::unsupported;
use crate::catalog::schema;
use crate::domain::{Channel, CollectionId, Timestamp};
use crate::milvus::Error;
use crate::milvus::catalog::{CollectionDetails, LoadState};

const ABOUT: &str = "collections";
/// What a Milvus accepts unless its `proxy.maxNameLength` says otherwise, in bytes.
const MAX_NAME: usize = 255;
/// More lines of one report nobody reads.
const MAX_LINES: usize = 50;

/// What there is to look at.
pub(super) struct Look<'a> {
    pub(super) source: &'a Server,
    pub(super) target: Option<&'a Server>,
    pub(super) question: Question<'a>,
    pub(super) deadline: Instant,
}

/// A collection that would follow, as far as the log is concerned.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) id: CollectionId,
    pub(super) created: Timestamp,
    pub(super) channels: Vec<Channel>,
    /// By channel, where the source says that it begins in the log.
    pub(super) begins: BTreeMap<String, Vec<u8>>,
    pub(super) loaded: bool,
}

impl Look<'_> {
    /// Looks at all of them.
    pub(super) fn at_all(&self, report: &mut Report) -> Vec<Found> {
        let listed = match self.list() {
            Ok(listed) => listed,
            Err(error) => {
                report.problem(ABOUT, error.to_string(), "see that the source answers and lets us list");
                return Vec::new();
            }
        };
        if listed.is_empty() {
            report.warning(
                ABOUT,
                "nothing at the source is in the scope of the task now",
                "see that the names are right; collections to come will follow",
            );
            return Vec::new();
        }
        let mut lines = Lines { report, shown: 0, hidden: 0, carried: 0, problems: 0 };
        let mut places: BTreeMap<(String, String), String> = BTreeMap::new();
        let mut found = Vec::new();
        for (looked_at, (db, name)) in listed.iter().enumerate() {
            if Instant::now() > self.deadline {
                let text = format!("only {looked_at} of {} collections were looked at in time", listed.len());
                lines.report.warning(ABOUT, text, "check fewer of them at once (--collection)");
                break;
            }
            match self.at(db, name, &mut places, &mut lines) {
                Ok(one) => found.push(one),
                // Dropped since it was listed.
                Err(error) if error.is_collection_missing() => {}
                Err(error) => {
                    lines.problem(error.to_string(), "see that both servers answer and let us describe collections")
                }
            }
        }
        lines.close();
        found
    }

    fn list(&self) -> Result<Vec<(String, String)>, Error> {
        let Server { client, context, .. } = self.source;
        let scope = self.question.scope;
        let mut all = Vec::new();
        for db in client.list_databases(context)?.into_iter().filter(|db| scope.touches_database(db)) {
            let names = client.list_collections(&db, context)?.into_iter().map(|collection| collection.name);
            all.extend(names.filter(|name| scope.matches(&db, name)).map(|name| (db.clone(), name)));
        }
        Ok(all)
    }

    fn at(
        &self,
        db: &str,
        name: &str,
        places: &mut BTreeMap<(String, String), String>,
        lines: &mut Lines<'_>,
    ) -> Result<Found, Error> {
        let Server { client, context, .. } = self.source;
        let details = client.describe_collection(db, name, context)?;
        let loaded = client.load_state(db, name, context)? != LoadState::NotLoaded;
        let ours = format!("{db}.{name}");
        let place = self.question.mapping.map(db, name);
        if let Some(other) = places.insert(place.clone(), ours.clone()) {
            let text = format!("{ours} and {other} would both become {}.{} on the target", place.0, place.1);
            lines.problem(text, "give one of them another name with name_mapping");
        }
        let before = lines.problems;
        check_names(&ours, &place, &details, lines);
        if schema::uses_namespaces(&details) {
            let text = format!("{ours}: its rows belong to namespaces, which cannot be carried over");
            lines.problem(text, "leave the collection out of the task");
        }
        if let Some(target) = self.target {
            if let Some(version) = target.version
                && let Some(what) = unsupported(&details.schema, version)
            {
                let remedy = "upgrade the target, or leave the collection out of the task";
                lines.problem(format!("{ours}: its field {what}; the target is {version}"), remedy);
            }
            check_place(target, &ours, &place, &details, lines)?;
        }
        lines.carried += usize::from(lines.problems == before);
        Ok(Found {
            name: ours,
            id: CollectionId(details.id),
            created: Timestamp(details.created),
            channels: details.channels.iter().map(|channel| Channel::new(channel)).collect(),
            begins: details.begins,
            loaded,
        })
    }
}

fn check_names(ours: &str, (db, name): &(String, String), details: &CollectionDetails, lines: &mut Lines<'_>) {
    let named = [("database", db), ("collection", name)].into_iter();
    let aliases = details.aliases.iter().map(|alias| ("alias", alias));
    for (what, name) in named.chain(aliases).filter(|(_, name)| name.len() > MAX_NAME) {
        let text = format!(
            "{ours}: the {what} {name:?} has {} bytes; a Milvus takes {MAX_NAME} unless told otherwise",
            name.len()
        );
        lines.warning(text, "raise proxy.maxNameLength on the target, or map it to a shorter name with name_mapping");
    }
}

/// Is there something of that name on the target already?
fn check_place(
    target: &Server,
    ours: &str,
    (db, name): &(String, String),
    details: &CollectionDetails,
    lines: &mut Lines<'_>,
) -> Result<(), Error> {
    let found = match target.client.describe_collection(db, name, &target.context) {
        Ok(found) => found,
        Err(error) if error.is_collection_missing() || error.is_database_missing() => return Ok(()),
        Err(error) => return Err(error),
    };
    let by_key = schema::has_partition_key(&details.schema);
    if found.name != *name {
        let text = format!("{db}.{name} on the target is an alias of {:?}, in the way of {ours}", found.name);
        lines.problem(text, "drop the alias, or map the collection to another name (name_mapping)");
    } else if let Some(difference) = schema::difference(details, &found, by_key) {
        let text = format!("{db}.{name} is on the target with another schema than {ours} ({difference})");
        lines.problem(text, "drop or rename one of them, or map the collection to another name (name_mapping)");
    } else {
        let text = format!("{db}.{name} is on the target already, with the schema of {ours}");
        let remedy = "nothing, if its rows belong together: it will be adopted, written with upserts and never dropped; \
                      else rename it or use name_mapping";
        lines.warning(text, remedy);
    }
    Ok(())
}

/// Lines about collections, not too many.
struct Lines<'a> {
    report: &'a mut Report,
    shown: usize,
    hidden: usize,
    carried: usize,
    problems: usize,
}

impl Lines<'_> {
    fn problem(&mut self, text: String, remedy: &str) {
        self.problems += 1;
        if self.has_room() {
            self.report.problem(ABOUT, text, remedy);
        }
    }

    fn warning(&mut self, text: String, remedy: &str) {
        if self.has_room() {
            self.report.warning(ABOUT, text, remedy);
        }
    }

    fn has_room(&mut self) -> bool {
        let room = self.shown < MAX_LINES;
        *if room { &mut self.shown } else { &mut self.hidden } += 1;
        room
    }

    fn close(self) {
        if self.hidden > 0 {
            let text = format!("{} more findings about collections are left out", self.hidden);
            // What is left out may be a problem.
            self.report.problem(ABOUT, text, "mend those above and check again");
        }
        if self.carried > 0 {
            self.report.good(ABOUT, format!("{} of the source can be carried over", self.carried));
        }
    }
}
