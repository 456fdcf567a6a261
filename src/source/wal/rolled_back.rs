//! Whether a source was restored to an earlier time: its log lacks a message that was read, and has older ones.

use std::time::Duration;

use super::collection_start::deepest_places;
use super::error::WalStartError;
use super::question::{DumpReply, Questioner, TickRange};
use super::resume_point::ResumePoint;

/// How long each question may take: a task that starts waits for the answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether the message that was read last is missing, though there are older ones: retention removes those first.
/// Where the server does not say, it is not.
pub(super) fn is_rolled_back(questioner: Questioner<'_>, read: &ResumePoint) -> Result<bool, WalStartError> {
    let (witness, queue) = (read.witness, read.start.queue);
    let ask_for_it = |start: (&str, i32)| {
        let range = TickRange { from: witness, until: witness, patience: PATIENCE };
        questioner.find(start, range, |message| message.tick == witness)
    };
    if matches!(ask_for_it((&read.start.text, queue.number()))?, DumpReply::Found(_)) {
        return Ok(false);
    }
    for place in deepest_places(queue) {
        let (start, range) =
            ((place.id.as_str(), place.queue), TickRange { from: 0, until: witness, patience: PATIENCE });
        if let DumpReply::Found(oldest) = questioner.find(start, range, |_| true)? {
            return Ok(oldest.tick < witness && matches!(ask_for_it(start)?, DumpReply::NotThere));
        }
    }
    Ok(false)
}
