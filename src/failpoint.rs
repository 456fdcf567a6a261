/*!
Marks the places where a test may let a file step, a call to a server or a hand-over between threads go wrong.

A crash between two steps, a full disk or an answer that never arrives cannot be ordered from the outside at the right
moment; `kill -9` on real servers meets such a moment by luck. A test installs `Faults` and names the moment.

Only the crate's own unit tests have code here (`cfg(test)`): in every other build the functions are empty, and nothing
else of the crate or of its dependencies is built differently. What a test installs applies to its own thread and to
the threads started below it, since unit tests share one process.
*/

use std::io;
use std::path::Path;

use crossbeam_channel::{SendError, Sender, TrySendError};

#[cfg(test)]
mod disk_state;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod walk;

#[cfg(test)]
pub(crate) use self::faults::{
    CallFault, Faults, FileFault, Gate, HandOverFault, are_installed, die_now, on_call, on_write,
};

/// One step that changes the disk.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(test), expect(dead_code, reason = "only tests look at what a step concerns"))]
pub(crate) enum FileStep<'a> {
    CreateFolder(&'a Path),
    /// Opens a file for writing, which may make it.
    Open(&'a Path),
    Write(&'a Path),
    SetLength(&'a Path),
    /// Brings a file's content to the disk.
    Sync(&'a Path),
    Rename {
        from: &'a Path,
        to: &'a Path,
    },
    /// Brings a folder's names to the disk.
    SyncFolder(&'a Path),
    Remove(&'a Path),
    RemoveFolder(&'a Path),
}

/// A bounded channel between two threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandOver {
    /// The task to its log reader.
    LogCommand,
    /// The log reader to the task.
    LogEvent,
    /// The task to its catalog.
    CatalogHint,
    /// The catalog to the task.
    CatalogEvent,
    /// The catalog to a thread that takes its steps.
    CatalogStep,
    /// A thread that takes the catalog's steps to the catalog.
    CatalogReport,
    /// The task to a thread that writes to the target.
    SinkCall,
    /// A thread that writes to the target to the task.
    SinkReport,
    /// The task to a backfill thread.
    BackfillJob,
    /// A backfill thread to the task.
    BackfillReport,
    /// The task to the thread that asks the log.
    LogQuestion,
    /// The thread that asks the log to the task.
    LogAnswer,
    /// A thread that reads rows ahead to the one that compares them.
    Page,
}

/// About to change the disk.
///
/// # Errors
/// What a test wants the step to fail with.
#[inline(always)]
pub(crate) fn file(step: FileStep<'_>) -> io::Result<()> {
    #[cfg(test)]
    faults::on_file(step)?;
    let _ = step;
    Ok(())
}

impl HandOver {
    /// Sends on this channel, waiting for room.
    ///
    /// # Errors
    /// The other thread has ended.
    pub(crate) fn send<T>(self, sender: &Sender<T>, value: T) -> Result<(), SendError<T>> {
        #[cfg(test)]
        if !faults::on_hand_over(self) {
            return Err(SendError(value));
        }
        sender.send(value)
    }

    /// Sends on this channel, if there is room.
    ///
    /// # Errors
    /// There is none, or the other thread has ended.
    pub(crate) fn try_send<T>(self, sender: &Sender<T>, value: T) -> Result<(), TrySendError<T>> {
        #[cfg(test)]
        if !faults::on_hand_over(self) {
            return Err(TrySendError::Disconnected(value));
        }
        sender.try_send(value)
    }
}

/// The faults of the calling thread, for a thread that it starts.
pub(crate) struct FaultScope {
    #[cfg(test)]
    faults: Option<std::sync::Arc<faults::Shared>>,
}

impl FaultScope {
    #[inline(always)]
    pub(crate) fn of_this_thread() -> FaultScope {
        FaultScope {
            #[cfg(test)]
            faults: faults::current(),
        }
    }

    /// To be called by the new thread.
    #[inline(always)]
    pub(crate) fn enter(self) {
        #[cfg(test)]
        faults::enter(self.faults);
    }
}
