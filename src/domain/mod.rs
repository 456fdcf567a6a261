/*!
The words of the domain as types: ids, positions, timestamps. No serde, no IO.
*/

mod clock;
mod ids;

pub use clock::Timestamp;
pub use ids::{Channel, CollectionId, PartitionId, Position};
