//! Checks every collection of the scope: whether the target can hold it, and whether objects there are in conflict
//! with it.

use std::collections::BTreeMap;
use std::time::Instant;

use super::generated_keys;
use super::question::PreflightRequest;
use super::report::PreflightReport;
use super::servers::ConnectedServer;
use crate::catalog::schema;
use crate::domain::{Channel, CollectionId, CollectionName, Timestamp};
use crate::milvus::Error;
use crate::milvus::catalog::{CollectionDetails, LoadState};

const ABOUT: &str = "collections";
/// Longest name in bytes that a Milvus accepts, unless its `proxy.maxNameLength` says otherwise.
const MAX_NAME: usize = 255;
/// Most findings about collections in one report.
const MAX_FINDINGS: usize = 50;

/// The checks of all collections.
pub(super) struct CollectionChecks<'a> {
    pub(super) source: &'a ConnectedServer,
    pub(super) target: Option<&'a ConnectedServer>,
    pub(super) question: PreflightRequest<'a>,
    pub(super) deadline: Instant,
}

/// A collection that would be replicated, with what the check of the log needs.
#[derive(Debug)]
pub(super) struct CheckedCollection {
    pub(super) name: String,
    pub(super) id: CollectionId,
    pub(super) created: Timestamp,
    pub(super) channels: Vec<Channel>,
    /// By channel: where the collection begins in the log, in the log's own bytes.
    pub(super) begins: BTreeMap<String, Vec<u8>>,
    pub(super) loaded: bool,
}

impl CollectionChecks<'_> {
    /// Checks all collections.
    pub(super) fn run(&self, report: &mut PreflightReport) -> Vec<CheckedCollection> {
        let listed = match self.list() {
            Ok(listed) => listed,
            Err(error) => {
                report.problem(
                    ABOUT,
                    error.to_string(),
                    "check that the source is reachable and its user may list collections",
                );
                return Vec::new();
            }
        };
        if listed.is_empty() {
            report.warning(
                ABOUT,
                "nothing at the source is in the scope of the task now",
                "check the names; collections created later will be replicated",
            );
            return Vec::new();
        }
        let mut lines = CollectionFindings { report, shown: 0, hidden: 0, carried: 0, problems: 0 };
        let mut places: BTreeMap<CollectionName, String> = BTreeMap::new();
        let mut found = Vec::new();
        for (checked, name) in listed.iter().enumerate() {
            if Instant::now() > self.deadline {
                let text = format!("only {checked} of {} collections were checked in time", listed.len());
                lines.report.warning(ABOUT, text, "check fewer of them at once (--collection)");
                break;
            }
            match self.check_collection(name, &mut places, &mut lines) {
                Ok(one) => found.push(one),
                // Dropped after the listing.
                Err(error) if error.is_collection_missing() => {}
                Err(error) => lines.problem(
                    error.to_string(),
                    "check that both servers are reachable and their users may describe collections",
                ),
            }
        }
        lines.close();
        found
    }

    fn list(&self) -> Result<Vec<CollectionName>, Error> {
        let ConnectedServer { client, context, .. } = self.source;
        let scope = self.question.scope;
        let mut all = Vec::new();
        for db in client.list_databases(context)?.into_iter().filter(|db| scope.touches_database(db)) {
            let names = client.list_collections(&db, context)?.into_iter().map(|collection| collection.name);
            all.extend(names.filter(|name| scope.matches(&db, name)).map(|name| CollectionName::new(&db, name)));
        }
        Ok(all)
    }

    fn check_collection(
        &self,
        name: &CollectionName,
        places: &mut BTreeMap<CollectionName, String>,
        lines: &mut CollectionFindings<'_>,
    ) -> Result<CheckedCollection, Error> {
        let ConnectedServer { client, context, .. } = self.source;
        let details = client.describe_collection(name, context)?;
        let loaded = client.load_state(name, context)? != LoadState::NotLoaded;
        let ours = name.to_string();
        let place = self.question.mapping.map(name);
        if let Some(other) = places.insert(place.clone(), ours.clone()) {
            let text = format!("{ours} and {other} would both become {place} on the target");
            lines.problem(text, "give one of them another name with name_mapping");
        }
        let before = lines.problems;
        check_names(&ours, &place, &details, lines);
        if schema::uses_namespaces(&details) {
            let text = format!("{ours}: its rows belong to namespaces, which cannot be carried over");
            lines.problem(text, "leave the collection out of the task");
        }
        if let Some(target) = self.target {
            if let Some(what) = target.capabilities().unsupported(&details.schema) {
                let remedy = "upgrade the target, or leave the collection out of the task";
                let version = &target.told.version;
                lines.problem(format!("{ours}: its field {what}; the target is {version}"), remedy);
            }
            if schema::has_auto_id(&details.schema) && generated_keys::are_lost(&target.told) {
                lines.warning(generated_keys::consequence(&ours, &target.told), generated_keys::REMEDY);
            }
            check_place(target, &ours, &place, &details, lines)?;
        }
        lines.carried += usize::from(lines.problems == before);
        Ok(CheckedCollection {
            name: ours,
            id: CollectionId(details.id),
            created: Timestamp(details.created),
            channels: details.channels.iter().map(|channel| Channel::new(channel)).collect(),
            begins: details.begins,
            loaded,
        })
    }
}

fn check_names(ours: &str, place: &CollectionName, details: &CollectionDetails, lines: &mut CollectionFindings<'_>) {
    let named = [("database", &place.db), ("collection", &place.name)].into_iter();
    let aliases = details.aliases.iter().map(|alias| ("alias", alias));
    for (what, name) in named.chain(aliases).filter(|(_, name)| name.len() > MAX_NAME) {
        let text = format!(
            "{ours}: the {what} {name:?} has {} bytes; a Milvus takes {MAX_NAME} unless told otherwise",
            name.len()
        );
        lines.warning(text, "raise proxy.maxNameLength on the target, or map it to a shorter name with name_mapping");
    }
}

/// Checks whether the name is taken on the target.
fn check_place(
    target: &ConnectedServer,
    ours: &str,
    place: &CollectionName,
    details: &CollectionDetails,
    lines: &mut CollectionFindings<'_>,
) -> Result<(), Error> {
    let found = match target.client.describe_collection(place, &target.context) {
        Ok(found) => found,
        Err(error) if error.is_collection_missing() || error.is_database_missing() => return Ok(()),
        Err(error) => return Err(error),
    };
    if found.name != place.name {
        let text = format!("{place} on the target is an alias of {:?}, in the way of {ours}", found.name);
        lines.problem(text, "drop the alias, or map the collection to another name (name_mapping)");
    } else if let Some(difference) = schema::difference(details, &found) {
        let text = format!("{place} is on the target with another schema than {ours} ({difference})");
        lines.problem(text, "drop or rename one of them, or map the collection to another name (name_mapping)");
    } else {
        let text = format!("{place} is on the target already, with the schema of {ours}");
        let remedy = "nothing, if its rows belong together: it will be adopted, written with upserts and never \
                      dropped; else rename it or use name_mapping";
        lines.warning(text, remedy);
    }
    Ok(())
}

/// The findings about collections, limited in number.
struct CollectionFindings<'a> {
    report: &'a mut PreflightReport,
    shown: usize,
    hidden: usize,
    carried: usize,
    problems: usize,
}

impl CollectionFindings<'_> {
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
        let room = self.shown < MAX_FINDINGS;
        *if room { &mut self.shown } else { &mut self.hidden } += 1;
        room
    }

    fn close(self) {
        if self.hidden > 0 {
            let text = format!("{} more findings about collections are left out", self.hidden);
            // The omitted findings may be problems.
            self.report.problem(ABOUT, text, "resolve those above and check again");
        }
        if self.carried > 0 {
            self.report.good(ABOUT, format!("{} of the source can be carried over", self.carried));
        }
    }
}
