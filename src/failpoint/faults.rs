//! The faults that a test has installed, and what becomes of a thread that reaches one.

use std::cell::RefCell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rustix::io::Errno;

use super::disk_state::{DiskState, Names};
use super::{FileStep, HandOver};

/// A guard against hanging; nothing waits as long.
const LONG: Duration = Duration::from_secs(60);

/// What happens instead of a step that changes the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileFault {
    /// It fails and nothing is done.
    Fails(Errno),
    /// Half of what is to be written gets there before it fails; other steps just fail.
    FailsHalfway(Errno),
    /// The process dies before it.
    Crash,
    /// The process dies after half of what is to be written.
    CrashHalfway,
    /// The machine dies before it: content that was not synced is lost, names are kept.
    ContentLoss,
    /// The machine dies before it: content and names that were not synced are lost.
    PowerLoss,
}

impl FileFault {
    /// Every way to die.
    pub(crate) const DEATHS: [FileFault; 4] =
        [FileFault::Crash, FileFault::CrashHalfway, FileFault::ContentLoss, FileFault::PowerLoss];
    /// A full disk, a broken one, and a folder that may not be written, which root cannot make otherwise.
    pub(crate) const ERRORS: [FileFault; 6] = [
        FileFault::Fails(Errno::NOSPC),
        FileFault::FailsHalfway(Errno::NOSPC),
        FileFault::Fails(Errno::IO),
        FileFault::FailsHalfway(Errno::IO),
        FileFault::Fails(Errno::ROFS),
        FileFault::Fails(Errno::ACCESS),
    ];
}

/// What happens to a call to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallFault {
    /// It does not reach the server.
    Unreachable,
    /// The server carries it out, and the answer does not arrive.
    AnswerLost,
    /// The server refuses it with this code.
    Refused(i32),
    /// A limit in front of it refuses it: this many bytes per second.
    RateLimited(u32),
    /// The server does not know the login any more.
    LoginRefused,
    /// The server takes no message of that size.
    TooLarge,
    /// The calling thread panics, and the process lives on.
    Panics,
    /// The process dies before it is sent.
    CrashBefore,
    /// The process dies after the server has carried it out.
    CrashAfter,
}

/// What happens when something is handed to another thread.
#[derive(Debug, Clone)]
pub(crate) enum HandOverFault {
    /// The thread stops there until the gate is opened.
    Pause(Gate),
    /// Nobody listens any more.
    Closed,
    /// The process dies before it.
    Crash,
}

/// Holds a thread up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Debug, Default)]
struct GateState {
    is_reached: bool,
    is_open: bool,
}

impl Gate {
    /// Waits until a thread stands before it.
    pub(crate) fn wait_until_reached(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock();
        while !state.is_reached {
            assert!(!changed.wait_for(&mut state, LONG).timed_out(), "no thread came to the gate");
        }
    }

    pub(crate) fn open(&self) {
        let (state, changed) = &*self.0;
        state.lock().is_open = true;
        changed.notify_all();
    }

    /// Stops here until the gate is open.
    pub(crate) fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock();
        state.is_reached = true;
        changed.notify_all();
        while !state.is_open {
            assert!(!changed.wait_for(&mut state, LONG).timed_out(), "nobody opened the gate");
        }
    }
}

/// The process of the test has died, as far as the test is concerned: memory is gone, files are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Died;

/// The n-th from now on, counted down to 0 when it strikes.
#[derive(Debug, Clone, Copy)]
struct Countdown(usize);

impl Countdown {
    fn strikes(&mut self) -> bool {
        self.0 = self.0.wrapping_sub(1);
        self.0 == 0
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    disk: DiskState,
    file: Option<(Countdown, FileFault)>,
    /// Every step from now on, until it is taken back.
    all_files: Option<FileFault>,
    /// The first half of a write is done.
    next_file: Option<FileFault>,
    calls: Vec<(&'static str, Countdown, CallFault)>,
    /// Calls of a method about an object whose name ends so.
    held_calls: Vec<(&'static str, &'static str, Gate)>,
    hand_overs: Vec<(HandOver, Countdown, HandOverFault)>,
    /// A fault has struck since the last one was set.
    struck: bool,
    /// Steps, calls and hand-overs in words, for a test that fails.
    trace: Vec<String>,
    is_dead: bool,
}

/// One test's faults.
#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    died: Condvar,
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
}

pub(super) fn current() -> Option<Arc<Shared>> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// Whether a test has installed faults for this thread.
pub(crate) fn are_installed() -> bool {
    current().is_some()
}

pub(super) fn enter(faults: Option<Arc<Shared>>) {
    CURRENT.set(faults);
}

/// The faults of the test that holds this; none are left when it is dropped.
#[derive(Debug)]
pub(crate) struct Faults(Arc<Shared>);

impl Drop for Faults {
    fn drop(&mut self) {
        enter(None);
    }
}

impl Faults {
    /// From here on the points that this thread reaches, and the threads below it, are counted.
    pub(crate) fn install() -> Faults {
        assert!(current().is_none(), "this thread has faults already");
        let shared = Arc::new(Shared::default());
        enter(Some(Arc::clone(&shared)));
        Faults(shared)
    }

    /// Lets the n-th step from now on that changes the disk go wrong, counted from 1.
    pub(crate) fn at_file_step(&self, n: usize, fault: FileFault) {
        let mut state = self.0.state.lock();
        (state.file, state.struck) = (Some((Countdown(n), fault)), false);
    }

    /// Lets every step from now on that changes the disk go wrong, until [`Self::clear`].
    pub(crate) fn at_every_file_step(&self, fault: FileFault) {
        self.0.state.lock().all_files = Some(fault);
    }

    /// Lets the n-th call of a method from now on go wrong, counted from 1; `"*"`: of any method.
    pub(crate) fn at_call(&self, method: &'static str, n: usize, fault: CallFault) {
        let mut state = self.0.state.lock();
        state.calls.push((method, Countdown(n), fault));
        state.struck = false;
    }

    /// A gate at every call of a method about an object whose name ends so, until [`Self::clear`].
    pub(crate) fn hold_calls(&self, method: &'static str, object: &'static str) -> Gate {
        let gate = Gate::default();
        self.0.state.lock().held_calls.push((method, object, gate.clone()));
        gate
    }

    /// Lets the n-th hand-over on this channel from now on go wrong, counted from 1.
    pub(crate) fn at_hand_over(&self, channel: HandOver, n: usize, fault: HandOverFault) {
        let mut state = self.0.state.lock();
        state.hand_overs.push((channel, Countdown(n), fault));
        state.struck = false;
    }

    /// A gate at the n-th hand-over on this channel from now on.
    pub(crate) fn pause_at(&self, channel: HandOver, n: usize) -> Gate {
        let gate = Gate::default();
        self.at_hand_over(channel, n, HandOverFault::Pause(gate.clone()));
        gate
    }

    /// Whether the fault that was set last, or one before it, has struck.
    pub(crate) fn has_struck(&self) -> bool {
        self.0.state.lock().struck
    }

    /// Takes back what has not struck.
    pub(crate) fn clear(&self) {
        let mut state = self.0.state.lock();
        (state.file, state.all_files, state.next_file) = (None, None, None);
        state.calls.clear();
        state.held_calls.clear();
        state.hand_overs.clear();
    }

    /// What was reached so far, in words.
    pub(crate) fn trace(&self) -> Vec<String> {
        self.0.state.lock().trace.clone()
    }

    /// Waits until a thread below this one has met its death.
    pub(crate) fn wait_until_dead(&self) {
        let mut state = self.0.state.lock();
        while !state.is_dead {
            assert!(!self.0.died.wait_for(&mut state, LONG).timed_out(), "no thread died");
        }
    }

    /// Runs a part of a process's life. After a death the next part is another process: it finds the files, no faults
    /// and nothing else.
    pub(crate) fn process<T>(&self, life: impl FnOnce() -> T) -> Result<T, Died> {
        let outcome = catch_unwind(AssertUnwindSafe(life));
        let died = std::mem::take(&mut self.0.state.lock().is_dead);
        match outcome {
            Ok(value) if !died => Ok(value),
            Err(panic) if !panic.is::<Died>() => resume_unwind(panic),
            _ => {
                self.clear();
                Err(Died)
            }
        }
    }

    /// The machine loses its power now, between two steps.
    pub(crate) fn lose_power(&self) {
        self.0.state.lock().disk.lose(Names::Lost);
    }
}

/// Ends the thread, or lets a step of one that is ending already fail.
fn die() -> io::Error {
    if std::thread::panicking() {
        return io::Error::other("the process is dead");
    }
    resume_unwind(Box::new(Died))
}

impl Shared {
    fn wait_at_gate(&self, method: &str, object: &str) {
        let state = self.state.lock();
        let is_meant = |(of, about, _): &&(&'static str, &'static str, Gate)| *of == method && object.ends_with(about);
        let gate = state.held_calls.iter().find(is_meant).map(|(.., gate)| gate.clone());
        drop(state);
        if let Some(gate) = gate {
            gate.pass();
        }
    }

    fn kill(&self, mut state: parking_lot::MutexGuard<'_, State>) -> io::Error {
        state.is_dead = true;
        drop(state);
        self.died.notify_all();
        die()
    }
}

impl State {
    fn file_fault(&mut self) -> Option<FileFault> {
        if let Some(fault) = self.next_file.take() {
            return Some(fault);
        }
        if let Some((countdown, fault)) = &mut self.file
            && countdown.strikes()
        {
            let fault = *fault;
            (self.file, self.struck) = (None, true);
            return Some(fault);
        }
        self.all_files
    }
}

pub(super) fn on_file(step: FileStep<'_>) -> io::Result<()> {
    let Some(shared) = current() else { return Ok(()) };
    let mut state = shared.state.lock();
    if state.is_dead {
        drop(state);
        return Err(die());
    }
    state.trace.push(step.words());
    let Some(fault) = state.file_fault() else {
        state.disk.follow(step);
        return Ok(());
    };
    match fault {
        FileFault::Fails(errno) | FileFault::FailsHalfway(errno) => return Err(errno.into()),
        FileFault::Crash | FileFault::CrashHalfway => {}
        FileFault::ContentLoss => state.disk.lose(Names::Kept),
        FileFault::PowerLoss => state.disk.lose(Names::Lost),
    }
    Err(shared.kill(state))
}

pub(crate) fn on_write(path: &Path, length: usize) -> io::Result<usize> {
    let Some(shared) = current() else { return Ok(length) };
    {
        let mut state = shared.state.lock();
        let fault = match state.file {
            Some((Countdown(1), fault)) => Some(fault),
            _ => state.all_files,
        };
        let is_halfway = matches!(fault, Some(FileFault::FailsHalfway(_) | FileFault::CrashHalfway));
        if is_halfway && !state.is_dead && state.next_file.is_none() && length > 1 {
            (state.file, state.struck, state.next_file) = (None, true, fault);
            state.trace.push(format!("half of {}", FileStep::Write(path).words()));
            state.disk.follow(FileStep::Write(path));
            return Ok(length / 2);
        }
    }
    on_file(FileStep::Write(path)).map(|()| length)
}

/// A call about this object is about to be made: what is to happen to it.
pub(crate) fn on_call(method: &'static str, object: &str) -> Option<CallFault> {
    let shared = current()?;
    shared.wait_at_gate(method, object);
    let mut state = shared.state.lock();
    if state.is_dead {
        drop(state);
        drop(die());
        return Some(CallFault::Unreachable);
    }
    state.trace.push(method.to_owned());
    let mut met = None;
    state.calls.retain_mut(|(wanted, countdown, fault)| {
        let strikes = (*wanted == "*" || *wanted == method) && countdown.strikes();
        met = met.or(strikes.then_some(*fault));
        !strikes
    });
    state.struck |= met.is_some();
    if met == Some(CallFault::CrashBefore) {
        drop(shared.kill(state));
    }
    met
}

/// The process dies now, by what was decided before.
pub(crate) fn die_now() {
    if let Some(shared) = current() {
        drop(shared.kill(shared.state.lock()));
    }
}

pub(super) fn on_hand_over(channel: HandOver) -> bool {
    let Some(shared) = current() else { return true };
    let mut state = shared.state.lock();
    if state.is_dead {
        drop(state);
        drop(die());
        return false;
    }
    state.trace.push(format!("{channel:?}"));
    let mut met = None;
    state.hand_overs.retain_mut(|(wanted, countdown, fault)| {
        let strikes = *wanted == channel && countdown.strikes();
        if strikes {
            met = Some(fault.clone());
        }
        !strikes
    });
    state.struck |= met.is_some();
    match met {
        None => true,
        Some(HandOverFault::Closed) => false,
        Some(HandOverFault::Pause(gate)) => {
            drop(state);
            gate.pass();
            true
        }
        Some(HandOverFault::Crash) => {
            drop(shared.kill(state));
            false
        }
    }
}
