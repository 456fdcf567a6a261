//! A recording on disk. `tests/it/recordings.rs` has this file, too: there it stands beside what the crate shows.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::Channel;

/// A recording, unpacked for one test.
pub(crate) struct Recording {
    pub(crate) name: &'static str,
    folder: tempfile::TempDir,
}

impl Recording {
    pub(crate) fn unpack(name: &'static str) -> Recording {
        let named = std::env::var_os("MILVUS_CDC_RECORDINGS").map(PathBuf::from);
        let all = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/recordings"));
        let recording = Recording { name, folder: tempfile::tempdir().unwrap() };
        recording.extract(&all.join(format!("{name}.tar.xz")));
        recording
    }

    pub(crate) fn extract(&self, archive: &Path) {
        assert!(archive.is_file(), "{}: not there; MILVUS_CDC_RECORDINGS names the folder", archive.display());
        let done = Command::new("tar").arg("xJf").arg(archive).arg("-C").arg(self.folder.path()).status().unwrap();
        assert!(done.success(), "{}: cannot be unpacked", archive.display());
    }

    /// A file or folder of the recording, or of what was extracted beside it.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        let inside = self.folder.path().join(self.name).join(file);
        if inside.exists() { inside } else { self.folder.path().join(file) }
    }

    pub(crate) fn json(&self, file: &str) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.path(file)).unwrap()).unwrap()
    }

    pub(crate) fn lines(&self, file: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path(file)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) fn channels(&self) -> Vec<Channel> {
        let info = self.json("info.json");
        info["channels"].as_array().unwrap().iter().map(|name| Channel::new(name.as_str().unwrap())).collect()
    }

    /// The calls of the last step and their answers, with database and collection.
    pub(crate) fn last_calls(&self, method: &str) -> Vec<((String, String), Value)> {
        let catalog = self.lines("catalog.jsonl");
        let last = catalog.iter().map(|line| line["step"].as_i64().unwrap()).max().unwrap();
        let of_last = catalog.into_iter().filter(|line| line["step"] == last && line["method"] == method);
        let placed = |line: Value| {
            let place = |key: &str| line["request_json"][key].as_str().unwrap_or("default").to_owned();
            ((place("db_name"), place("collection_name")), line)
        };
        of_last.map(placed).collect()
    }
}
