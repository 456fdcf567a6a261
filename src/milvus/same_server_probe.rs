/*!
Proof that two connections lead to one server, or to two: something of a random name is made at one and looked for at
the other.

What servers show proves less. Two empty ones look alike, a copy of a volume has the collections of the original with
their ids, and two logins may see different parts of one server.
*/

use super::catalog::CollectionDetails;
use super::client::{CallContext, Client};
use super::data_type::DataType;
use super::error::Error;
use super::pb::common::KeyValuePair;
use super::pb::schema::{CollectionSchema, FieldSchema};
use std::time::Duration;

use crate::domain::{CollectionName, Mark, Timestamp};

/// Whether two connections lead to one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sameness {
    /// They do.
    Same,
    /// They lead to two.
    Different,
    /// Nothing could be made, or not be looked for: what they show must do.
    Unproved(String),
}

/// The beginning of what is made for a proof: never replicated.
pub(super) const PROBE: &str = "cdc_probe_";
/// What was made for one proof: this, when, and by whom.
const PROOF: &str = "cdc_probe_p_";
/// A proof takes a minute at most; clocks of hosts may differ.
const ABANDONED: Duration = Duration::from_secs(600);
const DEFAULT_DATABASE: &str = "default";

/// Whether a database or collection was made for a proof.
pub(crate) fn is_probe(name: &str) -> bool {
    name.starts_with(PROBE)
}

/// Whether it was made for a proof that is over: whoever made it died, or its removal was lost.
pub(crate) fn is_abandoned_probe(name: &str) -> bool {
    let made = name.strip_prefix(PROOF).and_then(|rest| rest.split_once('_')).map(|(made, _)| made);
    let made = made.and_then(|made| u64::from_str_radix(made, 16).ok());
    made.is_some_and(|made_ms| Timestamp::at_ms(made_ms).age() > ABANDONED)
}

impl Client {
    /// Removes a database that was made for a proof or an announcement, if it is there.
    pub(crate) fn remove_probe_database(&self, name: &str, context: &CallContext) -> Result<(), Error> {
        match self.marked(Mark::OF_NO_COLLECTION).drop_database(name, context) {
            Err(error) if error.is_database_missing() => Ok(()),
            outcome => outcome,
        }
    }

    /// Removes a collection that was made for a proof, if it is there.
    pub(crate) fn remove_probe_collection(&self, name: &str, context: &CallContext) -> Result<(), Error> {
        let name = CollectionName::new(DEFAULT_DATABASE, name);
        match self.marked(Mark::OF_NO_COLLECTION).drop_collection(&name, context) {
            Err(error) if error.is_collection_missing() => Ok(()),
            outcome => outcome,
        }
    }
}

/// Makes something at `target`, looks for it at `source`, and removes it again. Nothing is made when the servers
/// themselves tell that they are two.
///
/// # Errors
/// A server that does not answer.
pub(crate) fn prove(source: &Client, target: &Client, context: &CallContext) -> Result<Sameness, Error> {
    let created = |client: &Client| Ok::<_, Error>(client.describe_databases(context)?.server_created);
    if let (Some(at_source), Some(at_target)) = (created(source)?, created(target)?)
        && at_source != at_target
    {
        return Ok(Sameness::Different);
    }
    let name = format!("{PROOF}{:x}_{}", Timestamp::now().physical_ms(), uuid::Uuid::new_v4().simple());
    // A database costs a server less than a collection; not every one has them, or lets this login make one.
    let probe = match make(target, ProbeKind::Database, &name, context) {
        Err(error) if error.is_silence() => return Err(error),
        Err(_) => make(target, ProbeKind::Collection, &name, context),
        made => made,
    };
    let probe = match probe {
        Ok(probe) => probe,
        Err(error) if error.is_silence() => return Err(error),
        Err(error) => return Ok(Sameness::Unproved(error.to_string())),
    };
    let found = probe.is_at(source, context);
    // Seen from where it was made, it must be there: else a server that answers late would pass for another one.
    let made = probe.is_at(target, context);
    probe.remove(context);
    Ok(match (found?, made?) {
        (true, _) => Sameness::Same,
        (false, true) => Sameness::Different,
        (false, false) => Sameness::Unproved(format!("{name} was made on {} and is not listed", target.address())),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProbeKind {
    Database,
    Collection,
}

struct Probe<'a> {
    target: &'a Client,
    kind: ProbeKind,
    name: &'a str,
}

fn make<'a>(target: &'a Client, kind: ProbeKind, name: &'a str, context: &CallContext) -> Result<Probe<'a>, Error> {
    let probe = Probe { target, kind, name };
    let made = match kind {
        ProbeKind::Database => target.marked(Mark::OF_NO_COLLECTION).create_database(name, context),
        ProbeKind::Collection => {
            target.marked(Mark::OF_NO_COLLECTION).create_collection(DEFAULT_DATABASE, &smallest(name), 0, context)
        }
    };
    match made {
        Ok(()) => Ok(probe),
        Err(error) => {
            // It may have been made all the same.
            if error.is_silence() {
                probe.remove(context);
            }
            Err(error)
        }
    }
}

impl Probe<'_> {
    fn is_at(&self, server: &Client, context: &CallContext) -> Result<bool, Error> {
        match self.kind {
            ProbeKind::Database => Ok(server.list_databases(context)?.iter().any(|db| db == self.name)),
            ProbeKind::Collection => {
                let found = server.list_collections(DEFAULT_DATABASE, context)?;
                Ok(found.iter().any(|collection| collection.name == self.name))
            }
        }
    }

    fn remove(&self, context: &CallContext) {
        let removed = match self.kind {
            ProbeKind::Database => self.target.remove_probe_database(self.name, context),
            ProbeKind::Collection => self.target.remove_probe_collection(self.name, context),
        };
        if let Err(error) = removed {
            log::warn!("{} is left on {}, and of no use: {error}", self.name, self.target.address());
        }
    }
}

/// A collection that every Milvus accepts.
fn smallest(name: &str) -> CollectionDetails {
    let key = FieldSchema {
        fieldID: 100,
        name: "id".into(),
        is_primary_key: true,
        data_type: DataType::Int64.code(),
        ..FieldSchema::default()
    };
    let dim = KeyValuePair { key: "dim".into(), value: "2".into(), ..KeyValuePair::default() };
    let vector = FieldSchema {
        fieldID: 101,
        name: "vec".into(),
        data_type: DataType::FloatVector.code(),
        type_params: vec![dim],
        ..FieldSchema::default()
    };
    let schema = CollectionSchema { name: name.into(), fields: vec![key, vector], ..CollectionSchema::default() };
    CollectionDetails { schema, ..CollectionDetails::nothing(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_for_a_proof_is_known_by_its_name() {
        assert!(is_probe(&smallest(&format!("{PROBE}1")).name));
        assert!(!is_probe("books"));
    }

    #[test]
    fn what_is_left_of_a_proof_is_known_by_its_age() {
        let name =
            |age_ms| format!("{PROOF}{:x}_{}", Timestamp::now().physical_ms() - age_ms, uuid::Uuid::nil().simple());
        assert!(is_probe(&name(0)) && !is_abandoned_probe(&name(0)) && !is_abandoned_probe(&name(540_000)));
        assert!(is_abandoned_probe(&name(660_000)));
        for other in ["books", "cdc_probe_0123456789abcdef0123456789abcdef", "cdc_probe_p_", "cdc_probe_p_x_1"] {
            assert!(!is_abandoned_probe(other), "{other}");
        }
    }
}
