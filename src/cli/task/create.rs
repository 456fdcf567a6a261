/*!
`milvus-cdc task create`.
*/

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::exit::Failure;
use crate::cli::request::{read_json, request_data};
use crate::cli::secret::secret;
use crate::config::Secret;

/// Common fields as options, all fields in a file.
#[derive(Debug, Args)]
pub(super) struct CreateArguments {
    /// The Milvus to write to, such as http://standby:19530
    #[arg(long, value_name = "URI", required_unless_present_any = ["file", "peer", "reverse_of"])]
    target: Option<String>,
    /// A peer of the server's configuration to write to, instead of --target
    #[arg(long, value_name = "NAME", conflicts_with_all = ["target", "file"])]
    peer: Option<String>,
    /// Create the opposite of this task, which reads from the end that the log of its target has now
    #[arg(long, value_name = "ID", conflicts_with_all = ["target", "peer", "file", "collections"])]
    reverse_of: Option<String>,
    /// Login of the target, `user:password` or an API key; better in the environment on a shared machine, where other
    /// users cannot list it
    #[arg(long, value_name = "TOKEN", env = "MILVUS_CDC_TARGET_TOKEN", hide_env_values = true, default_value = "",
          hide_default_value = true, value_parser = secret)]
    target_token: Secret,
    /// Collections to replicate, may be repeated: NAME, DATABASE.NAME or DATABASE.*; everything if omitted
    #[arg(long = "collection", value_name = "[DATABASE.]NAME", conflicts_with = "file")]
    collections: Vec<String>,
    /// Id of the task; generated if omitted
    #[arg(long, value_name = "ID", conflicts_with = "file")]
    task_id: Option<String>,
    /// Leave the task paused after a restart of the server
    #[arg(long, conflicts_with = "file")]
    disable_auto_start: bool,
    /// Collections that the source drops: `follow` drops them on the target, `keep` leaves them there, `rename` gives
    /// them another name there and drops them later
    #[arg(long, value_name = "WHAT", default_value = "follow", value_parser = ["follow", "keep", "rename"],
          conflicts_with = "file")]
    on_drop: String,
    /// Rows that the target refuses for good: `hold` holds their collection, `set_aside` writes them to a file and goes
    /// on
    #[arg(long, value_name = "WHAT", default_value = "hold", value_parser = ["hold", "set_aside"],
          conflicts_with = "file")]
    on_refused: String,
    /// With `--on-drop rename`: hours until they are dropped; 168 if omitted
    #[arg(long, value_name = "HOURS", default_value_t = 0, hide_default_value = true, conflicts_with = "file")]
    drop_after_hours: u32,
    /// Timeout for connecting to the target, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, conflicts_with = "file")]
    connect_timeout: u32,
    /// File with the complete `request_data` as JSON, for fields that have no option; `-` reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "target")]
    file: Option<PathBuf>,
}

impl CreateArguments {
    /// The `request_data` of `create`.
    pub(super) fn request_data(&self) -> Result<Value, Failure> {
        if let Some(path) = &self.file {
            return read_json(path);
        }
        let target = self.target.as_deref().unwrap_or_default();
        if let Some(other) = &self.reverse_of {
            return Ok(json!({"reverse_of": other, "task_id": self.task_id.as_deref().unwrap_or_default()}));
        }
        let mut data = request_data(target, &self.target_token, self.connect_timeout, &self.collections);
        if let Some(peer) = &self.peer {
            data["milvus_connect_param"] = Value::Null;
            data["peer"] = peer.as_str().into();
        }
        data["disable_auto_start"] = self.disable_auto_start.into();
        if self.on_drop != "follow" {
            data["on_drop"] = self.on_drop.as_str().into();
        }
        if self.on_refused != "hold" {
            data["on_refused"] = self.on_refused.as_str().into();
        }
        if self.drop_after_hours != 0 {
            data["drop_after_hours"] = self.drop_after_hours.into();
        }
        if let Some(id) = &self.task_id {
            data["task_id"] = id.as_str().into();
        }
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        assert!(some.get("collection_infos").is_none() && some.get("on_drop").is_none());
        assert_eq!(data(&["--target", "t:1", "--on-drop", "keep"])["on_drop"], "keep");
        assert_eq!(data(&["--target", "t:1", "--on-refused", "set_aside"])["on_refused"], "set_aside");
        let rename = data(&["--target", "t:1", "--on-drop", "rename", "--drop-after-hours", "5"]);
        assert_eq!((&rename["on_drop"], &rename["drop_after_hours"]), (&json!("rename"), &json!(5)));
    }

    #[test]
    fn a_peer_and_the_opposite_of_a_task() {
        let peer = data(&["--peer", "east", "--collection", "a"]);
        assert_eq!((&peer["peer"], &peer["milvus_connect_param"]), (&json!("east"), &Value::Null));
        assert_eq!(peer["db_collections"], json!({"default": [{"name": "a"}]}));
        assert_eq!(data(&["--reverse-of", "a", "--task-id", "b"]), json!({"reverse_of": "a", "task_id": "b"}));
        assert!(Only::try_parse_from(["create", "--peer", "east", "--target", "t"]).is_err());
    }

    #[test]
    fn from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("task.json");
        fs::write(&path, r#"{"task_id": "x"}"#).unwrap();
        assert_eq!(data(&["--file", path.to_str().unwrap()]), json!({"task_id": "x"}));
        assert!(Only::try_parse_from(["create"]).is_err());
        assert!(Only::try_parse_from(["create", "--target", "x", "--file", "y"]).is_err());
    }
}
