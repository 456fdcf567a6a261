/*!
Decides what retains messages until the task has read them: a durable subscription, or the namespace's retention.

Without either, a broker deletes what Milvus itself has read, and the task has to copy again. A durable subscription
prevents that, at a price: it fills the bookies' disks while a task is paused, and where brokers have a backlog quota,
one that falls too far behind stops the source's own writes. So where the namespace's retention suffices, there is no
subscription.
*/

use std::time::Duration;

use super::client::{AdminApi, AdminError, Durability, Policies, Retention};
use super::durable_subscriptions::ExistingSubscriptions;
use crate::config::{PulsarConfig, SubscriptionMode};
use crate::source::log::LogRetention;

/// A retention that covers a pause of a task or an outage of a target.
const LONG_ENOUGH: Duration = Duration::from_secs(86_400);
const SETTING: &str = "sourceConfig.pulsar.subscription";

/// Why the namespace's policies are not known.
#[derive(Debug, thiserror::Error)]
enum UnknownPolicies {
    /// Nobody to ask.
    #[error("sourceConfig.pulsar.webAddress is not set")]
    NoAdminApi,
    #[error(transparent)]
    Admin(#[from] AdminError),
}

/// What retains messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holding {
    /// Durable: a subscription of ours does.
    pub(super) durability: Durability,
    /// Why, for a person to read.
    pub(super) why: String,
}

/// Decides by the configuration and the brokers' policies. `existing`: durable subscriptions from before.
pub(super) fn choose(config: &PulsarConfig, existing: ExistingSubscriptions) -> Holding {
    decide(config.subscription, existing, || policies(config))
}

fn decide(
    mode: SubscriptionMode,
    existing: ExistingSubscriptions,
    policies: impl FnOnce() -> Result<Policies, UnknownPolicies>,
) -> Holding {
    match mode {
        SubscriptionMode::Durable => {
            let why = format!("a durable subscription holds messages: {SETTING} is `durable`");
            Holding { durability: Durability::Durable, why }
        }
        SubscriptionMode::Reader => {
            let why = format!("no subscription holds messages: {SETTING} is `reader`");
            Holding { durability: Durability::NonDurable, why }
        }
        SubscriptionMode::Auto => match policies() {
            Ok(policies) => by_policies(policies),
            Err(why) if existing == ExistingSubscriptions::Some => still_held(&why),
            Err(why) => no_subscription(&why),
        },
    }
}

/// How long the brokers retain messages for an inactive reader, with a durable subscription or without.
pub(super) fn retention(config: &PulsarConfig, durability: Durability) -> LogRetention {
    policies(config).map_or(LogRetention::Unknown, |policies| retention_by(durability, policies))
}

fn policies(config: &PulsarConfig) -> Result<Policies, UnknownPolicies> {
    let web = config.web.as_ref().ok_or(UnknownPolicies::NoAdminApi)?;
    let api = AdminApi { web, token: &config.token, tls: &config.tls };
    Ok(api.policies(&format!("{}/{}", config.tenant, config.namespace))?)
}

fn retention_by(durability: Durability, policies: Policies) -> LogRetention {
    let retained = match policies.retention {
        Retention::None => LogRetention::Nothing,
        Retention::Limited { time: Some(time), .. } => LogRetention::For(time),
        Retention::Limited { time: None, .. } => LogRetention::ForEver,
    };
    if durability == Durability::NonDurable {
        return retained;
    }
    match (retained, [policies.expiration, policies.ttl].into_iter().flatten().min()) {
        (LogRetention::ForEver, _) | (_, None) => LogRetention::ForEver,
        (LogRetention::For(time), Some(held)) => LogRetention::For(time + held),
        (_, Some(held)) => LogRetention::For(held),
    }
}

/// Better to lose messages, which is noticed and repaired by copying, than to stop the source's writes.
fn no_subscription(why: &UnknownPolicies) -> Holding {
    let why = format!(
        "no subscription holds messages: the namespace's retention cannot be asked for ({why}), and a subscription \
         could stop the source's own writes where there is a backlog quota. If the namespace has no retention, set \
         {SETTING}: durable"
    );
    Holding { durability: Durability::NonDurable, why }
}

/// A single question without an answer must not end a subscription that holds messages which a paused task has yet to
/// read.
fn still_held(why: &UnknownPolicies) -> Holding {
    let why = format!(
        "the durable subscription from before goes on holding messages: the namespace's retention cannot be asked for \
         ({why}). To do without it, set {SETTING}: reader"
    );
    Holding { durability: Durability::Durable, why }
}

fn by_policies(Policies { retention, ttl, expiration, quota }: Policies) -> Holding {
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
        return Holding { durability: Durability::NonDurable, why };
    }
    if let Some(quota) = quota {
        let why = format!(
            "no subscription holds messages, and the namespace keeps read ones {read_ones}: with its backlog quota of \
             {quota} bytes a subscription could stop the source's own writes. Give the namespace a retention, or set \
             {SETTING}: durable"
        );
        return Holding { durability: Durability::NonDurable, why };
    }
    let mut why = format!("a durable subscription holds messages: the namespace keeps read ones {read_ones}");
    if let Some(expiration) = expiration {
        why += &format!("; it is deleted when the task is paused for {}", hours(expiration));
    }
    if let Some(ttl) = ttl {
        why += &format!("; messages count as read after {}", hours(ttl));
    }
    Holding { durability: Durability::Durable, why }
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

    fn holds(chosen: &Holding) -> bool {
        chosen.durability == Durability::Durable
    }

    const NOTHING: Policies = Policies { retention: Retention::None, ttl: None, expiration: None, quota: None };

    fn days(days: u64, megabytes: Option<u64>) -> Retention {
        Retention::Limited { time: Some(Duration::from_secs(days * 86_400)), megabytes }
    }

    #[test]
    fn a_retention_protects() {
        let chosen = by_policies(Policies { retention: days(7, None), quota: Some(1), ..NOTHING });
        assert_eq!(chosen.why, "no subscription holds messages: the namespace keeps them 168 h");
        let chosen = by_policies(Policies { retention: days(1, Some(5)), ..NOTHING });
        assert!(!holds(&chosen) && chosen.why.ends_with("24 h, up to 5 MB per topic"), "{}", chosen.why);
    }

    #[test]
    fn without_one_a_subscription_does() {
        let chosen = by_policies(NOTHING);
        assert!(holds(&chosen) && chosen.why.ends_with("not at all"), "{}", chosen.why);
        let short = Retention::Limited { time: Some(Duration::from_secs(600)), megabytes: None };
        let expiration = Some(Duration::from_secs(180));
        let chosen = by_policies(Policies { retention: short, expiration, ..NOTHING });
        assert!(holds(&chosen) && chosen.why.ends_with("paused for 3 min"), "{}", chosen.why);
    }

    #[test]
    fn the_sources_writes_come_first() {
        let chosen = by_policies(Policies { quota: Some(8 << 30), ..NOTHING });
        assert!(!holds(&chosen) && chosen.why.contains("stop the source's own writes"), "{}", chosen.why);
        assert!(!holds(&no_subscription(&UnknownPolicies::NoAdminApi)));
    }

    #[test]
    fn a_question_without_an_answer_ends_no_subscription() {
        let (url, reason) = ("http://p:8080/admin".to_owned(), "Service Unavailable");
        let silent = || Err(AdminError::Refused { url: url.clone(), status: 503, reason }.into());
        let chosen = decide(SubscriptionMode::Auto, ExistingSubscriptions::Some, silent);
        assert!(holds(&chosen) && chosen.why.contains("goes on") && chosen.why.contains("503"), "{}", chosen.why);
        assert!(!holds(&decide(SubscriptionMode::Auto, ExistingSubscriptions::None, silent)), "none is made");
        // What was really read, or told, counts.
        let kept = Policies { retention: days(7, None), ..NOTHING };
        assert!(!holds(&decide(SubscriptionMode::Auto, ExistingSubscriptions::Some, || Ok(kept))));
        assert!(!holds(&decide(SubscriptionMode::Reader, ExistingSubscriptions::Some, silent)));
    }

    #[test]
    fn how_long_messages_stay() {
        let week = Policies { retention: days(7, None), quota: Some(1), ..NOTHING };
        assert_eq!(retention_by(Durability::NonDurable, week), LogRetention::For(Duration::from_secs(7 * 86_400)));
        assert_eq!(
            retention_by(Durability::NonDurable, Policies { quota: Some(8 << 30), ..NOTHING }),
            LogRetention::Nothing
        );
        assert_eq!(retention_by(Durability::Durable, NOTHING), LogRetention::ForEver);
        let retention = Retention::Limited { time: Some(Duration::from_secs(600)), megabytes: None };
        let ends = Policies { retention, expiration: Some(Duration::from_secs(180)), ..NOTHING };
        assert_eq!(
            retention_by(Durability::Durable, ends),
            LogRetention::For(Duration::from_secs(780)),
            "read messages are kept on"
        );
    }
}
