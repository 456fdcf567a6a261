/*!
Signals, received by a thread of their own.
*/

use std::io;
use std::thread;

use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The name of the signal that ends the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopSignal(pub &'static str);

/// Waits for a signal.
#[derive(Debug)]
pub struct StopListener(Receiver<StopSignal>);

/// Signals cannot be received.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for signals: {0}")]
pub struct SignalError(#[from] io::Error);

/// Listens from now on. SIGHUP is noted and ignored: a terminal that closes does not end the server.
///
/// # Errors
/// [`SignalError`] when the system does not let us.
pub fn listen() -> Result<StopListener, SignalError> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let (sender, receiver) = bounded(1);
    // Lives as long as the process: there is nothing that it would have to finish.
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in &mut signals {
            match signal {
                SIGHUP => log::info!("SIGHUP received and ignored"),
                // A second one while the server stops changes nothing.
                SIGTERM => drop(sender.try_send(StopSignal("SIGTERM"))),
                _ => drop(sender.try_send(StopSignal("SIGINT"))),
            }
        }
    })?;
    Ok(StopListener(receiver))
}

impl StopListener {
    /// Returns when the server shall stop.
    pub fn wait(&self) -> StopSignal {
        // The sender lives in a thread that ends with the process only.
        self.0.recv().unwrap_or(StopSignal("the end of the signal thread"))
    }
}
