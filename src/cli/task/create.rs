/*!
`milvus-cdc task create`.
*/

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::cli::{ExitStatus, Failure, secret};
use crate::config::Secret;

/// The usual in options, everything in a file.
#[derive(Debug, Args)]
pub(super) struct CreateArguments {
    /// The Milvus to write to, such as http://standby:19530
    #[arg(long, value_name = "URI", required_unless_present = "file")]
    target: Option<String>,
    /// Its login, `user:password` or an API key; on a shared machine better in the environment, which others cannot list
    #[arg(long, value_name = "TOKEN", env = "MILVUS_CDC_TARGET_TOKEN", hide_env_values = true, default_value = "",
          hide_default_value = true, value_parser = secret)]
    target_token: Secret,
    /// What to follow, may be repeated: NAME, DATABASE.NAME or DATABASE.*; everything when left out
    #[arg(long = "collection", value_name = "[DATABASE.]NAME", conflicts_with = "file")]
    collections: Vec<String>,
    /// A name of your own for the task
    #[arg(long, value_name = "ID", conflicts_with = "file")]
    task_id: Option<String>,
    /// After a restart of the server the task stays paused
    #[arg(long, conflicts_with = "file")]
    disable_auto_start: bool,
    /// Seconds that connecting to the target may take
    #[arg(long, value_name = "SECONDS", default_value_t = 10, conflicts_with = "file")]
    connect_timeout: u32,
    /// The whole `request_data` as JSON, for everything that has no option here; `-` reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "target")]
    file: Option<PathBuf>,
}

impl CreateArguments {
    /// What `create` is sent.
    pub(super) fn request_data(&self) -> Result<Value, Failure> {
        if let Some(path) = &self.file {
            return read_json(path);
        }
        let target = self.target.as_deref().unwrap_or_default();
        let mut data = request_data(target, &self.target_token, self.connect_timeout, &self.collections);
        data["disable_auto_start"] = self.disable_auto_start.into();
        if let Some(id) = &self.task_id {
            data["task_id"] = id.as_str().into();
        }
        Ok(data)
    }
}

/// What `create` and `check` are sent about a target and collections; everything when no collection is named.
pub(in crate::cli) fn request_data(target: &str, token: &Secret, timeout_s: u32, collections: &[String]) -> Value {
    let mut data = json!({
        "milvus_connect_param": {"uri": target, "token": token.expose(), "connect_timeout": timeout_s},
    });
    match collections {
        [] => data["collection_infos"] = json!([{"name": "*"}]),
        names => {
            let infos = |names: Vec<&str>| names.into_iter().map(|name| json!({"name": name})).collect::<Value>();
            let databases = databases(names).into_iter().map(|(database, names)| (database, infos(names)));
            data["db_collections"] = json!(databases.collect::<BTreeMap<_, _>>());
        }
    }
    data
}

/// Names by database. Names of collections have no dots, so the first one ends the database.
pub(in crate::cli) fn databases(names: &[String]) -> BTreeMap<&str, Vec<&str>> {
    let mut databases: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in names {
        let (database, name) = name.split_once('.').unwrap_or(("default", name));
        databases.entry(database).or_default().push(name);
    }
    databases
}

/// A whole `request_data` from a file, or from standard input for `-`.
pub(in crate::cli) fn read_json(path: &Path) -> Result<Value, Failure> {
    read(path).map_err(|message| Failure::new(ExitStatus::Usage, format!("{}: {message}", path.display())))
}

fn read(path: &Path) -> Result<Value, String> {
    let mut text = String::new();
    let read = match path == Path::new("-") {
        true => io::stdin().read_to_string(&mut text).map(drop),
        false => fs::read_to_string(path).map(|read| text = read),
    };
    read.map_err(|error| format!("cannot be read: {error}"))?;
    // Neither the message nor the text: it may hold a token.
    serde_json::from_str(&text)
        .map_err(|error| format!("no JSON at line {}, column {}", error.line(), error.column()))
        .and_then(|value: Value| if value.is_object() { Ok(value) } else { Err("not a JSON object".to_owned()) })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        create: CreateArguments,
    }

    fn data(arguments: &[&str]) -> Value {
        let all = ["create"].iter().chain(arguments);
        Only::try_parse_from(all).unwrap().create.request_data().unwrap()
    }

    #[test]
    fn what_is_sent() {
        let everything = data(&["--target", "http://t:1", "--target-token", "u:p", "--task-id", "x"]);
        assert_eq!(everything["collection_infos"], json!([{"name": "*"}]));
        assert_eq!(everything["milvus_connect_param"]["token"], "u:p");
        assert_eq!(everything["task_id"], "x");
        let some = ["--target", "t:1", "--collection", "a", "--collection", "db.b", "--collection", "db.*"];
        let some = data(&some);
        assert_eq!(some["db_collections"], json!({"default": [{"name": "a"}], "db": [{"name": "b"}, {"name": "*"}]}));
        assert!(some.get("collection_infos").is_none());
    }

    #[test]
    fn from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("task.json");
        fs::write(&path, r#"{"task_id": "x"}"#).unwrap();
        assert_eq!(data(&["--file", path.to_str().unwrap()]), json!({"task_id": "x"}));
        fs::write(&path, "{\"token\": s3cret}").unwrap();
        assert_eq!(read(&path).unwrap_err(), "no JSON at line 1, column 11");
        assert!(Only::try_parse_from(["create"]).is_err());
        assert!(Only::try_parse_from(["create", "--target", "x", "--file", "y"]).is_err());
    }
}
