/*!
Signals, received by a thread of their own.
*/

use std::io;
use std::thread;

use crossbeam_channel::{Receiver, bounded, select};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// End the server; the signal's name.
    Stop(&'static str),
    /// Read the configuration again (SIGHUP).
    Reload,
}

/// Waits for signals.
#[derive(Debug)]
pub struct SignalListener {
    stop: Receiver<&'static str>,
    /// Apart from `stop`, so that a stop never waits behind it.
    reload: Receiver<()>,
}

/// Signals cannot be received.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for signals: {0}")]
pub struct SignalError(#[from] io::Error);

/// Listens from now on.
///
/// # Errors
/// [`SignalError`] when the system does not let us.
pub fn listen() -> Result<SignalListener, SignalError> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let (stop_sender, stop) = bounded(1);
    let (reload_sender, reload) = bounded(1);
    // Lives as long as the process: there is nothing that it would have to finish.
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in &mut signals {
            match signal {
                // One that waits already will read the newest file.
                SIGHUP => drop(reload_sender.try_send(())),
                // A second one while the server stops changes nothing.
                SIGTERM => drop(stop_sender.try_send("SIGTERM")),
                _ => drop(stop_sender.try_send("SIGINT")),
            }
        }
    })?;
    Ok(SignalListener { stop, reload })
}

impl SignalListener {
    /// Returns with the next signal.
    pub fn wait(&self) -> Signal {
        // The senders live in a thread that ends with the process only.
        let ended = Signal::Stop("the end of the signal thread");
        select! {
            recv(self.stop) -> name => name.map_or(ended, Signal::Stop),
            recv(self.reload) -> reload => reload.map_or(ended, |()| Signal::Reload),
        }
    }
}
