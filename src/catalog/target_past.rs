/*!
Whether the target was restored to an earlier time: a server with the same ids and the same identity, which lacks what
was written to it of late.

What shows it is a row that the target had acknowledged and does not have any more (see `milvus::row_witness`). The rows
are kept on disk, so that a target that is restored while the task is away is noticed too. A file that is a moment old
only costs a comparison: a row in it that was removed in the last seconds of a process that was killed.
*/

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::error::CatalogError;
use crate::domain::RowLocation;
use crate::milvus::rows::Consistency;
use crate::milvus::{CallContext, Client, Error, WitnessRow};
use crate::storage::sealed_file::{self, SealedError};

const FORMAT: &str = "milvus-cdc target rows";
const VERSION: u32 = 1;
/// Time between two questions for rows in doubt.
const ASK_EVERY: Duration = Duration::from_secs(3);
/// Time between two writes of the file.
const SAVE_EVERY: Duration = Duration::from_secs(5);
/// Timeout of one question: whatever else the catalog does waits for it.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The file's content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct StoredPast {
    /// What the target must still have.
    #[serde(default)]
    rows: Vec<WitnessRow>,
    /// It was restored, and the task has not taken note of that yet: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restored: Option<String>,
}

/// What is known of the target's past, and its file.
pub(super) struct TargetPast {
    path: PathBuf,
    state: Mutex<PastState>,
}

struct PastState {
    stored: StoredPast,
    /// The rows of the file were handed to the connection.
    is_handed_over: bool,
    saved: Instant,
    asked: Option<Instant>,
}

impl TargetPast {
    /// Reads the rows in `folder`; a new task has none.
    ///
    /// # Errors
    /// The file exists but is damaged or unreadable.
    pub(super) fn open(folder: &Path) -> Result<TargetPast, SealedError> {
        let path = folder.join("target_rows.json");
        let stored = sealed_file::load(&path, FORMAT, VERSION)?.unwrap_or_default();
        let state = PastState { stored, is_handed_over: false, saved: Instant::now(), asked: None };
        Ok(TargetPast { path, state: Mutex::new(state) })
    }

    /// Looks for rows in doubt, when it is time: `ask` asks for them ([`find_missing`]), or leaves the target alone.
    /// Answers why the target must have been restored, until that is
    /// [`Self::settled`].
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn look(
        &self,
        client: &Client,
        ask: impl FnOnce() -> Option<Result<Option<WitnessRow>, CatalogError>>,
    ) -> Result<Option<String>, SealedError> {
        let mut state = self.state.lock();
        if !std::mem::replace(&mut state.is_handed_over, true) {
            client.witnesses().remember(state.stored.rows.clone());
        }
        if state.stored.restored.is_some() {
            return Ok(state.stored.restored.clone());
        }
        let is_due = state.asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY);
        if is_due && !client.has_lost_server() {
            state.asked = Some(Instant::now());
            match ask() {
                None | Some(Ok(None)) => {}
                Some(Ok(Some(row))) => {
                    let why = restored(client, &row);
                    self.save(&mut state, StoredPast { rows: Vec::new(), restored: Some(why.clone()) })?;
                    return Ok(Some(why));
                }
                // It is asked again.
                Some(Err(error)) => log::debug!("{error}"),
            }
        }
        if state.saved.elapsed() >= SAVE_EVERY {
            self.keep(&mut state, client)?;
        }
        Ok(None)
    }

    /// The task has taken note.
    pub(super) fn settled(&self, client: &Client) -> Result<(), SealedError> {
        client.witnesses().settle();
        self.save(&mut self.state.lock(), StoredPast { rows: client.witnesses().rows(), restored: None })
    }

    /// The task ends: what it has written is kept.
    pub(super) fn leave(&self, client: &Client) -> Result<(), SealedError> {
        self.keep(&mut self.state.lock(), client)
    }

    fn keep(&self, state: &mut PastState, client: &Client) -> Result<(), SealedError> {
        if !state.is_handed_over {
            return Ok(());
        }
        let rows = client.witnesses().rows();
        self.save(state, StoredPast { rows, ..state.stored.clone() })
    }

    fn save(&self, state: &mut PastState, next: StoredPast) -> Result<(), SealedError> {
        state.saved = Instant::now();
        if next != state.stored {
            sealed_file::save(&self.path, FORMAT, VERSION, &next)?;
            state.stored = next;
        }
        Ok(())
    }
}

/// Asks the target for rows in doubt. Answers one that it certainly lacks. A row that it cannot show at present,
/// because its collection is not loaded, stays in doubt.
pub(super) fn find_missing(client: &Client, context: &CallContext) -> Result<Option<WitnessRow>, Error> {
    let context = &CallContext { timeout: TIMEOUT, ..context.clone() };
    let witnesses = client.witnesses();
    for row in witnesses.in_doubt() {
        let place = RowLocation::within(&row.name(), "");
        match client.count_matching(&place, row.expression(), Consistency::Strong, context) {
            Ok(count) => {
                if witnesses.note(&row, count != Some(0), Instant::now()) {
                    return Ok(Some(row));
                }
            }
            Err(error) if error.is_silence() => return Err(error),
            // That it is lost is noticed otherwise.
            Err(error) if error.is_collection_missing() || error.is_database_missing() => {
                witnesses.forget(&row.name());
            }
            Err(error) => log::debug!("{error}"),
        }
    }
    Ok(None)
}

fn restored(client: &Client, row: &WitnessRow) -> String {
    format!(
        "the target {} was restored to an earlier time, or somebody has removed rows there: it lacks {row}, which it \
         had acknowledged: all collections are compared with the source",
        client.address()
    )
}

#[cfg(test)]
mod fault_tests;
