/*!
The `request_data` of a `create`, from arguments or from a file.
*/

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use serde_json::{Value, json};

use super::exit::{ExitStatus, Failure};
use crate::config::Secret;

/// The fields about target and collections for `create` and `check`; all collections if none is named.
pub(super) fn request_data(target: &str, token: &Secret, timeout_s: u32, collections: &[String]) -> Value {
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

/// Collection names grouped by database. They contain no dots, so the first dot ends the database.
pub(super) fn databases(names: &[String]) -> BTreeMap<&str, Vec<&str>> {
    let mut databases: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in names {
        let (database, name) = name.split_once('.').unwrap_or(("default", name));
        databases.entry(database).or_default().push(name);
    }
    databases
}

/// A complete `request_data` from a file, or from standard input for `-`.
///
/// # Errors
/// A usage failure when the file cannot be read or is no JSON object.
pub(super) fn read_json(path: &Path) -> Result<Value, Failure> {
    read(path).map_err(|message| Failure::new(ExitStatus::Usage, format!("{}: {message}", path.display())))
}

fn read(path: &Path) -> Result<Value, String> {
    let mut text = String::new();
    let read = match path == Path::new("-") {
        true => io::stdin().read_to_string(&mut text).map(drop),
        false => fs::read_to_string(path).map(|read| text = read),
    };
    read.map_err(|error| format!("cannot be read: {error}"))?;
    // Neither the parser's message nor the text is shown: they may contain a token.
    serde_json::from_str(&text)
        .map_err(|error| format!("no JSON at line {}, column {}", error.line(), error.column()))
        .and_then(|value: Value| if value.is_object() { Ok(value) } else { Err("not a JSON object".to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_json_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("task.json");
        fs::write(&path, "{\"token\": s3cret}").unwrap();
        assert_eq!(read(&path).unwrap_err(), "no JSON at line 1, column 11");
        fs::write(&path, "[]").unwrap();
        assert_eq!(read(&path).unwrap_err(), "not a JSON object");
    }
}
