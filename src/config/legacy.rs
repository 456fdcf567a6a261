/*!
Configurations of the Go milvus-cdc: keys with the same meaning are read as usual; keys that only the Go server has are
removed, with the reason why they have no effect here.

The parser decides which keys are known. If it reports an unknown key that is one of the Go server's, the lines of that
key are blanked, so that every other line keeps its number, and the rest is parsed again.
*/

/// A key of the Go server that has no effect here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Name of the key.
    pub key: &'static str,
    /// Line, counted from 1.
    pub line: u64,
    /// Why the key has no effect.
    pub why: &'static str,
}

const NO_ETCD: &str = "the source's catalog is read through its public API: sourceConfig.milvus.uri names it \
                       (http://127.0.0.1:19530 unless given)";
const NO_BUFFERS: &str = "memory use is bounded without a setting";
const DEAD: &str = "the Go server does not read it either";

/// The keys, in any section: no name has two meanings.
const KEYS: [(&str, &str); 21] = [
    ("metaStoreConfig", "tasks and positions are kept in dataDir: neither etcd nor MySQL is needed"),
    ("etcd", NO_ETCD),
    ("etcdAddress", NO_ETCD),
    ("etcdRootPath", NO_ETCD),
    ("etcdMetaSubPath", NO_ETCD),
    ("webPort", "sourceConfig.pulsar.webAddress holds the port, too: http://host:8080"),
    ("producer", "nothing is written to the source's brokers"),
    ("consumer", "the brokers are read with settings of our own"),
    ("readChanLen", NO_BUFFERS),
    ("packer", NO_BUFFERS),
    ("batchMode", "small writes are always merged"),
    ("channelNum", "a target distributes its collections over its channels by itself"),
    ("timeTickInterval", "the source's own time ticks are followed"),
    ("defaultPartitionName", "partitions are known by their ids"),
    ("retry", "transient failures are retried forever, permanent ones stop the task at once"),
    ("replicateID", "the target is written with ordinary calls, which carry no replicate id"),
    ("dryRun", "use `milvus-cdc check`, which checks everything without writing"),
    ("detectDeadLock", "there are no locks to watch"),
    ("enableReverse", DEAD),
    ("reverseMilvus", DEAD),
    ("currentMilvus", DEAD),
];

/// The Go server's key of this name, if it is one.
pub(super) fn known(field: &str, line: u64) -> Option<Leftover> {
    let (key, why) = KEYS.iter().find(|(key, _)| *key == field)?;
    Some(Leftover { key, line, why })
}

/// The text with the block of this key blanked. `None` if the line does not start with the key, as in `{a: 1, b: 2}`.
pub(super) fn blanked(text: &str, leftover: &Leftover) -> Option<String> {
    let mut lines: Vec<&str> = text.lines().collect();
    let first = usize::try_from(leftover.line).ok()?.checked_sub(1)?;
    let begin = lines.get(first)?;
    let key = begin.trim_start().trim_start_matches(['"', '\'']).strip_prefix(leftover.key)?;
    if !key.trim_start_matches(['"', '\'']).trim_start().starts_with(':') {
        return None;
    }
    let depth = indentation(begin);
    let belongs = |line: &&str| {
        let inner = line.trim_start();
        // Comments may have any indentation, items of a list the same as their key.
        inner.is_empty()
            || inner.starts_with('#')
            || indentation(line) > depth
            || (indentation(line) == depth && inner.starts_with("- "))
    };
    let length = 1 + lines[first + 1..].iter().take_while(|line| belongs(line)).count();
    lines[first..first + length].fill("");
    Some(lines.join("\n") + "\n")
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_blanked_and_every_other_line_keeps_its_number() {
        let text = "a: 1\netcd:\n  address:\n    - x\n\n  # why\n  rootPath: y\nb: 2\n";
        let leftover = known("etcd", 2).unwrap();
        assert_eq!(blanked(text, &leftover).unwrap(), "a: 1\n\n\n\n\n\n\nb: 2\n");
    }

    #[test]
    fn a_comment_at_the_left_does_not_end_a_block() {
        let text = "metaStoreConfig:\n#  storeType: mysql\n  storeType: etcd\n# next\nb: 2\n";
        assert_eq!(blanked(text, &known("metaStoreConfig", 1).unwrap()).unwrap(), "\n\n\n\nb: 2\n");
    }

    #[test]
    fn lists_at_the_left_and_values_on_the_line() {
        let leftover = known("packer", 1).unwrap();
        assert_eq!(blanked("packer:\n- a\n- b\nc: 1\n", &leftover).unwrap(), "\n\n\nc: 1\n");
        assert_eq!(blanked("\"packer\": {a: 1,\n  b: 2}\nc: 1", &leftover).unwrap(), "\n\nc: 1\n");
        assert_eq!(blanked("x: {packer: 1}", &leftover), None);
        assert_eq!(blanked("packers: 1", &leftover), None);
        assert_eq!(blanked("", &leftover), None);
    }

    #[test]
    fn only_keys_of_the_go_server() {
        assert!(known("metaStoreConfig", 1).is_some());
        assert!(known("adress", 1).is_none());
    }
}
