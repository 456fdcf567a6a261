/*!
`milvus-cdc task …`: the requests of `POST /cdc` as commands.
*/

mod create;
mod show;
mod update;

use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use self::create::CreateArguments;
use self::update::UpdateArguments;
use super::client::{ApiClient, ClientError, ServerUrl};
use super::exit::{ExitStatus, Failure};
use super::secret::{api_token, secret};
use super::table::plain;
use crate::config::{API_TOKEN_VARIABLE, Secret};

/// The command, and the server to send it to.
#[derive(Debug, Args)]
pub struct TaskArguments {
    /// Address of the server
    #[arg(long, value_name = "URL", global = true, env = "MILVUS_CDC_URL", default_value = "http://127.0.0.1:8444",
          value_parser = ServerUrl::parse)]
    server: ServerUrl,
    /// The server's api.token; better in the environment on a shared machine, where other users cannot list it
    #[arg(long, value_name = "TOKEN", global = true, env = API_TOKEN_VARIABLE, hide_env_values = true,
          default_value = "", hide_default_value = true, value_parser = secret)]
    token: Secret,
    /// Print the answer's JSON on one line
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: TaskCommand,
}

#[derive(Debug, Subcommand)]
enum TaskCommand {
    /// List all tasks
    List,
    /// Show one task
    Get {
        /// Id of the task
        id: String,
        /// Show the task's recent events too
        #[arg(long)]
        events: bool,
    },
    /// Create a task and start it
    Create(CreateArguments),
    /// Pause a task, or one collection of it; returns when none of its calls is in flight
    Pause {
        /// Id of the task
        id: String,
        /// Pause this collection only: nothing of it is changed or dropped on the target
        #[arg(long, value_name = "[DATABASE.]NAME")]
        collection: Option<String>,
    },
    /// Resume a paused or stopped task, or one collection of a running one
    Resume {
        /// Id of the task
        id: String,
        /// Resume this collection only; one that is held is tried again now
        #[arg(long, value_name = "[DATABASE.]NAME")]
        collection: Option<String>,
    },
    /// Compare the rows of one collection with the source's, and mend them
    Resync {
        /// Id of the task
        id: String,
        /// The collection
        #[arg(long, value_name = "[DATABASE.]NAME")]
        collection: String,
    },
    /// Change how a task connects to its target, for example after its password was changed; the task keeps its place
    Update(UpdateArguments),
    /// Stop and remove a task; the target keeps its data
    Delete {
        /// Id of the task
        id: String,
        /// Succeed if the task does not exist
        #[arg(long)]
        ignore_not_found: bool,
    },
    /// List the drops that are held because the source lost much at once, and decide about them
    Drops {
        /// Id of the task
        id: String,
        /// Carry out all held drops: the target loses what is listed
        #[arg(long, conflicts_with = "discard")]
        confirm: bool,
        /// Leave everything listed on the target, where the task no longer manages it
        #[arg(long)]
        discard: bool,
    },
    /// List the rows that the target refuses for good and that are set aside, and decide about them
    RefusedRows {
        /// Id of the task
        id: String,
        /// Compare their collections with the source: what the target takes by now is written
        #[arg(long, conflicts_with = "discard")]
        apply: bool,
        /// Forget them: the target lacks them until their collections are compared
        #[arg(long)]
        discard: bool,
    },
    /// Show tasks repeatedly until Ctrl-C
    Watch {
        /// Show this task only
        id: Option<String>,
        /// Seconds between two requests
        #[arg(long, value_name = "SECONDS", default_value_t = 2,
              value_parser = clap::value_parser!(u64).range(1..=3600))]
        interval: u64,
        /// Stop after this many requests
        #[arg(long, value_name = "NUMBER")]
        count: Option<u64>,
    },
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Failure::new(ExitStatus::Failed, super::table::plain(&error.to_string()))
    }
}

/// Sends the request and prints the answer.
pub(super) fn run(arguments: &TaskArguments) -> Result<(), Failure> {
    let client = ApiClient { url: arguments.server.clone(), token: api_token(&arguments.token)? };
    let tasks = TaskClient { client, json: arguments.json };
    match &arguments.command {
        TaskCommand::List => tasks.list(),
        TaskCommand::Get { id, events } => tasks.get(&json!({"task_id": id, "details": true, "events": events})),
        TaskCommand::Create(arguments) => tasks.create(arguments),
        TaskCommand::Pause { id, collection: Some(name) } => tasks.change_collection("pause", id, name),
        TaskCommand::Resume { id, collection: Some(name) } => tasks.change_collection("resume", id, name),
        TaskCommand::Resync { id, collection } => tasks.change_collection("resync", id, collection),
        TaskCommand::Pause { id, .. } => tasks.change("pause", &json!({"task_id": id}), &format!("paused {id}")),
        TaskCommand::Resume { id, .. } => tasks.change("resume", &json!({"task_id": id}), &format!("resumed {id}")),
        TaskCommand::Update(arguments) => {
            tasks.change("update", &arguments.request_data()?, &format!("updated {}", arguments.id))
        }
        TaskCommand::Delete { id, ignore_not_found } => {
            let data = json!({"task_id": id, "ignore_not_found": ignore_not_found});
            tasks.change("delete", &data, &format!("deleted {id}; the target keeps its data"))
        }
        TaskCommand::Drops { id, confirm: true, .. } => tasks.drops(id, "confirm"),
        TaskCommand::Drops { id, discard: true, .. } => tasks.drops(id, "discard"),
        TaskCommand::Drops { id, .. } => tasks.drops(id, "list"),
        TaskCommand::RefusedRows { id, apply: true, .. } => tasks.refused_rows(id, "apply"),
        TaskCommand::RefusedRows { id, discard: true, .. } => tasks.refused_rows(id, "discard"),
        TaskCommand::RefusedRows { id, .. } => tasks.refused_rows(id, "list"),
        TaskCommand::Watch { id, interval, count } => {
            tasks.watch(id.as_deref(), Duration::from_secs(*interval), *count)
        }
    }
}

/// Sends requests about tasks and prints their answers.
struct TaskClient {
    client: ApiClient,
    json: bool,
}

impl TaskClient {
    fn list(&self) -> Result<(), Failure> {
        let data = self.client.request("list", &json!({"details": true}))?;
        self.print(&data, &show::tasks(data["tasks"].as_array().map_or(&[], Vec::as_slice)))
    }

    fn get(&self, query: &Value) -> Result<(), Failure> {
        let data = self.client.request("get", query)?;
        self.print(&data["task"], &show::task(&data["task"]))
    }

    fn create(&self, arguments: &CreateArguments) -> Result<(), Failure> {
        let data = self.client.request("create", &arguments.request_data()?)?;
        for warning in data["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            // Without a stderr only the answer remains.
            let _ = writeln!(io::stderr(), "warning: {}", crate::cli::table::plain(warning));
        }
        // The id alone, for scripts.
        self.print(&data, &format!("{}\n", data["task_id"].as_str().unwrap_or_default()))
    }

    fn drops(&self, id: &str, action: &str) -> Result<(), Failure> {
        let data = self.client.request("drops", &json!({"task_id": id, "action": action}))?;
        self.print(&data, &show::drops(&data))
    }

    fn refused_rows(&self, id: &str, action: &str) -> Result<(), Failure> {
        let data = self.client.request("refused_rows", &json!({"task_id": id, "action": action}))?;
        self.print(&data, &show::refused_rows(data["refused_rows"].as_array().map_or(&[], Vec::as_slice)))
    }

    fn change(&self, request_type: &str, data: &Value, done: &str) -> Result<(), Failure> {
        let data = self.client.request(request_type, data)?;
        self.print(&data, &format!("{done}\n"))
    }

    fn change_collection(&self, request_type: &str, id: &str, collection: &str) -> Result<(), Failure> {
        let data = self.client.request(request_type, &json!({"task_id": id, "collection": collection}))?;
        let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
        self.print(&data, &format!("{}: {}\n", plain(&text("collection")), plain(&text("outcome"))))
    }

    fn watch(&self, id: Option<&str>, interval: Duration, count: Option<u64>) -> Result<(), Failure> {
        let mut requests = 0;
        loop {
            if !self.json && io::stdout().is_terminal() {
                // Clears the screen.
                write!(io::stdout(), "\x1b[H\x1b[2J")?;
            }
            match id {
                Some(id) => self.get(&json!({"task_id": id, "details": true}))?,
                None => self.list()?,
            }
            requests += 1;
            if count.is_some_and(|count| requests >= count) {
                return Ok(());
            }
            thread::sleep(interval);
        }
    }

    fn print(&self, data: &Value, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match self.json {
            true => writeln!(out, "{data}")?,
            false => out.write_all(text.as_bytes())?,
        }
        Ok(out.flush()?)
    }
}
