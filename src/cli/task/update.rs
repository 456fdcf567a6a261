/*!
`milvus-cdc task update`.
*/

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::exit::{ExitStatus, Failure};
use crate::cli::request::read_json;
use crate::cli::secret::secret;
use crate::config::Secret;

/// The login as an option, all of the connection in a file.
#[derive(Debug, Args)]
pub(super) struct UpdateArguments {
    /// Id of the task
    pub(super) id: String,
    /// New login of the target, `user:password` or an API key; better in the environment on a shared machine, where
    /// other users cannot list it
    #[arg(long, value_name = "TOKEN", env = "MILVUS_CDC_TARGET_TOKEN", hide_env_values = true, default_value = "",
          hide_default_value = true, value_parser = secret)]
    target_token: Secret,
    /// File with the changed fields of `milvus_connect_param` as JSON; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl UpdateArguments {
    /// The `request_data` of `update`.
    pub(super) fn request_data(&self) -> Result<Value, Failure> {
        let mut connect = match &self.file {
            Some(path) => read_json(path)?,
            None => json!({}),
        };
        if !self.target_token.expose().is_empty() {
            connect["token"] = self.target_token.expose().into();
        }
        if connect.as_object().is_none_or(serde_json::Map::is_empty) {
            let message = "nothing to change: give --target-token, MILVUS_CDC_TARGET_TOKEN or --file";
            return Err(Failure::new(ExitStatus::Usage, message));
        }
        Ok(json!({"task_id": self.id, "milvus_connect_param": connect}))
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
        update: UpdateArguments,
    }

    fn data(arguments: &[&str]) -> Result<Value, Failure> {
        let all = ["update", "a"].iter().chain(arguments);
        Only::try_parse_from(all).unwrap().update.request_data()
    }

    #[test]
    fn what_is_sent() {
        let token = data(&["--target-token", "root:new"]).unwrap();
        assert_eq!(token, json!({"task_id": "a", "milvus_connect_param": {"token": "root:new"}}));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("connect.json");
        fs::write(&path, r#"{"connect_timeout": 3}"#).unwrap();
        let both = data(&["--target-token", "t", "--file", path.to_str().unwrap()]).unwrap();
        assert_eq!(both["milvus_connect_param"], json!({"connect_timeout": 3, "token": "t"}));
        assert!(data(&[]).is_err());
    }
}
