/*!
The words of the domain as types: ids, positions, timestamps. No serde, no IO.
*/

mod change;
mod clock;
mod collection;
mod ids;
mod log_kind;
mod mark;
mod row;
mod site;
mod task_id;

pub use change::{Body, Delete, Insert, Keys, Record, Truncate};
pub use clock::Timestamp;
pub use collection::{CollectionName, CollectionRef, KeyField};
pub use ids::{Channel, CollectionId, ObjectKey, PartitionId, Position};
pub use log_kind::LogKind;
pub use mark::{Mark, MarkOrigin};
pub use row::{Column, RowLocation, Write};
pub use site::{PeerName, SourceSite};
pub use task_id::{InvalidTaskId, TaskId};
