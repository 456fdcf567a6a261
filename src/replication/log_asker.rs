//! The thread that asks the log what the task wants to know: a log that does not answer holds up nothing else.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, RecvError, Sender, bounded};
use parking_lot::Mutex;

use super::event::{Event, Thread};
use super::log_past::LogPast;
use super::log_question::LogQuestion;
use super::source_away::SourcePresence;
use crate::domain::Channel;
use crate::failpoint::HandOver;
use crate::observe::thread::ThreadSpec;
use crate::source::Log;

/// Asks one question after the other.
pub(super) struct LogAsker {
    questions: Sender<LogQuestion>,
    answers: Receiver<Event>,
    /// Questions behind the one that is being asked.
    waiting: VecDeque<LogQuestion>,
    state: AskerState,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AskerState {
    Idle,
    Asking,
}

impl LogAsker {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub(super) fn start(
        task: &str,
        log: Arc<dyn Log>,
        past: Arc<Mutex<LogPast>>,
        presence: &SourcePresence,
    ) -> std::io::Result<LogAsker> {
        let is_away = matches!(presence, SourcePresence::Away(_));
        let (questions, asked) = bounded(1);
        let (reports, answers) = bounded(1);
        // As it was when the log was opened.
        let identity = log.identity();
        let thread = ThreadSpec::of_task("ask", task).spawn(move || {
            for question in asked {
                let answer = match &question {
                    // Whether that is retention or half of a restored log, nobody can tell now.
                    LogQuestion::AfterGap { channel, .. } if is_away => Event::OtherLog(format!(
                        "{channel}: the log lacks what comes next, and the source does not answer: nothing of it is \
                         passed over before it does"
                    )),
                    _ => answer(question, log.as_ref(), identity.as_deref(), &past),
                };
                if HandOver::LogAnswer.send(&reports, answer).is_err() {
                    return;
                }
            }
        })?;
        let (waiting, state) = (VecDeque::new(), AskerState::Idle);
        Ok(LogAsker { questions, answers, waiting, state, thread: Some(thread) })
    }

    /// Asks the log, after what it was asked before.
    pub(super) fn ask(&mut self, question: LogQuestion) {
        self.waiting.push_back(question);
        self.ask_next();
    }

    fn ask_next(&mut self) {
        if self.state == AskerState::Idle
            && let Some(question) = self.waiting.pop_front()
        {
            self.state = AskerState::Asking;
            if HandOver::LogQuestion.send(&self.questions, question).is_err() {
                log::error!("the thread that asks the log has ended unexpectedly");
            }
        }
    }

    /// The receiver of answers; what it receives goes through [`Self::received`].
    pub(super) fn answers(&self) -> &Receiver<Event> {
        &self.answers
    }

    /// An answer has been received: the next question is asked.
    pub(super) fn received(&mut self, answer: Result<Event, RecvError>) -> Event {
        self.state = AskerState::Idle;
        self.ask_next();
        answer.unwrap_or(Event::ThreadEnded(Thread::LogAsker))
    }
}

impl Drop for LogAsker {
    fn drop(&mut self) {
        self.questions = bounded(0).0;
        self.answers = bounded(0).1;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::error!("the thread that asks the log panicked");
        }
    }
}

/// A gap in another log means nothing, and the rows of another server must not take the place of what is there.
fn answer(question: LogQuestion, log: &dyn Log, identity: Option<&str>, past: &Mutex<LogPast>) -> Event {
    match &question {
        LogQuestion::AfterGap { channel, .. } if identity.is_some() && log.identity().as_deref() != identity => {
            Event::OtherLog(format!("{channel}: the source has another log now"))
        }
        LogQuestion::AfterGap { channel, .. } if has_gone_back(log, channel, past) => {
            Event::OtherLog(format!("{channel}: the log ends before what was read of it"))
        }
        _ => Event::LogAnswer(question.ask(log)),
    }
}

/// What is known of the past is copied first: the task's thread must not wait while the log is asked.
fn has_gone_back(log: &dyn Log, channel: &Channel, past: &Mutex<LogPast>) -> bool {
    let known = past.lock().clone();
    known.has_gone_back(log, channel)
}
