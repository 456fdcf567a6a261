//! Records of the log that are passed over: what is logged and counted of them.

use crate::domain::{Body, Channel, Position};

/// What is counted of a record that changes no row of ours, or that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PassedOver {
    /// Nothing needs to be done about it; Milvus's name of its type.
    Needless(&'static str),
    /// Something at the source is not replicated by it.
    Skipped { reason: &'static str, why: String },
    /// It is not passed over.
    Nothing,
}

impl PassedOver {
    /// Logs it.
    pub(super) fn new(channel: &Channel, at: Position, body: &Body) -> PassedOver {
        match body {
            Body::BulkImport { db, collection } => {
                let why = format!(
                    "{db}.{collection}: files were imported at the source; their rows are not in the log and are not \
                     carried over"
                );
                log::error!("{why}");
                PassedOver::Skipped { reason: "bulk import", why }
            }
            Body::Ignored(name) => {
                log::debug!("{channel}: {name} at {at} needs nothing");
                PassedOver::Needless(name)
            }
            Body::Unknown(kind) => {
                let why = format!("{channel}: the message at {at} is passed over: its type {kind} is not known");
                log::warn!("{why}");
                PassedOver::Skipped { reason: "message of an unknown type", why }
            }
            Body::Undecodable(error) => {
                let why = format!("{channel}: the message at {at} is passed over: {error}");
                log::warn!("{why}");
                PassedOver::Skipped { reason: "undecodable message", why }
            }
            _ => PassedOver::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_replicated_is_named() {
        let passed_over = |body| PassedOver::new(&Channel::new("dml_0"), Position::at(7), &body);
        let why = "dml_0: the message at 7 is passed over: its type 999 is not known".to_owned();
        let unknown = PassedOver::Skipped { reason: "message of an unknown type", why };
        assert_eq!(passed_over(Body::Unknown(999)), unknown);
        assert_eq!(passed_over(Body::Ignored("Flush")), PassedOver::Needless("Flush"));
        assert_eq!(passed_over(Body::Tick { resume: None }), PassedOver::Nothing);
    }
}
