/*!
The words of the domain as types: ids, positions, timestamps. No serde, no IO.
*/

mod clock;
mod ids;
mod log_kind;
mod pulsar_id;

pub use clock::Timestamp;
pub use ids::{Channel, CollectionId, ObjectKey, PartitionId, Position};
pub use log_kind::LogKind;
