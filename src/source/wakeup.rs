//! Wakes the reader thread: the threads that receive messages signal that there are some.

use crossbeam_channel::{Receiver, Sender, bounded};

/// A signal that both sides share. Signals that nobody has taken yet merge into one.
#[derive(Debug, Clone)]
pub(super) struct Wakeup {
    sender: Sender<()>,
    receiver: Receiver<()>,
}

impl Default for Wakeup {
    fn default() -> Wakeup {
        let (sender, receiver) = bounded(1);
        Wakeup { sender, receiver }
    }
}

impl Wakeup {
    /// Signals that something has arrived.
    pub(super) fn signal(&self) {
        // Full: a signal is pending already.
        let _ = self.sender.try_send(());
    }

    /// A function that signals, for a library that knows nothing of this type.
    pub(super) fn signaller(&self) -> impl Fn() + Send + Sync + 'static {
        let wakeup = self.clone();
        move || wakeup.signal()
    }

    /// Takes the signal: whether something has arrived since the last call.
    pub(super) fn take(&self) -> bool {
        self.receiver.try_recv().is_ok()
    }

    /// Becomes ready when something has arrived. Wait on it only: [`Wakeup::take`] takes the signal.
    pub(super) fn receiver(&self) -> Receiver<()> {
        self.receiver.clone()
    }
}
