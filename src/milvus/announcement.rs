/*!
How two milvus-cdc that replicate in opposite directions find each other, although they share nothing but the two
servers: a task announces itself at its target by a database of a telling name, which whoever follows that server sees
in its listing, and in its log.

A *question* is asked by a task that starts; a running task in the opposite direction *answers* at its own target, which
is the server that the question came from. In the log both bear the mark of the call that made them, or show that the
marks do not come through.
*/

use super::client::{CallContext, Client};
use super::error::Error;
use super::same_server_probe::PROBE;
use crate::domain::{Mark, Timestamp};

/// What tells a server from others: when it made its database `default`, by its own count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Site(pub(crate) u64);

/// Whether an announcement wants an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AnnouncementKind {
    Question,
    Answer,
}

/// A database that announces a task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Announcement {
    pub(crate) kind: AnnouncementKind,
    /// The source of the task that made it.
    pub(crate) site: Site,
    /// When the question was asked, in milliseconds since 1970, and by whom: the answer repeats both.
    asked_ms: u64,
    asker: u32,
}

const QUESTION: &str = "q";
const ANSWER: &str = "a";

impl Announcement {
    /// A new question.
    pub(crate) fn question(site: Site) -> Announcement {
        let asker = uuid::Uuid::new_v4().as_fields().0;
        Announcement { kind: AnnouncementKind::Question, site, asked_ms: Timestamp::now().physical_ms(), asker }
    }

    /// The answer of a task that follows `site`.
    pub(crate) fn answered_by(&self, site: Site) -> Announcement {
        Announcement { kind: AnnouncementKind::Answer, site, ..self.clone() }
    }

    /// Whether it answers this question.
    pub(crate) fn answers(&self, question: &Announcement) -> bool {
        self.kind == AnnouncementKind::Answer && (self.asked_ms, self.asker) == (question.asked_ms, question.asker)
    }

    /// Whether its question was asked earlier than this one, by the clocks of whoever asked: no two were at once.
    pub(crate) fn is_before(&self, other: &Announcement) -> bool {
        (self.asked_ms, self.asker) < (other.asked_ms, other.asker)
    }

    /// When the question was asked, by the clock of whoever asked.
    pub(crate) fn asked(&self) -> Timestamp {
        Timestamp::at_ms(self.asked_ms)
    }

    /// The name of its database.
    pub(crate) fn name(&self) -> String {
        let kind = match self.kind {
            AnnouncementKind::Question => QUESTION,
            AnnouncementKind::Answer => ANSWER,
        };
        format!("{PROBE}{kind}_{:x}_{:x}_{:x}", self.site.0, self.asked_ms, self.asker)
    }

    /// Reads the name of a database; `None` for any other.
    pub(crate) fn parse(name: &str) -> Option<Announcement> {
        let mut parts = name.strip_prefix(PROBE)?.split('_');
        let kind = match parts.next()? {
            QUESTION => AnnouncementKind::Question,
            ANSWER => AnnouncementKind::Answer,
            _ => return None,
        };
        let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
        let (site, asked_ms, asker) = (Site(number()?), number()?, u32::try_from(number()?).ok()?);
        parts.next().is_none().then_some(Announcement { kind, site, asked_ms, asker })
    }
}

impl Client {
    /// Who the server is; `None` where it does not tell.
    pub(crate) fn site(&self, context: &CallContext) -> Result<Option<Site>, Error> {
        Ok(self.describe_databases(context)?.server_created.map(Site))
    }

    /// The announcements that stand on the server now.
    pub(crate) fn announcements(&self, context: &CallContext) -> Result<Vec<Announcement>, Error> {
        Ok(self.list_databases(context)?.iter().filter_map(|name| Announcement::parse(name)).collect())
    }

    /// Makes an announcement.
    pub(crate) fn announce(&self, announcement: &Announcement, context: &CallContext) -> Result<(), Error> {
        self.marked(Mark::OF_NO_COLLECTION).create_database(&announcement.name(), context)
    }

    /// Takes an announcement back.
    pub(crate) fn withdraw(&self, announcement: &Announcement, context: &CallContext) -> Result<(), Error> {
        self.remove_probe_database(&announcement.name(), context)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::same_server_probe::is_probe;
    use super::*;

    #[test]
    fn an_answer_is_known_for_the_question_that_it_answers() {
        let (question, other) = (Announcement::question(Site(7)), Announcement::question(Site(7)));
        let answer = question.answered_by(Site(8));
        let read = Announcement::parse(&answer.name()).unwrap();
        assert!(read == answer && read.answers(&question) && !read.answers(&other));
        assert!(!question.answers(&question) && read.site == Site(8));
        assert!(is_probe(&question.name()), "it is never replicated");
    }

    proptest! {
        #[test]
        fn any_name_is_read_without_harm(name in "(cdc_probe_)?[qa_0-9a-f]*") {
            if let Some(announcement) = Announcement::parse(&name) {
                prop_assert_eq!(Announcement::parse(&announcement.name()), Some(announcement));
            }
        }
    }
}
