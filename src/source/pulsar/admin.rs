/*!
What the administration tells of how long messages live: one GET at a time.

Written on the connection that the rest uses: a client of HTTP would bring its own TLS, and nothing of it is wanted here. The request
is HTTP/1.0, so that the answer ends with the connection.
*/

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::transport::{Stream, is_nothing};
use crate::config::{PulsarConfig, WebAddress};

const ANSWER: Duration = Duration::from_secs(5);
/// More than the settings of a broker take.
const LARGEST: usize = 4 << 20;

/// What is set for the namespace of the topics, by itself or as the brokers' default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policies {
    /// Messages that nobody needs are kept for so long.
    pub(super) retention: Retention,
    /// Messages count as read after this, even if they were not.
    pub(super) ttl: Option<Duration>,
    /// A subscription that nobody is connected to is deleted after this.
    pub(super) expiration: Option<Duration>,
    /// When a subscription holds so many bytes, those who write are held up.
    pub(super) quota: Option<u64>,
}

/// How long messages are kept that every subscription has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retention {
    /// Not at all.
    None,
    /// As long as this, and up to so many MB per topic.
    Limited { time: Option<Duration>, megabytes: Option<u64> },
}

/// Asks for the policies.
///
/// # Errors
/// It does not answer, or not everything: why.
pub(super) fn policies(config: &PulsarConfig, web: &WebAddress) -> Result<Policies, String> {
    let path = format!("/admin/v2/namespaces/{}/{}", config.tenant, config.namespace);
    let namespace = get(config, web, &path)?;
    let broker = get(config, web, "/admin/v2/brokers/configuration/runtime")?;
    Ok(read(&namespace, &broker))
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

fn get(config: &PulsarConfig, web: &WebAddress, path: &str) -> Result<Value, String> {
    let told = |detail: &dyn std::fmt::Display| format!("{web}{path}: {detail}");
    let tls = web.tls.then_some(&config.tls);
    let mut stream = Stream::connect(&web.address, tls).map_err(|error| told(&error))?;
    let login = match config.token.expose() {
        "" => String::new(),
        token => format!("Authorization: Bearer {token}\r\n"),
    };
    let request = format!("GET {path} HTTP/1.0\r\nHost: {}\r\nAccept: application/json\r\n{login}\r\n", web.address);
    stream.write_all(request.as_bytes()).map_err(|error| told(&error))?;
    let answer = read_all(&mut stream).map_err(|error| told(&error))?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(|| told(&"no HTTP"))?;
    let head = String::from_utf8_lossy(&answer[..end]);
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(told(&format!("it answers {status}")));
    }
    serde_json::from_slice(&answer[end + 4..]).map_err(|_| told(&"no JSON"))
}

fn read_all(stream: &mut Stream) -> std::io::Result<Vec<u8>> {
    let deadline = Instant::now() + ANSWER;
    let (mut answer, mut buffer) = (Vec::new(), vec![0; 16 << 10]);
    while answer.len() < LARGEST {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(answer),
            Ok(read) => answer.extend_from_slice(&buffer[..read]),
            Err(error) if is_nothing(&error) && Instant::now() < deadline => {}
            // TLS that ends without a farewell: an answer that is cut short is no JSON.
            Err(_) if !answer.is_empty() && Instant::now() < deadline => return Ok(answer),
            Err(error) => return Err(error),
        }
    }
    Err(std::io::Error::other("the answer is too long"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_default_broker() {
        let broker = json!({
            "defaultRetentionTimeInMinutes": "0", "defaultRetentionSizeInMB": "0", "ttlDurationDefaultInSeconds": "0",
            "subscriptionExpirationTimeMinutes": "0", "backlogQuotaDefaultLimitGB": "-1.0", "backlogQuotaDefaultLimitBytes": "-1",
            "backlogQuotaDefaultRetentionPolicy": "producer_request_hold",
        });
        let expected = Policies { retention: Retention::None, ttl: None, expiration: None, quota: None };
        assert_eq!(read(&json!({"backlog_quota_map": {}}), &broker), expected);
        assert_eq!(read(&Value::Null, &Value::Null), expected);
    }

    #[test]
    fn as_the_milvus_operator_sets_it() {
        let broker = json!({
            "defaultRetentionTimeInMinutes": "10080", "defaultRetentionSizeInMB": "-1", "ttlDurationDefaultInSeconds": "259200",
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
