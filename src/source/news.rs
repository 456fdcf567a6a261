//! Word that a log has got something, from the threads that receive it to the one that reads.

use crossbeam_channel::{Receiver, Sender, bounded};

/// Shared by both sides. However often the word is given before it is taken, it is there once.
#[derive(Debug, Clone)]
pub(super) struct News {
    giver: Sender<()>,
    word: Receiver<()>,
}

impl Default for News {
    fn default() -> News {
        let (giver, word) = bounded(1);
        News { giver, word }
    }
}

impl News {
    /// Something has come.
    pub(super) fn give(&self) {
        // Full: the word is there already.
        let _ = self.giver.try_send(());
    }

    /// Whether something has come since the last call.
    pub(super) fn take(&self) -> bool {
        self.word.try_recv().is_ok()
    }

    /// What is ready when something has come. To be waited for only: [`News::take`] takes it.
    pub(super) fn word(&self) -> Receiver<()> {
        self.word.clone()
    }
}
