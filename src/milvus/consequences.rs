//! What a server's version means for a task, in words for the status page.

use super::capabilities::{
    CallHeaders, Capabilities, GeneratedKeys, LaterDynamicField, LoadRetention, LogOverGrpc, PropertyRemoval,
    SchemaAlteration, Support,
};

/// Which side of a task a server is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerSide {
    /// It is followed.
    Source,
    /// It is written to.
    Target,
}

impl Capabilities {
    /// What follows from what this server can and cannot do, for a task with it on this side.
    pub fn consequences(&self, side: ServerSide) -> Vec<&'static str> {
        let untested = (self.support == Support::Untested, "no test runs against a server of this version");
        let of_side = match side {
            ServerSide::Source => self.as_source(),
            ServerSide::Target => self.as_target(),
        };
        let told = [untested].into_iter().chain(of_side);
        told.filter(|(applies, _)| *applies).map(|(_, sentence)| sentence).collect()
    }

    fn as_source(&self) -> Vec<(bool, &'static str)> {
        vec![
            (
                self.log_over_grpc == LogOverGrpc::Lacking,
                "its log cannot be read over gRPC (wal): only from its RocksMQ, Kafka or Pulsar, or by scan",
            ),
            (
                self.call_headers == CallHeaders::Dropped,
                "its log does not tell a task's writes from users': no task in the opposite direction",
            ),
            (
                self.load_retention == LoadRetention::LostOnRestart,
                "it forgets what is loaded when it restarts: rows cannot be read until somebody loads it again",
            ),
        ]
    }

    fn as_target(&self) -> Vec<(bool, &'static str)> {
        vec![
            (self.generated_keys == GeneratedKeys::OnlyGenerated, "collections with autoID are made without it here"),
            (self.property_removal == PropertyRemoval::Ignored, "properties that are removed at the source stay here"),
            (
                self.later_dynamic_field == LaterDynamicField::Impossible,
                "a collection that gets a dynamic field or other fields later is held",
            ),
            (
                self.schema_alteration == SchemaAlteration::Impossible,
                "fields that are dropped at the source stay here, and BM25 that is added later holds its collection",
            ),
            (
                self.load_retention == LoadRetention::LostOnRestart,
                "it forgets what is loaded when it restarts: the task loads its collections again",
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::super::server_version::ServerVersion;
    use super::*;

    fn of(version: &str, side: ServerSide) -> String {
        Capabilities::of(&ServerVersion::new(Some(version))).consequences(side).join("; ")
    }

    #[test]
    fn a_server_that_can_do_less_says_more() {
        assert_eq!(of("3.0.0", ServerSide::Target), "no test runs against a server of this version");
        let old = of("v2.3.5-lite", ServerSide::Target);
        assert!(old.contains("autoID") && old.contains("properties") && !old.contains("no test"), "{old}");
        assert!(of("milvus_lite-3.2.2", ServerSide::Target).contains("loads its collections again"));
        assert!(
            of("2.6.20", ServerSide::Target).contains("BM25") && !of("2.6.20", ServerSide::Target).contains("autoID")
        );
    }

    #[test]
    fn a_side_has_its_own_sentences() {
        assert!(of("v2.3.5", ServerSide::Source).contains("over gRPC"));
        let new = of("2.6.20", ServerSide::Source);
        assert!(new.contains("opposite direction") && !new.contains("over gRPC"), "{new}");
    }
}
