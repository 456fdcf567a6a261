/*!
`milvus-cdc task …`: the requests of `POST /cdc` for people who do not want to type JSON.
*/

mod create;
mod show;

use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use self::create::CreateArguments;
pub(super) use self::create::{databases, read_json, request_data};
use super::client::{Client, ClientError, ServerUrl};
use super::{ExitStatus, Failure, api_token, secret};
use crate::config::{API_TOKEN_VARIABLE, Secret};

/// What is asked, and of whom.
#[derive(Debug, Args)]
pub struct TaskArguments {
    /// Where the server listens
    #[arg(long, value_name = "URL", global = true, env = "MILVUS_CDC_URL", default_value = "http://127.0.0.1:8444",
          value_parser = ServerUrl::parse)]
    server: ServerUrl,
    /// The server's api.token; on a shared machine better in the environment, which others cannot list
    #[arg(long, value_name = "TOKEN", global = true, env = API_TOKEN_VARIABLE, hide_env_values = true,
          default_value = "", hide_default_value = true, value_parser = secret)]
    token: Secret,
    /// Print the answer's JSON, one line each
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: TaskCommand,
}

#[derive(Debug, Subcommand)]
enum TaskCommand {
    /// All tasks
    List,
    /// One task
    Get {
        /// Its id
        id: String,
        /// And what has happened to it lately
        #[arg(long)]
        events: bool,
    },
    /// Make a task and start it
    Create(CreateArguments),
    /// Stop a task for a while; returns when nothing of it is under way
    Pause {
        /// Its id
        id: String,
    },
    /// Let a paused or stopped task go on
    Resume {
        /// Its id
        id: String,
    },
    /// Stop and forget a task; the target keeps its data
    Delete {
        /// Its id
        id: String,
        /// It is fine when there is no such task
        #[arg(long)]
        ignore_not_found: bool,
    },
    /// Show tasks again and again, until Ctrl-C
    Watch {
        /// Only this one
        id: Option<String>,
        /// Seconds between two looks
        #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
        interval: u64,
        /// End after this many looks
        #[arg(long, value_name = "NUMBER")]
        count: Option<u64>,
    },
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Failure::new(ExitStatus::Failed, super::table::plain(&error.to_string()))
    }
}

/// Asks, and prints the answer.
pub(super) fn run(arguments: &TaskArguments) -> Result<(), Failure> {
    let client = Client { url: arguments.server.clone(), token: api_token(&arguments.token)? };
    let session = Session { client, json: arguments.json };
    match &arguments.command {
        TaskCommand::List => session.list(),
        TaskCommand::Get { id, events } => session.get(id, *events),
        TaskCommand::Create(arguments) => session.create(arguments),
        TaskCommand::Pause { id } => session.change("pause", &json!({"task_id": id}), &format!("paused {id}")),
        TaskCommand::Resume { id } => session.change("resume", &json!({"task_id": id}), &format!("resumed {id}")),
        TaskCommand::Delete { id, ignore_not_found } => {
            let data = json!({"task_id": id, "ignore_not_found": ignore_not_found});
            session.change("delete", &data, &format!("deleted {id}; the target keeps its data"))
        }
        TaskCommand::Watch { id, interval, count } => {
            session.watch(id.as_deref(), Duration::from_secs(*interval), *count)
        }
    }
}

/// A server, and who reads the answers.
struct Session {
    client: Client,
    json: bool,
}

impl Session {
    fn list(&self) -> Result<(), Failure> {
        let data = self.client.request("list", &json!({"details": true}))?;
        self.print(&data, &show::tasks(data["tasks"].as_array().map_or(&[], Vec::as_slice)))
    }

    fn get(&self, id: &str, events: bool) -> Result<(), Failure> {
        let data = self.client.request("get", &json!({"task_id": id, "details": true, "events": events}))?;
        self.print(&data["task"], &show::task(&data["task"]))
    }

    fn create(&self, arguments: &CreateArguments) -> Result<(), Failure> {
        let data = self.client.request("create", &arguments.request_data()?)?;
        // The id alone, so that a script can keep it.
        self.print(&data, &format!("{}\n", data["task_id"].as_str().unwrap_or_default()))
    }

    fn change(&self, request_type: &str, data: &Value, done: &str) -> Result<(), Failure> {
        let data = self.client.request(request_type, data)?;
        self.print(&data, &format!("{done}\n"))
    }

    fn watch(&self, id: Option<&str>, interval: Duration, count: Option<u64>) -> Result<(), Failure> {
        let mut looks = 0;
        loop {
            if !self.json && io::stdout().is_terminal() {
                // Clears the screen.
                write!(io::stdout(), "\x1b[H\x1b[2J")?;
            }
            match id {
                Some(id) => self.get(id, false)?,
                None => self.list()?,
            }
            looks += 1;
            if count.is_some_and(|count| looks >= count) {
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
