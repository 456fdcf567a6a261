//! Checks whether source and target are reachable, their versions, and the privileges of their users.

use std::sync::Arc;
use std::time::Duration;

use super::report::PreflightReport;
use crate::config::{self, Config};
use crate::domain::{CollectionName, Mark, RowLocation, Write};
use crate::milvus::capabilities::Support;
use crate::milvus::catalog::CollectionDetails;
use crate::milvus::rows::WriteRequest;
use crate::milvus::same_server::is_same_server;
use crate::milvus::{CallContext, Cancel, Capabilities, Client, ConnectOptions, Error, ErrorKind, ServerDescription};
use crate::task::spec::TargetSpec;

/// Time limit of one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const SOURCE: &str = "source";
const TARGET: &str = "target";

/// A server that accepted the connection.
pub(crate) struct ConnectedServer {
    pub(crate) client: Arc<Client>,
    pub(crate) told: ServerDescription,
    pub(crate) context: CallContext,
}

impl ConnectedServer {
    fn new(client: Client) -> ConnectedServer {
        let context = CallContext { timeout: CALL_TIMEOUT, cancel: Cancel::default() };
        let told = client.describe_server(&context).unwrap_or_default();
        ConnectedServer { client: Arc::new(client), told, context }
    }

    pub(crate) fn capabilities(&self) -> Capabilities {
        Capabilities::of(&self.told.version)
    }
}

/// Connects to the source and checks the privileges of its user.
pub(super) fn source(config: &Config, report: &mut PreflightReport) -> Option<ConnectedServer> {
    let found = connect(SOURCE, &config.source.endpoint, report)?;
    let ConnectedServer { client, context, .. } = &found;
    let name = CollectionName::new("default", probe_name());
    let probe = RowLocation::within(&name, "");
    let may = [
        ("list databases", client.list_databases(context).map(drop)),
        ("list collections", client.list_collections("default", context).map(drop)),
        ("describe collections", client.describe_collection(&name, context).map(drop)),
        ("see load states", client.load_state(&name, context).map(drop)),
        ("query", client.count_rows(&probe, context).map(drop)),
    ];
    privileges(SOURCE, "to list, describe and query", may.into_iter(), report);
    Some(found)
}

/// Connects to the target and checks whether it can be one.
pub(super) fn target(
    config: &Config,
    spec: &TargetSpec,
    source: Option<&ConnectedServer>,
    report: &mut PreflightReport,
) -> Option<ConnectedServer> {
    let found = connect(TARGET, spec.endpoint(), report)?;
    let ConnectedServer { client, context, .. } = &found;
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
        Err(error) => report.warning(
            TARGET,
            format!("cannot determine whether it makes time ticks: {error}"),
            "run the check again",
        ),
    }
    let addresses = [&config.source.endpoint.address, spec.address()];
    if source.is_some_and(|source| is_same_server([&source.client, client], addresses, context)) {
        report.problem(TARGET, format!("{address} is the source itself"), "give the address of another Milvus");
    }
    writes(&found, report);
    Some(found)
}

fn connect(about: &'static str, given: &config::Endpoint, report: &mut PreflightReport) -> Option<ConnectedServer> {
    let connected = Client::open(&ConnectOptions::from(given)).and_then(|client| {
        client.connect(&Cancel::default())?;
        Ok(client)
    });
    let server = match connected {
        Ok(client) => ConnectedServer::new(client),
        Err(error) => {
            report.problem(about, error.to_string(), remedy_of_connect(about, &error));
            return None;
        }
    };
    let text = format!("{} answers: {}", server.client.address(), server.told);
    match server.capabilities().support {
        Support::TooOld => report.problem(about, text, format!("upgrade it to {} or later", Capabilities::OLDEST)),
        Support::Tested => report.good(about, text),
        Support::Untested => report.warning(
            about,
            format!("{text}; milvus-cdc is tested with {}", Capabilities::TESTED),
            "try it with unimportant collections first, and compare both sides",
        ),
    }
    Some(server)
}

fn remedy_of_connect(about: &str, error: &Error) -> String {
    let place = if about == SOURCE { "sourceConfig.milvus" } else { "milvus_connect_param" };
    match error.kind {
        ErrorKind::Denied if error.is_pem_file_unusable() => format!("correct the files of dial_config in {place}"),
        ErrorKind::Denied => format!("correct the token, or username and password, of {place}"),
        _ => format!("start it, or correct the address and TLS of {place}; a firewall may be in between, too"),
    }
}

/// The name of a collection that no server has. Calls about it change nothing, and a user without the privilege is
/// refused before the server looks for the collection (seen on 2.3.5).
fn probe_name() -> String {
    format!("milvus_cdc_check_{}", uuid::Uuid::new_v4().simple())
}

/// Tries every call that changes something on a collection that does not exist, and with a schema that cannot be
/// created.
fn writes(server: &ConnectedServer, report: &mut PreflightReport) {
    let ConnectedServer { client, context, .. } = server;
    let name = CollectionName::new("default", probe_name());
    let place = RowLocation::within(&name, "");
    let nothing = WriteRequest::new(&place, Vec::new(), 0);
    let impossible = CollectionDetails::nothing(&name.name);
    let index = crate::milvus::catalog::Index { name: "none".into(), field: "none".into(), params: Default::default() };
    let marked = client.marked(Mark::OF_NO_COLLECTION);
    let may = [
        ("create collections", marked.create_collection(&name.db, &impossible, 0, context)),
        ("insert", marked.write_rows(Write::Insert, &nothing, context)),
        ("upsert", marked.write_rows(Write::Upsert, &nothing, context)),
        ("delete", marked.delete_rows(&place, "id in [0]", context)),
        ("query", client.count_rows(&place, context).map(drop)),
        ("create partitions", marked.create_partition(&name, "none", context)),
        ("create indexes", marked.create_index(&name, &index, context)),
        ("load collections", marked.load_collection(&name, 1, context)),
        ("create aliases", marked.create_alias(&name, &format!("{}_alias", name.name), context)),
        ("drop collections", marked.drop_collection(&name, context)),
    ];
    privileges(TARGET, "to create, alter, load and drop, insert, upsert, delete and query", may.into_iter(), report);
}

fn privileges<'a>(
    about: &'static str,
    needed: &str,
    tried: impl Iterator<Item = (&'a str, Result<(), Error>)>,
    report: &mut PreflightReport,
) {
    let mut denied = Vec::new();
    let mut unanswered = None;
    for (what, outcome) in tried {
        match outcome {
            Err(error) if error.kind == ErrorKind::Denied => denied.push(what),
            Err(error) if error.kind == ErrorKind::Transport => unanswered = Some(error),
            // Refused because the object does not exist: the privilege was granted.
            _ => {}
        }
    }
    if !denied.is_empty() {
        let text = format!("the login may not {}", denied.join(", "));
        report.problem(about, text, format!("grant its role the privileges {needed}"));
    } else if let Some(error) = unanswered {
        report.warning(about, format!("not every privilege could be tried: {error}"), "run the check again");
    } else {
        report.good(about, format!("the login is accepted and has the privileges {needed}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::milvus::RetryAdvice;
    use crate::preflight::Level;

    fn error(kind: ErrorKind) -> Error {
        Error { method: "Insert", address: "a:1".into(), object: "d.c".into(), kind, detail: "x".into() }
    }

    fn judged(outcomes: Vec<Result<(), Error>>) -> PreflightReport {
        let mut report = PreflightReport::default();
        let names = ["one", "two", "three"];
        privileges(TARGET, "to do", names.into_iter().zip(outcomes), &mut report);
        report
    }

    #[test]
    fn a_refusal_about_the_object_is_a_login_that_was_let_through() {
        let missing = ErrorKind::Server { code: 100, legacy: 4, advice: RetryAdvice::None };
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
