//! What becomes of collections with autoID when the target is promoted, said before there is a task.

use std::time::Instant;

use crate::catalog::schema::has_auto_id;
use crate::domain::CollectionName;
use crate::milvus::capabilities::GeneratedKeys;
use crate::milvus::{CallContext, Capabilities, Client, Error, ServerDescription};
use crate::task::scope::Scope;

/// Collections that the text names.
const NAMED: usize = 5;
/// What can be done about it.
pub(super) const REMEDY: &str =
    "replicate to a target of Milvus 2.6.3 or later, or let the application give the keys after a promotion";

/// Why a promotion changes what `collection` takes; `None` if it does not.
pub(super) fn consequence(collection: &str, target: &ServerDescription) -> String {
    format!(
        "{collection} has autoID, and the target, {}, takes the source's keys only into a collection without: made \
         there without autoID, it refuses inserts without keys after a promotion",
        target.version
    )
}

/// Whether this target takes the source's keys only into collections without autoID.
pub(super) fn are_lost(target: &ServerDescription) -> bool {
    Capabilities::of(&target.version).generated_keys == GeneratedKeys::OnlyGenerated
}

/// What `create` says of the collections in the scope that have autoID, as far as they can be described by the
/// deadline; `None` if nothing changes for any.
///
/// # Errors
/// The source does not answer.
pub fn promotion_warning(
    source: &Client,
    target: &ServerDescription,
    scope: &Scope,
    context: &CallContext,
    deadline: Instant,
) -> Result<Option<String>, Error> {
    if !are_lost(target) {
        return Ok(None);
    }
    let mut found = Vec::new();
    let is_in_time = || Instant::now() <= deadline;
    let databases = source.list_databases(context)?;
    for db in databases.into_iter().filter(|db| scope.touches_database(db)).take_while(|_| is_in_time()) {
        for collection in source.list_collections(&db, context)?.into_iter().take_while(|_| is_in_time()) {
            let name = CollectionName::new(&db, &collection.name);
            if !scope.matches(&db, &name.name) {
                continue;
            }
            match source.describe_collection(&name, context) {
                Ok(details) if has_auto_id(&details.schema) => found.push(name.to_string()),
                Ok(_) => {}
                // Dropped after the listing.
                Err(error) if error.is_collection_missing() => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(summary(&found).map(|which| format!("{}: {REMEDY}", consequence(&which, target))))
}

fn summary(found: &[String]) -> Option<String> {
    match found {
        [] => None,
        [one] => Some(one.clone()),
        several => {
            let named = several.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = if several.len() > NAMED { ", …" } else { "" };
            Some(format!("each of {} collections ({named}{more})", several.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::milvus::fake::{FakeCollection, FakeMilvus, Repeats};
    use crate::milvus::pb::schema::{CollectionSchema, FieldSchema};
    use crate::milvus::{Cancel, DataType};
    use crate::task::selection::{SelectedCollection, Selection};

    fn told(version: &'static str) -> (CallContext, ServerDescription) {
        let server = FakeMilvus::new(Repeats::Succeed);
        server.tells_version(version);
        let context = CallContext { timeout: Duration::from_secs(1), cancel: Cancel::default() };
        let told = server.client("target:1").describe_server(&context).unwrap();
        (context, told)
    }

    fn collection(auto_id: bool) -> FakeCollection {
        let key = FieldSchema {
            name: "id".into(),
            data_type: DataType::Int64.code(),
            is_primary_key: true,
            autoID: auto_id,
            ..FieldSchema::default()
        };
        FakeCollection {
            id: 1,
            schema: CollectionSchema { fields: vec![key], ..CollectionSchema::default() },
            ..FakeCollection::default()
        }
    }

    #[test]
    fn only_collections_with_auto_id_are_named_and_only_for_older_targets() {
        let source = FakeMilvus::new(Repeats::Succeed);
        source.put("default", "plain", collection(false));
        source.put("default", "made", collection(true));
        let client = source.client("source:1");
        let warning = |version, names: &[&str], deadline| {
            let (context, target) = told(version);
            let infos = names.iter().map(|name| SelectedCollection { name: (*name).into(), ..Default::default() });
            let scope = Scope::of(&Selection { collection_infos: Some(infos.collect()), ..Selection::default() });
            promotion_warning(&client, &target, &scope, &context, deadline).unwrap()
        };
        let later = Instant::now() + Duration::from_secs(60);
        let said = warning("v2.3.5", &["*"], later).unwrap();
        assert!(said.starts_with("default.made has autoID, and the target, v2.3.5, takes"), "{said}");
        assert_eq!(warning("v2.3.5", &["plain"], later), None);
        assert_eq!(warning("2.6.20", &["*"], later), None);
        assert_eq!(warning("v2.3.5", &["*"], Instant::now()), None, "not described in time");
    }

    #[test]
    fn nothing_is_listed_after_the_deadline() {
        let source = FakeMilvus::new(Repeats::Succeed);
        source.put("default", "made", collection(true));
        let (context, target) = told("v2.3.5");
        let infos = Some(vec![SelectedCollection { name: "*".into(), ..Default::default() }]);
        let scope = Scope::of(&Selection { collection_infos: infos, ..Selection::default() });
        let said = promotion_warning(&source.client("source:1"), &target, &scope, &context, Instant::now());
        assert_eq!(said.unwrap(), None);
        assert!(!source.unmarked().contains("ShowCollections"), "{:?}", source.unmarked());
    }

    #[test]
    fn many_are_counted() {
        let names: Vec<String> = (0..7).map(|number| format!("d.c{number}")).collect();
        let told = summary(&names).unwrap();
        assert_eq!(told, "each of 7 collections (d.c0, d.c1, d.c2, d.c3, d.c4, …)");
    }
}
