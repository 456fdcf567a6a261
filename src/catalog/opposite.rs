/*!
Whether a task in the opposite direction brings rows to this task's source, and whether they can be told from those of
users. If they cannot, every row would circle: nothing is replicated then.

A task that starts asks at its target (see [`Announcement`]) and waits a moment for an answer at its source. What the
log shows of the answer decides: with its mark, the other's marks come through. A task that runs answers, and looks at
the announcements that come later: the way that the other's calls take may change.

Where logs keep no marks, listings alone tell, and an answer refuses whoever has asked. So a task must not be missed
that is busy or cut off just then: a question stands there for longer ([`STANDS_UNMARKED`]) than a task goes without
asking anew ([`ABSENCE`]), and an answer counts whenever it comes. Only who replicates answers, so that one of the two
goes on; of two that ask at once, the one that has asked later gives way.
*/

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::CatalogError;
use crate::domain::{LogKind, Mark};
use crate::milvus::announcement::{Announcement, AnnouncementKind, Site};
use crate::milvus::capabilities::CallHeaders;
use crate::milvus::{CallContext, Client, Error};
use standing::StandingAnnouncements;

mod standing;

/// Whether a log keeps the marks of the calls that it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogMarks {
    /// It does, and shows requests on a channel of their own.
    Kept,
    /// It does not, or there is no log.
    Dropped,
}

impl LogMarks {
    /// Whether logs of this kind do.
    pub(crate) fn of(kind: LogKind) -> LogMarks {
        if kind.has_request_channel() { LogMarks::Kept } else { LogMarks::Dropped }
    }
}

/// Whether the task may replicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OppositeAdmission {
    Granted,
    /// It is not known yet.
    Pending,
}

/// A database that the source's log shows to have been created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoggedAnnouncement {
    pub(crate) name: String,
    pub(crate) mark: Option<Mark>,
}

/// The two servers of a task.
pub(crate) struct OppositeServers {
    pub(crate) source: Arc<Client>,
    pub(crate) target: Arc<Client>,
    pub(crate) call: CallContext,
}

/// How long an answer is waited for that the log shows: one took 0.15 s between idle servers.
const PATIENCE: Duration = Duration::from_secs(1);
/// The same where only listings show it.
const PATIENCE_OF_LISTINGS: Duration = Duration::from_secs(2);
/// How long the log may take to show an answer that is listed already.
const LOG_PATIENCE: Duration = Duration::from_secs(5);
/// How long announcements stand: whoever lists the server twice a second sees them.
const STANDS: Duration = Duration::from_secs(3);
/// The same where only listings show them.
const STANDS_UNMARKED: Duration = Duration::from_secs(20);
/// A task that has not looked at its source for so long may have missed a question there: it asks itself.
const ABSENCE: Duration = Duration::from_secs(10);
/// How long after the question of an unknown task that one is asked: it may only have been a check.
const ASK_BACK: Duration = Duration::from_secs(3);
/// How soon a task asks again that may not replicate.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// The same where only the end of the other task changes anything.
const ASK_AGAIN_UNMARKED: Duration = Duration::from_secs(60);
/// A process that died has left what is older.
const STALE: Duration = Duration::from_secs(60);

/// The watch for a task in the opposite direction.
pub(super) struct Opposite {
    servers: OppositeServers,
    log: LogMarks,
    sites: Option<Sites>,
    stage: OppositeStage,
    standing: StandingAnnouncements,
    answered: BTreeSet<Announcement>,
    /// The last question.
    question: Option<Announcement>,
    /// The question of another one that this task has given way to.
    yielded: Option<Announcement>,
    /// When to ask whoever has asked.
    ask_back: Option<Instant>,
    /// When the source was looked at last.
    looked: Option<Instant>,
    /// A task in the opposite direction has answered.
    is_met: bool,
    /// Why a question could not be asked: nobody could have answered.
    unasked: Option<String>,
    /// Answers that were listed and that the log has not shown.
    unseen: u32,
    /// The log has shown an answer with its mark.
    is_proven: bool,
}

/// Who the servers are.
#[derive(Debug, Clone, Copy)]
struct Sites {
    source: Site,
    target: Site,
}

enum OppositeStage {
    Asking,
    Listening {
        until: Instant,
    },
    /// The answer is listed, and the log has not shown it yet.
    AwaitingMark {
        until: Instant,
    },
    Granted,
    Refused {
        why: String,
        ask_at: Instant,
    },
}

impl Opposite {
    pub(super) fn new(servers: OppositeServers, log: LogMarks) -> Opposite {
        let standing = StandingAnnouncements::new(Arc::clone(&servers.target), &servers.call);
        Opposite {
            servers,
            log,
            sites: None,
            stage: OppositeStage::Asking,
            standing,
            answered: BTreeSet::new(),
            question: None,
            yielded: None,
            ask_back: None,
            looked: None,
            is_met: false,
            unasked: None,
            unseen: 0,
            is_proven: false,
        }
    }

    /// Whether the task replicates.
    pub(super) fn is_granted(&self) -> bool {
        matches!(self.stage, OppositeStage::Granted)
    }

    /// Whether a task in the opposite direction has been found to run.
    pub(super) fn is_met(&self) -> bool {
        self.is_met
    }

    /// Whether the log has shown an answer with its mark.
    pub(super) fn is_proven(&self) -> bool {
        self.is_proven
    }

    /// Why nobody could be asked, where nothing else protects.
    pub(super) fn why_unasked(&self) -> Option<&str> {
        self.unasked.as_deref().filter(|_| self.is_unmarked())
    }

    /// Whether only listings show what a task in the opposite direction says.
    pub(super) fn is_unmarked(&self) -> bool {
        self.log == LogMarks::Dropped
    }

    /// One round: what the log has shown since the last one is judged, and questions are answered. `listed`: what
    /// stands at the source; `None` if that has to be asked.
    ///
    /// # Errors
    /// [`CatalogError::Unprotected`] while nothing may be replicated; a server does not answer.
    pub(super) fn round(
        &mut self,
        listed: Option<Vec<Announcement>>,
        logged: &[LoggedAnnouncement],
        now: Instant,
    ) -> Result<OppositeAdmission, CatalogError> {
        self.standing.withdraw(now);
        if matches!(&self.stage, OppositeStage::Refused { ask_at, .. } if now >= *ask_at) {
            self.stage = OppositeStage::Asking;
        }
        if matches!(self.stage, OppositeStage::Asking) {
            self.ask(now)?;
        }
        let Some(sites) = self.sites else { return Ok(OppositeAdmission::Granted) };
        let parsed = logged.iter().filter_map(|logged| Some((Announcement::parse(&logged.name)?, logged.mark)));
        for (announcement, mark) in parsed.filter(|(announcement, _)| announcement.site == sites.target) {
            self.on_logged(&announcement, mark, now);
            self.answer(sites, &announcement, now)?;
        }
        let listed = match listed {
            Some(listed) => listed,
            None => self.servers.source.announcements(&self.servers.call).map_err(CatalogError::Source)?,
        };
        for announcement in listed.iter().filter(|announcement| announcement.site == sites.target) {
            self.on_listed(sites, announcement, now)?;
        }
        self.on_time(now);
        self.ask_anew(sites, now);
        match &self.stage {
            OppositeStage::Granted => Ok(OppositeAdmission::Granted),
            OppositeStage::Refused { why, .. } => Err(CatalogError::Unprotected(why.clone())),
            OppositeStage::Asking | OppositeStage::Listening { .. } | OppositeStage::AwaitingMark { .. } => {
                Ok(OppositeAdmission::Pending)
            }
        }
    }

    /// Asks at the target. Where that cannot be done, nobody could have answered.
    fn ask(&mut self, now: Instant) -> Result<(), CatalogError> {
        let OppositeServers { source, target, call } = &self.servers;
        let at_source = source.site(call).map_err(CatalogError::Source)?;
        let at_target = target.site(self.standing.call())?;
        self.sites = match (at_source, at_target) {
            // A copy of the source's volume is no other site.
            (Some(source), Some(target)) if source != target => Some(Sites { source, target }),
            _ => None,
        };
        let is_ours = |announcement: &Announcement| {
            self.sites.is_some_and(|sites| announcement.site == sites.source) && announcement.asked().age() > STALE
        };
        self.standing.remove_abandoned(is_ours)?;
        let Some(sites) = self.sites else {
            self.stage = OppositeStage::Granted;
            return Ok(());
        };
        match drop_marks([&self.servers.source, &self.servers.target], &self.servers.call) {
            Ok(true) => self.log = LogMarks::Dropped,
            Err(error) if error.is_silence() => return Err(error.into()),
            // What is not known by the version shows when an answer comes.
            Ok(false) | Err(_) => {}
        }
        let patience = if self.is_unmarked() { PATIENCE_OF_LISTINGS } else { PATIENCE };
        self.stage = match self.put_question(sites, now) {
            Ok(()) => OppositeStage::Listening { until: now + patience },
            Err(error) if error.is_silence() => return Err(error.into()),
            Err(error) => {
                let why = format!("a task in the opposite direction would not be noticed: {error}");
                log::warn!("{why}");
                self.unasked = Some(why);
                OppositeStage::Granted
            }
        };
        Ok(())
    }

    fn put_question(&mut self, sites: Sites, now: Instant) -> Result<(), Error> {
        let question = Announcement::question(sites.source);
        self.standing.announce(&question, now, self.stands_until(now))?;
        self.question = Some(question);
        Ok(())
    }

    fn stands_until(&self, now: Instant) -> Instant {
        now + if self.is_unmarked() { STANDS_UNMARKED } else { STANDS }
    }

    /// A task that runs asks whoever has asked, and, where a question may have been missed, everybody.
    fn ask_anew(&mut self, sites: Sites, now: Instant) {
        let was_absent = self.looked.replace(now).is_some_and(|looked| now.duration_since(looked) > ABSENCE);
        let asks_back = self.ask_back.is_some_and(|at| now >= at);
        if self.is_granted() && (asks_back || self.is_unmarked() && was_absent) {
            if self.standing.is_silent(now) {
                self.ask_back = Some(now + ASK_BACK);
                return;
            }
            self.ask_back = None;
            if let Err(error) = self.put_question(sites, now) {
                log::debug!("{error}");
                self.ask_back = error.is_silence().then_some(now + ASK_BACK);
            }
        }
    }

    /// An announcement of a task in the opposite direction stands at the source.
    fn on_listed(&mut self, sites: Sites, announcement: &Announcement, now: Instant) -> Result<(), CatalogError> {
        self.answer(sites, announcement, now)?;
        let is_answer = self.question.as_ref().is_some_and(|question| announcement.answers(question));
        self.is_met |= is_answer;
        if self.is_unmarked() {
            if is_answer || self.gives_way(announcement) {
                let (why, pause) = (self.no_marks()?, if is_answer { ASK_AGAIN_UNMARKED } else { ASK_AGAIN });
                self.stage = OppositeStage::Refused { why, ask_at: now + pause };
                self.retract(now);
            }
        } else if is_answer && matches!(self.stage, OppositeStage::Listening { .. }) {
            self.stage = OppositeStage::AwaitingMark { until: now + LOG_PATIENCE };
        }
        Ok(())
    }

    /// Whether another task that asks at this time goes first. One that died may have left its question: it is given
    /// way to once.
    fn gives_way(&mut self, other: &Announcement) -> bool {
        let is_listening = matches!(self.stage, OppositeStage::Listening { .. });
        let is_first = self.question.as_ref().is_some_and(|question| other.is_before(question));
        let is_new = self.yielded.as_ref() != Some(other);
        let gives_way = is_listening && other.kind == AnnouncementKind::Question && is_first && is_new;
        if gives_way {
            self.yielded = Some(other.clone());
        }
        gives_way
    }

    /// Takes the question back, so that nobody gives way to it.
    fn retract(&mut self, now: Instant) {
        if let Some(question) = self.question.take() {
            self.standing.retract(&question, now);
        }
    }

    /// Why the rows of the two directions cannot be told from users'.
    fn no_marks(&self) -> Result<String, Error> {
        let OppositeServers { source, target, call } = &self.servers;
        let versions = format!(
            "the source is {}, the target {}",
            source.describe_server(call)?.version,
            target.describe_server(call)?.version
        );
        Ok(no_marks(source.address(), target.address(), &versions))
    }

    fn answer(&mut self, sites: Sites, announcement: &Announcement, now: Instant) -> Result<(), CatalogError> {
        let is_silent = self.is_unmarked() && !self.is_granted();
        if announcement.kind != AnnouncementKind::Question || is_silent || self.answered.contains(announcement) {
            return Ok(());
        }
        // A task that replicates does not wait for its target before it looks at its source: it answers later.
        if self.is_granted() && self.standing.is_silent(now) {
            return Ok(());
        }
        self.ask_back = self.ask_back.or((!self.is_met).then_some(now + ASK_BACK));
        let answer = announcement.answered_by(sites.source);
        match self.standing.announce(&answer, now, self.stands_until(now)) {
            Err(error) if error.is_silence() && self.is_granted() => {
                log::debug!("{error}");
                return Ok(());
            }
            Err(error) if error.is_silence() => return Err(error.into()),
            // Another task between the same servers has answered.
            Err(error) => log::debug!("{error}"),
            Ok(()) => {}
        }
        self.answered.insert(announcement.clone());
        self.answered.retain(|answered| answered.asked().age() < STALE);
        Ok(())
    }

    /// The log shows an announcement of a task in the opposite direction, and whether its mark came through.
    fn on_logged(&mut self, announcement: &Announcement, mark: Option<Mark>, now: Instant) {
        if mark.is_none() {
            let why = lost_marks(self.servers.source.address(), self.servers.target.address());
            self.stage = OppositeStage::Refused { why, ask_at: now + ASK_AGAIN };
            return;
        }
        let is_answer = self.question.as_ref().is_some_and(|question| announcement.answers(question));
        self.is_met |= is_answer;
        let is_awaited = match &self.stage {
            OppositeStage::Listening { .. } => is_answer,
            OppositeStage::AwaitingMark { .. } | OppositeStage::Refused { .. } => true,
            OppositeStage::Asking | OppositeStage::Granted => false,
        };
        if is_awaited {
            log::info!("a task in the opposite direction runs, and its marks come through");
            (self.stage, self.unseen, self.is_proven) = (OppositeStage::Granted, 0, true);
        }
    }

    fn on_time(&mut self, now: Instant) {
        match &self.stage {
            OppositeStage::Listening { until, .. } if now >= *until => self.stage = OppositeStage::Granted,
            OppositeStage::AwaitingMark { until } if now >= *until && self.unseen == 0 => {
                // The log may have been opened only after the answer was in it.
                self.unseen += 1;
                self.stage = OppositeStage::Asking;
            }
            OppositeStage::AwaitingMark { until } if now >= *until => {
                let why = lost_marks(self.servers.source.address(), self.servers.target.address());
                self.stage = OppositeStage::Refused { why, ask_at: now + ASK_AGAIN };
            }
            _ => {}
        }
    }

    /// Withdraws all announcements, also when the task's own calls have been cancelled.
    pub(super) fn leave(&mut self) {
        self.standing.leave();
    }
}

/// Whether logs of one of the two servers drop marks by their version.
///
/// # Errors
/// A server does not answer.
pub(crate) fn drop_marks(servers: [&Client; 2], call: &CallContext) -> Result<bool, Error> {
    for server in servers {
        if server.capabilities(call)?.call_headers == CallHeaders::Dropped {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a user is told of two opposite tasks between servers without marks.
fn no_marks(source: &str, target: &str, versions: &str) -> String {
    format!(
        "a task replicates from {target} to {source}, and this one would send its rows back without end: the log of \
         one of the two does not tell them from users' rows ({versions}; Milvus 2.3 to 2.5 do, read by rocksmq, kafka \
         or pulsar): delete one of the two tasks"
    )
}

/// What a user is told when the marks of the opposite task do not come through.
fn lost_marks(source: &str, target: &str) -> String {
    format!(
        "a task replicates from {target} to {source}, and the marks of its writes do not come back in the log of \
         {source}, so that this one would send its rows back without end: let the header `baggage` pass between that \
         milvus-cdc and {source} (a proxy removes it), or delete one of the two tasks"
    )
}

#[cfg(test)]
mod tests;
