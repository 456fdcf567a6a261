/*!
Asks the admin API how long a namespace's messages live: one GET at a time.
*/

use std::time::Duration;

use serde_json::Value;

use crate::config::{BrokerTls, Secret, WebAddress};
use crate::http_client::{HttpError, HttpLimits, HttpRequest};

const STEP: Duration = Duration::from_secs(5);
/// 4 MiB are more than the settings of a broker take.
const LIMITS: HttpLimits = HttpLimits { connect: STEP, silence: STEP, answer: Some(STEP), bytes: 4 << 20 };

/// Why the admin API gave no policies.
#[derive(Debug, thiserror::Error)]
pub(in crate::source::pulsar) enum AdminError {
    /// It cannot be reached, or has not answered in time.
    #[error("{url}: {source}")]
    NoAnswer { url: String, source: HttpError },
    /// It answers, but not with what was asked for: no such namespace, or no right to see it.
    #[error("{url}: HTTP status {status}{}", spaced(.reason))]
    Refused { url: String, status: u16, reason: &'static str },
    /// Something else than Pulsar answers there.
    #[error("{url}: the answer is not JSON")]
    NotJson { url: String, source: serde_json::Error },
}

/// A status without a standard phrase has none.
fn spaced(phrase: &str) -> String {
    if phrase.is_empty() { String::new() } else { format!(" {phrase}") }
}

/// The admin API, and how to log in.
#[derive(Debug, Clone, Copy)]
pub(in crate::source::pulsar) struct AdminApi<'a> {
    pub(in crate::source::pulsar) web: &'a WebAddress,
    /// Empty: none.
    pub(in crate::source::pulsar) token: &'a Secret,
    /// Used if the address has HTTPS.
    pub(in crate::source::pulsar) tls: &'a BrokerTls,
}

/// What is set for the namespace of the topics, by itself or as the brokers' default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source::pulsar) struct Policies {
    /// Messages that nobody needs are kept for so long.
    pub(in crate::source::pulsar) retention: Retention,
    /// Messages count as read after this, even if they were not.
    pub(in crate::source::pulsar) ttl: Option<Duration>,
    /// A subscription that nobody is connected to is deleted after this.
    pub(in crate::source::pulsar) expiration: Option<Duration>,
    /// When a subscription holds so many bytes, those who write are held up.
    pub(in crate::source::pulsar) quota: Option<u64>,
}

/// How long messages are kept that every subscription has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source::pulsar) enum Retention {
    /// Not at all.
    None,
    /// As long as this, and up to so many MB per topic.
    Limited { time: Option<Duration>, megabytes: Option<u64> },
}

impl AdminApi<'_> {
    /// Asks for the policies of a namespace, written `tenant/namespace`.
    ///
    /// # Errors
    /// One of the two answers that this takes did not come, or was another one.
    pub(in crate::source::pulsar) fn policies(&self, namespace: &str) -> Result<Policies, AdminError> {
        let namespace = self.get(&format!("/admin/v2/namespaces/{namespace}"))?;
        let broker = self.get("/admin/v2/brokers/configuration/runtime")?;
        Ok(read(&namespace, &broker))
    }

    fn get(&self, path: &str) -> Result<Value, AdminError> {
        let url = format!("{}{path}", self.web);
        let request = HttpRequest { url: &url, token: self.token, tls: self.tls, post: None, limits: LIMITS };
        let answer = match request.send() {
            Ok(answer) => answer,
            Err(source) => return Err(AdminError::NoAnswer { url, source }),
        };
        if answer.status != 200 {
            return Err(AdminError::Refused { url, status: answer.status, reason: answer.reason });
        }
        serde_json::from_slice(&answer.body).map_err(|source| AdminError::NotJson { url, source })
    }
}

/// What the two answers say: the namespace's own settings, and for what it has none the brokers'.
fn read(namespace: &Value, broker: &Value) -> Policies {
    let default = |key: &str| broker[key].as_str().and_then(|text| text.parse::<i64>().ok());
    let own = &namespace["retention_policies"];
    let minutes = own["retentionTimeInMinutes"].as_i64().or_else(|| default("defaultRetentionTimeInMinutes"));
    let megabytes = own["retentionSizeInMB"].as_i64().or_else(|| default("defaultRetentionSizeInMB"));
    let ttl = namespace["message_ttl_in_seconds"].as_i64().or_else(|| default("ttlDurationDefaultInSeconds"));
    let expiration = namespace["subscription_expiration_time_minutes"]
        .as_i64()
        .or_else(|| default("subscriptionExpirationTimeMinutes"));
    let positive = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok()).filter(|it| *it > 0);
    Policies {
        retention: retention(minutes.unwrap_or(0), megabytes.unwrap_or(0)),
        ttl: positive(ttl).map(Duration::from_secs),
        expiration: positive(expiration).map(|minutes| Duration::from_secs(minutes * 60)),
        quota: quota(namespace, broker),
    }
}

/// Both numbers must allow it; -1 is without limit.
fn retention(minutes: i64, megabytes: i64) -> Retention {
    if minutes == 0 || megabytes == 0 {
        return Retention::None;
    }
    let time = u64::try_from(minutes).ok().map(|minutes| Duration::from_secs(minutes * 60));
    Retention::Limited { time, megabytes: u64::try_from(megabytes).ok() }
}

/// Where the policy is to hold up those who write.
fn quota(namespace: &Value, broker: &Value) -> Option<u64> {
    let own = &namespace["backlog_quota_map"]["destination_storage"];
    let (limit, policy) = match own["limitSize"].as_i64().or_else(|| own["limit"].as_i64()) {
        Some(limit) => (limit, own["policy"].as_str().unwrap_or_default().to_owned()),
        None => {
            let number = |key: &str| broker[key].as_str().and_then(|text| text.parse::<f64>().ok());
            let bytes = number("backlogQuotaDefaultLimitBytes").filter(|bytes| *bytes > 0.0);
            let gigabytes = || number("backlogQuotaDefaultLimitGB").map(|gigabytes| gigabytes * f64::from(1 << 30));
            let policy = broker["backlogQuotaDefaultRetentionPolicy"].as_str().unwrap_or_default().to_owned();
            (bytes.or_else(gigabytes)? as i64, policy)
        }
    };
    u64::try_from(limit).ok().filter(|limit| *limit > 0 && policy.starts_with("producer_"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_default_broker() {
        let broker = json!({
            "defaultRetentionTimeInMinutes": "0", "defaultRetentionSizeInMB": "0", "ttlDurationDefaultInSeconds": "0",
            "subscriptionExpirationTimeMinutes": "0", "backlogQuotaDefaultLimitGB": "-1.0",
            "backlogQuotaDefaultLimitBytes": "-1",
            "backlogQuotaDefaultRetentionPolicy": "producer_request_hold",
        });
        let expected = Policies { retention: Retention::None, ttl: None, expiration: None, quota: None };
        assert_eq!(read(&json!({"backlog_quota_map": {}}), &broker), expected);
        assert_eq!(read(&Value::Null, &Value::Null), expected);
    }

    #[test]
    fn as_the_milvus_operator_sets_it() {
        let broker = json!({
            "defaultRetentionTimeInMinutes": "10080", "defaultRetentionSizeInMB": "-1",
            "ttlDurationDefaultInSeconds": "259200",
            "subscriptionExpirationTimeMinutes": "3", "backlogQuotaDefaultLimitGB": "8",
            "backlogQuotaDefaultRetentionPolicy": "producer_exception",
        });
        let week = Duration::from_secs(7 * 86_400);
        let expected = Policies {
            retention: Retention::Limited { time: Some(week), megabytes: None },
            ttl: Some(Duration::from_secs(3 * 86_400)),
            expiration: Some(Duration::from_secs(180)),
            quota: Some(8 << 30),
        };
        assert_eq!(read(&Value::Null, &broker), expected);
        // What the namespace says counts first.
        let namespace = json!({
            "retention_policies": {"retentionTimeInMinutes": -1, "retentionSizeInMB": 100}, "message_ttl_in_seconds": 0,
            "backlog_quota_map": {"destination_storage": {"limitSize": 5, "policy": "consumer_backlog_eviction"}},
        });
        let read = read(&namespace, &broker);
        assert_eq!(read.retention, Retention::Limited { time: None, megabytes: Some(100) });
        assert_eq!((read.ttl, read.quota), (None, None));
    }
}
