/*!
Signals, received on a thread of their own.
*/

use std::io;

use crossbeam_channel::{Receiver, bounded, select};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::observe::thread::ThreadSpec;

/// The request that a signal makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Stop the server; the signal's name.
    Stop(&'static str),
    /// Reload the configuration (SIGHUP).
    Reload,
}

/// Waits for signals.
#[derive(Debug)]
pub struct SignalListener {
    stop: Receiver<&'static str>,
    /// Separate from `stop`, so that a stop never waits behind a reload.
    reload: Receiver<()>,
}

/// Signals cannot be received.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for signals: {0}")]
pub struct SignalError(#[from] io::Error);

/// Starts to receive signals.
///
/// # Errors
/// [`SignalError`] when a handler or the thread cannot be installed.
pub fn listen() -> Result<SignalListener, SignalError> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let (stop_sender, stop) = bounded(1);
    let (reload_sender, reload) = bounded(1);
    // Never joined: the thread lives as long as the process and has nothing to finish.
    ThreadSpec::of_server("signals").spawn(move || {
        for signal in &mut signals {
            match signal {
                // A pending reload will read the newest file.
                SIGHUP => drop(reload_sender.try_send(())),
                // A second stop signal changes nothing.
                SIGTERM => drop(stop_sender.try_send("SIGTERM")),
                _ => drop(stop_sender.try_send("SIGINT")),
            }
        }
    })?;
    Ok(SignalListener { stop, reload })
}

impl SignalListener {
    /// Waits for the next signal.
    pub fn wait(&self) -> Signal {
        // The senders belong to a thread that ends only with the process.
        let ended = Signal::Stop("the end of the signal thread");
        select! {
            recv(self.stop) -> name => name.map_or(ended, Signal::Stop),
            recv(self.reload) -> reload => reload.map_or(ended, |()| Signal::Reload),
        }
    }
}
