//! Whether source and target answer, who they are, and what they let us do.

use super::report::Report;
use super::{CALL_TIMEOUT, Server};
use crate::config::{self, Config};
use crate::milvus::catalog::CollectionDetails;
use crate::milvus::rows::{Place, Rows, Write};
use crate::milvus::version::Version;
use crate::milvus::{CallContext, Cancel, Client, Error, ErrorKind};
use crate::task::runner::endpoint;
use crate::task::same_server::is_same_server;
use crate::task::spec::TargetSpec;

const SOURCE: &str = "source";
const TARGET: &str = "target";
/// The version that everything was tested with.
const TESTED: Version = Version::new(2, 3, 5);
const TESTED_LINE: std::ops::Range<Version> = Version::new(2, 3, 0)..Version::new(2, 4, 0);
/// Before it logs and calls were others.
const OLDEST: Version = Version::new(2, 2, 0);

/// Connects to the source.
pub(super) fn source(config: &Config, report: &mut Report) -> Option<Server> {
    let found = connect(SOURCE, &config.source.endpoint, report)?;
    let Server { client, context, .. } = &found;
    let probe = Place { db: "default".into(), collection: probe_name(), partition: String::new() };
    let may = [
        ("list databases", client.list_databases(context).map(drop)),
        ("list collections", client.list_collections("default", context).map(drop)),
        ("describe collections", client.describe_collection("default", &probe.collection, context).map(drop)),
        ("see load states", client.load_state("default", &probe.collection, context).map(drop)),
        ("query", client.count_rows(&probe, context).map(drop)),
    ];
    privileges(SOURCE, "to list, describe and query", may.into_iter(), report);
    Some(found)
}

/// Connects to the target, and looks whether it can be one.
pub(super) fn target(
    config: &Config,
    spec: &TargetSpec,
    source: Option<&Server>,
    report: &mut Report,
) -> Option<Server> {
    let found = connect(TARGET, spec.endpoint(), report)?;
    let Server { client, context, .. } = &found;
    let address = client.address();
    match client.lacks_time_ticks(context) {
        Ok(true) => report.problem(
            TARGET,
            format!(
                "{address} runs with common.ttMsgEnabled false: rows written with ordinary calls never become visible"
            ),
            "set common.ttMsgEnabled to true (the default) in its milvus.yaml",
        ),
        Ok(false) => {}
        Err(error) => {
            report.warning(TARGET, format!("whether it makes time ticks is not known: {error}"), "run the check again")
        }
    }
    let addresses = [&config.source.endpoint.address, spec.address()];
    if source.is_some_and(|source| is_same_server([&source.client, client], addresses, context)) {
        report.problem(TARGET, format!("{address} is the source itself"), "give the address of another Milvus");
    }
    writes(&found, report);
    Some(found)
}

fn connect(about: &'static str, given: &config::Endpoint, report: &mut Report) -> Option<Server> {
    let connected = Client::open(&endpoint(given)).and_then(|client| {
        client.connect(&Cancel::default())?;
        Ok(client)
    });
    let mut server = match connected {
        Ok(client) => Server::new(client),
        Err(error) => {
            report.problem(about, error.to_string(), remedy_of_connect(about, &error));
            return None;
        }
    };
    let context = CallContext { timeout: CALL_TIMEOUT, cancel: Cancel::default() };
    let told = server.client.version(&context).unwrap_or_default();
    let address = server.client.address().to_owned();
    server.version = told.milvus();
    let text = format!("{address} answers: {told}");
    match server.version {
        Some(version) if version < OLDEST => {
            report.problem(about, text, format!("upgrade it to {OLDEST} or later"));
        }
        Some(version) if TESTED_LINE.contains(&version) => report.good(about, text),
        Some(_) => report.warning(
            about,
            format!("{text}; milvus-cdc is tested with {TESTED}"),
            "try it with collections of no importance first, and compare both sides",
        ),
        // Milvus Lite counts on its own.
        None => report.good(about, text),
    }
    Some(server)
}

fn remedy_of_connect(about: &str, error: &Error) -> String {
    let place = if about == SOURCE { "sourceConfig.milvus" } else { "milvus_connect_param" };
    match error.kind {
        ErrorKind::Denied if error.detail.contains("PEM") => format!("correct the files of dial_config in {place}"),
        ErrorKind::Denied => format!("correct the token, or username and password, of {place}"),
        _ => format!("start it, or correct the address and TLS of {place}; a firewall may be in between, too"),
    }
}

/// A collection that no server has: what is asked about it changes nothing, and a login that may not ask is refused
/// before the server looks for it (seen on 2.3.5).
fn probe_name() -> String {
    format!("milvus_cdc_check_{}", uuid::Uuid::new_v4().simple())
}

/// Tries every call that changes something, on a collection that does not exist and with a schema that cannot be made.
fn writes(server: &Server, report: &mut Report) {
    let Server { client, context, .. } = server;
    let name = probe_name();
    let db = "default";
    let place = Place { db: db.into(), collection: name.clone(), partition: String::new() };
    let nothing = Rows::new(&place, Vec::new(), 0);
    let impossible = CollectionDetails::nothing(&name);
    let index = crate::milvus::catalog::Index { name: "none".into(), field: "none".into(), params: Default::default() };
    let may = [
        ("create collections", client.create_collection(db, &impossible, 0, context)),
        ("insert", client.write_rows(Write::Insert, &nothing, context)),
        ("upsert", client.write_rows(Write::Upsert, &nothing, context)),
        ("delete", client.delete_rows(&place, "id in [0]", context)),
        ("query", client.count_rows(&place, context).map(drop)),
        ("create partitions", client.create_partition(db, &name, "none", context)),
        ("create indexes", client.create_index(db, &name, &index, context)),
        ("load collections", client.load_collection(db, &name, 1, context)),
        ("create aliases", client.create_alias(db, &name, &format!("{name}_alias"), context)),
        ("drop collections", client.drop_collection(db, &name, context)),
    ];
    privileges(TARGET, "to create, alter, load and drop, insert, upsert, delete and query", may.into_iter(), report);
}

fn privileges<'a>(
    about: &'static str,
    needed: &str,
    tried: impl Iterator<Item = (&'a str, Result<(), Error>)>,
    report: &mut Report,
) {
    let mut denied = Vec::new();
    let mut open = None;
    for (what, outcome) in tried {
        match outcome {
            Err(error) if error.kind == ErrorKind::Denied => denied.push(what),
            Err(error) if error.kind == ErrorKind::Transport => open = Some(error),
            // Refused for what it is about, which does not exist: the login was let through.
            _ => {}
        }
    }
    if !denied.is_empty() {
        let text = format!("the login may not {}", denied.join(", "));
        report.problem(about, text, format!("grant its role the privileges {needed}"));
    } else if let Some(error) = open {
        report.warning(about, format!("not every privilege could be tried: {error}"), "run the check again");
    } else {
        report.good(about, format!("the login is accepted and has the privileges {needed}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;

    fn error(kind: ErrorKind) -> Error {
        Error { method: "Insert", address: "a:1".into(), object: "d.c".into(), kind, detail: "x".into() }
    }

    fn judged(outcomes: Vec<Result<(), Error>>) -> Report {
        let mut report = Report::default();
        let names = ["one", "two", "three"];
        privileges(TARGET, "to do", names.into_iter().zip(outcomes), &mut report);
        report
    }

    #[test]
    fn a_refusal_about_the_object_is_a_login_that_was_let_through() {
        let missing = ErrorKind::Server { code: 100, legacy: 4 };
        assert_eq!(judged(vec![Ok(()), Err(error(missing))]).level(), Level::Good);
    }

    #[test]
    fn denied_calls_are_named_together() {
        let denied = || Err(error(ErrorKind::Denied));
        let report = judged(vec![denied(), Ok(()), denied()]);
        assert_eq!(report.findings()[0].text, "the login may not one, three");
        assert_eq!(report.level(), Level::Problem);
        assert_eq!(judged(vec![Err(error(ErrorKind::Transport))]).level(), Level::Warning);
    }
}
