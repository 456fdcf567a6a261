/*!
What keeps messages until we have read them: a durable subscription of ours, or the namespace's retention.

Without either, a broker deletes what Milvus itself has read, and we copy again. A durable subscription prevents that, and has a price:
it fills the bookies' disks while a task is paused, and where brokers have a backlog quota, one that falls too far behind stops the
source's own writes. So where a retention protects, there is none.
*/

use std::time::Duration;

use super::admin::{self, Policies, Retention};
use crate::config::{PulsarConfig, SubscriptionMode};
use crate::source::Keeps;

/// A retention that covers a pause of a task or an outage of a target.
const LONG_ENOUGH: Duration = Duration::from_secs(86_400);
const SETTING: &str = "sourceConfig.pulsar.subscription";

/// Whether a durable subscription keeps messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) durable: bool,
    /// Why, for a person to read.
    pub(super) why: String,
}

/// Decides, as the configuration and the broker say. `held`: there may be durable subscriptions from before.
pub(super) fn choose(config: &PulsarConfig, held: bool) -> Choice {
    decide(config.subscription, held, || policies(config))
}

fn decide(mode: SubscriptionMode, held: bool, policies: impl FnOnce() -> Result<Policies, String>) -> Choice {
    let told = |durable, why: String| Choice { durable, why };
    match mode {
        SubscriptionMode::Durable => {
            told(true, format!("a durable subscription holds messages: {SETTING} is `durable`"))
        }
        SubscriptionMode::Reader => told(false, format!("no subscription holds messages: {SETTING} is `reader`")),
        SubscriptionMode::Auto => match policies() {
            Ok(policies) => by_policies(policies),
            Err(why) if held => still_held(&why),
            Err(why) => unknown(&why),
        },
    }
}

/// How long messages stay while we do not read, with a durable subscription or without.
pub(super) fn keeps(config: &PulsarConfig, durable: bool) -> Keeps {
    policies(config).map_or(Keeps::Unknown, |policies| kept(durable, policies))
}

fn policies(config: &PulsarConfig) -> Result<Policies, String> {
    let web = config.web.as_ref().ok_or("sourceConfig.pulsar.webAddress is not set")?;
    admin::policies(config, web)
}

fn kept(durable: bool, policies: Policies) -> Keeps {
    let retained = match policies.retention {
        Retention::None => Keeps::Nothing,
        Retention::Limited { time: Some(time), .. } => Keeps::For(time),
        Retention::Limited { time: None, .. } => Keeps::ForEver,
    };
    if !durable {
        return retained;
    }
    match (retained, [policies.expiration, policies.ttl].into_iter().flatten().min()) {
        (Keeps::ForEver, _) | (_, None) => Keeps::ForEver,
        (Keeps::For(time), Some(held)) => Keeps::For(time + held),
        (_, Some(held)) => Keeps::For(held),
    }
}

/// It must not be us who stops the source's writes. What is lost is noticed and copied again.
fn unknown(why: &str) -> Choice {
    let why = format!(
        "no subscription holds messages: the namespace's retention cannot be asked for ({why}), and a subscription could stop the \
         source's own writes where there is a backlog quota. If the namespace has no retention, set {SETTING}: durable"
    );
    Choice { durable: false, why }
}

/// One question without an answer must not end what holds the messages that a paused task has yet to read.
fn still_held(why: &str) -> Choice {
    let why = format!(
        "the durable subscription from before goes on holding messages: the namespace's retention cannot be asked for ({why}). To do \
         without it, set {SETTING}: reader"
    );
    Choice { durable: true, why }
}

fn by_policies(Policies { retention, ttl, expiration, quota }: Policies) -> Choice {
    let read_ones = match retention {
        Retention::None => "not at all".to_owned(),
        Retention::Limited { time, megabytes } => {
            let size = megabytes.map_or(String::new(), |megabytes| format!(", up to {megabytes} MB per topic"));
            format!("{}{size}", time.map_or("for ever".to_owned(), hours))
        }
    };
    let protects = matches!(retention, Retention::Limited { time, .. } if time.is_none_or(|time| time >= LONG_ENOUGH));
    if protects {
        let why = format!("no subscription holds messages: the namespace keeps them {read_ones}");
        return Choice { durable: false, why };
    }
    if let Some(quota) = quota {
        let why = format!(
            "no subscription holds messages, and the namespace keeps read ones {read_ones}: with its backlog quota of {quota} bytes a \
             subscription could stop the source's own writes. Give it a retention, or set {SETTING}: durable"
        );
        return Choice { durable: false, why };
    }
    let mut why = format!("a durable subscription holds messages: the namespace keeps read ones {read_ones}");
    if let Some(expiration) = expiration {
        why += &format!("; it is deleted when the task is paused for {}", hours(expiration));
    }
    if let Some(ttl) = ttl {
        why += &format!("; messages count as read after {}", hours(ttl));
    }
    Choice { durable: true, why }
}

fn hours(time: Duration) -> String {
    match time.as_secs() / 60 {
        minutes @ 0..120 => format!("{minutes} min"),
        minutes => format!("{} h", minutes / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Policies = Policies { retention: Retention::None, ttl: None, expiration: None, quota: None };

    fn days(days: u64, megabytes: Option<u64>) -> Retention {
        Retention::Limited { time: Some(Duration::from_secs(days * 86_400)), megabytes }
    }

    #[test]
    fn a_retention_protects() {
        let chosen = by_policies(Policies { retention: days(7, None), quota: Some(1), ..NOTHING });
        assert_eq!(chosen.why, "no subscription holds messages: the namespace keeps them 168 h");
        let chosen = by_policies(Policies { retention: days(1, Some(5)), ..NOTHING });
        assert!(!chosen.durable && chosen.why.ends_with("24 h, up to 5 MB per topic"), "{}", chosen.why);
    }

    #[test]
    fn without_one_a_subscription_does() {
        let chosen = by_policies(NOTHING);
        assert!(chosen.durable && chosen.why.ends_with("not at all"), "{}", chosen.why);
        let short = Retention::Limited { time: Some(Duration::from_secs(600)), megabytes: None };
        let expiration = Some(Duration::from_secs(180));
        let chosen = by_policies(Policies { retention: short, expiration, ..NOTHING });
        assert!(chosen.durable && chosen.why.ends_with("paused for 3 min"), "{}", chosen.why);
    }

    #[test]
    fn the_sources_writes_come_first() {
        let chosen = by_policies(Policies { quota: Some(8 << 30), ..NOTHING });
        assert!(!chosen.durable && chosen.why.contains("stop the source's own writes"), "{}", chosen.why);
        assert!(!unknown("no answer").durable);
    }

    #[test]
    fn a_question_without_an_answer_ends_no_subscription() {
        let silent = || Err("it answers HTTP/1.1 503".to_owned());
        let chosen = decide(SubscriptionMode::Auto, true, silent);
        assert!(chosen.durable && chosen.why.contains("goes on") && chosen.why.contains("503"), "{}", chosen.why);
        assert!(!decide(SubscriptionMode::Auto, false, silent).durable, "none is made");
        // What was really read, or told, counts.
        let kept = Policies { retention: days(7, None), ..NOTHING };
        assert!(!decide(SubscriptionMode::Auto, true, || Ok(kept)).durable);
        assert!(!decide(SubscriptionMode::Reader, true, silent).durable);
    }

    #[test]
    fn how_long_messages_stay() {
        let week = Policies { retention: days(7, None), quota: Some(1), ..NOTHING };
        assert_eq!(kept(false, week), Keeps::For(Duration::from_secs(7 * 86_400)));
        assert_eq!(kept(false, Policies { quota: Some(8 << 30), ..NOTHING }), Keeps::Nothing);
        assert_eq!(kept(true, NOTHING), Keeps::ForEver);
        let retention = Retention::Limited { time: Some(Duration::from_secs(600)), megabytes: None };
        let ends = Policies { retention, expiration: Some(Duration::from_secs(180)), ..NOTHING };
        assert_eq!(kept(true, ends), Keeps::For(Duration::from_secs(780)), "read messages are kept on");
    }
}
