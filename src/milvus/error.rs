//! Failures of calls to a Milvus, distinguished by what the caller can do about them. Message texts of servers are
//! matched in this file only.

use std::fmt;

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The gRPC method's short name, for example `Insert`.
    pub method: &'static str,
    /// `host:port` of the server.
    pub address: String,
    /// The object of the call, for example `default.books`; empty if the call is about the server itself.
    pub object: String,
    /// The kind of failure.
    pub kind: ErrorKind,
    /// The message of the server or the transport.
    pub detail: String,
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// No connection, a broken connection, or no response in time: the call may have been carried out, or not.
    Transport,
    /// Cancelled by this process: the call may have been carried out, or not.
    Cancelled,
    /// The message exceeds the limit of one side.
    TooLarge,
    /// The server does not implement the call.
    Unimplemented,
    /// Credentials or privileges are missing or wrong.
    Denied,
    /// The server answered with an error status.
    Server {
        /// `Status.code`, as in Milvus's `merr` package; 0 if not given.
        code: i32,
        /// `Status.error_code`, the numbering before 2.3; 0 if not given.
        legacy: i32,
        /// `Status.retriable`.
        advice: RetryAdvice,
    },
}

/// What the server says about repeating the call. Its silence means nothing: 2.3.5 gives no advice with a rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RetryAdvice {
    /// Nothing.
    #[default]
    None,
    /// The same call may succeed later.
    Retriable,
}

impl ErrorKind {
    /// The kind's label in metrics.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::Transport => "transport",
            ErrorKind::Cancelled => "cancelled",
            ErrorKind::TooLarge => "too_large",
            ErrorKind::Unimplemented => "unimplemented",
            ErrorKind::Denied => "denied",
            ErrorKind::Server { .. } => "server",
        }
    }
}

impl Error {
    /// The server does not have the collection, or the partition or database of it, that the call is about.
    pub fn is_object_missing(&self) -> bool {
        self.is_collection_missing() || self.is_partition_missing() || self.is_database_missing()
    }

    /// The error says only that an object is missing, exists already or is not loaded: an answer rather than a failure.
    pub fn is_answer(&self) -> bool {
        self.is_object_missing() || self.is_index_missing() || self.is_not_loaded() || self.is_already_there()
    }

    /// The server refused the call before it began to carry it out, so that nothing of it has had an effect: the limits
    /// and privileges are checked in front of every call (`RateLimitInterceptor`, `PrivilegeInterceptor` of 2.3 to
    /// 2.6). A rate limit that a part behind them reports does not count.
    pub fn is_refused_before_execution(&self) -> bool {
        match self.kind {
            ErrorKind::Denied | ErrorKind::Server { code: 9, .. } => true,
            ErrorKind::Server { code: 8, .. } => self.detail.contains("RateLimiter middleware"),
            ErrorKind::Server { code: 0, legacy: 48 | 49, .. } => true,
            _ => false,
        }
    }

    /// The limit that the call was refused for, in the server's units per second (bytes for writes), if it is a rate
    /// and the server names it, as in `rate limit exceeded[rate=1.048576e+06]` (2.3.5).
    pub fn rate_limit(&self) -> Option<f64> {
        if !matches!(self.kind, ErrorKind::Server { code: 8, .. } | ErrorKind::Server { code: 0, legacy: 49, .. }) {
            return None;
        }
        let (_, rest) = self.detail.split_once("[rate=")?;
        let (number, _) = rest.split_once(']')?;
        number.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0)
    }

    /// No response was received: the call may have been carried out, or not.
    pub fn is_silence(&self) -> bool {
        matches!(self.kind, ErrorKind::Transport | ErrorKind::Cancelled)
    }

    /// The collection does not exist.
    pub fn is_collection_missing(&self) -> bool {
        matches!(self.kind, ErrorKind::Server { code: 100, .. } | ErrorKind::Server { legacy: 4, .. })
            || self.detail.contains("can't find collection")
            || self.detail.contains("collection not found")
    }

    /// The partition does not exist.
    pub fn is_partition_missing(&self) -> bool {
        matches!(self.kind, ErrorKind::Server { code: 200, .. }) || self.detail.contains("partition not found")
    }

    /// The database does not exist.
    pub fn is_database_missing(&self) -> bool {
        matches!(self.kind, ErrorKind::Server { code: 800, .. })
            || self.detail.contains("database not found")
            // Milvus Lite 3 has no code for it.
            || self.detail.starts_with("database '") && self.detail.ends_with("does not exist")
    }

    /// The collection has no index (2.3 answers so to `DescribeIndex`).
    pub fn is_index_missing(&self) -> bool {
        matches!(self.kind, ErrorKind::Server { code: 700, .. } | ErrorKind::Server { legacy: 25, .. })
            || self.detail.contains("index not found")
    }

    /// The collection or partition is not loaded.
    pub fn is_not_loaded(&self) -> bool {
        matches!(self.kind, ErrorKind::Server { code: 101 | 103 | 201 | 202, .. })
            || self.detail.contains("not loaded")
            || self.detail.contains("has not been loaded")
    }

    /// The server does not support the requested index type, or requires one.
    pub fn is_index_type_unknown(&self) -> bool {
        matches!(self.kind, ErrorKind::Server { .. })
            && ["index type", "index_type"].iter().any(|words| self.detail.contains(words))
    }

    /// The object to be created exists already.
    pub fn is_already_there(&self) -> bool {
        ["already exist", "has been existed", "exist already"].iter().any(|words| self.detail.contains(words))
    }
}

impl Error {
    /// The rows of the response exceed a message: gRPC's limit, or the server's `quotaAndLimits.limits.maxOutputSize`.
    /// From 2.4 on, and in Milvus Lite 2.5, it is the segments that refuse, in other words.
    pub fn is_response_too_large(&self) -> bool {
        let words = ["maxOutputSize", "query results exceed the limit size"];
        self.kind == ErrorKind::TooLarge || words.iter().any(|words| self.detail.contains(words))
    }

    /// The server refuses the login itself, not only one call or one object: nothing works until a person mends it.
    pub fn is_login_refused(&self) -> bool {
        self.kind == ErrorKind::Denied && !self.detail.contains("permission deny")
    }

    /// A PEM file of the configuration cannot be used.
    pub fn is_pem_file_unusable(&self) -> bool {
        self.kind == ErrorKind::Denied && self.detail.contains("PEM")
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.method, self.address)?;
        if !self.object.is_empty() {
            write!(f, " for {}", self.object)?;
        }
        match self.kind {
            ErrorKind::Transport => write!(f, ": no answer: {}", self.detail),
            ErrorKind::Cancelled => f.write_str(": cancelled"),
            ErrorKind::TooLarge => write!(f, ": the message is too large: {}", self.detail),
            ErrorKind::Unimplemented => f.write_str(": this server does not have the call"),
            ErrorKind::Denied => write!(f, ": access denied: {}", self.detail),
            ErrorKind::Server { code, legacy, .. } => {
                write!(f, ": code {}: {}", if code != 0 { code } else { legacy }, self.detail)
            }
        }
    }
}

/// Refusals that the catalog's steps answer with another step. Milvus 2.3.5 gives several of them no code of their own.
impl Error {
    /// The alias does not exist, or its collection or database does not.
    pub fn is_alias_missing(&self) -> bool {
        matches!(self.kind, ErrorKind::Server { code: 1600, .. })
            || self.detail.contains("alias not found")
            || self.detail.contains("alias does not exist")
            || self.is_collection_missing()
            || self.is_database_missing()
    }

    /// The step is refused as long as the collection or the partition is loaded.
    pub fn is_refused_while_loaded(&self) -> bool {
        self.detail.contains("loaded")
    }

    /// The server has fewer query nodes than replicas were asked for. 2.3.5 answers `nodes not enough` with code 65535.
    pub fn lacks_query_nodes(&self) -> bool {
        const WORDS: [&str; 6] =
            ["nodes not enough", "not enough nodes", "replica", "resource group", "query node", "querynode"];
        matches!(self.kind, ErrorKind::Server { .. }) && WORDS.iter().any(|word| self.detail.contains(word))
    }

    /// The server's engine (segcore and below: codes 2000 to 2099) cannot do what was asked for.
    pub fn is_refused_by_engine(&self) -> bool {
        matches!(self.kind, ErrorKind::Server { code: 2000..=2099, .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: i32, detail: &str) -> Error {
        let kind = ErrorKind::Server { code, legacy: 0, advice: RetryAdvice::None };
        Error { method: "LoadCollection", address: "a:1".into(), object: "d.c".into(), kind, detail: detail.into() }
    }

    #[test]
    fn refusals_that_have_a_remedy() {
        assert!(server(1600, "x").is_alias_missing() && server(65535, "alias not found").is_alias_missing());
        assert!(server(100, "x").is_alias_missing() && !server(1, "x").is_alias_missing());
        assert!(server(65535, "nodes not enough").lacks_query_nodes() && !server(65535, "x").lacks_query_nodes());
        let unanswered = Error { kind: ErrorKind::Transport, ..server(0, "query node is away") };
        assert!(!unanswered.lacks_query_nodes(), "nothing is known of its nodes");
        assert!(server(2000, "x").is_refused_by_engine() && server(2099, "x").is_refused_by_engine());
        assert!(!server(2100, "x").is_refused_by_engine() && !server(1999, "x").is_refused_by_engine());
        assert!(server(65535, "partition is loaded").is_refused_while_loaded());
    }

    #[test]
    fn rows_that_are_too_many_for_one_response() {
        // Milvus 2.3.5, then Milvus Lite 2.5.1, whose words 2.4 and later have, too.
        assert!(server(65535, "query results exceed the maxOutputSize Limit").is_response_too_large());
        let of_segments = "Assert => query results exceed the limit size at SegmentInterface.cpp:116 : segcore error";
        assert!(server(2000, of_segments).is_response_too_large());
        assert!(Error { kind: ErrorKind::TooLarge, ..server(0, "x") }.is_response_too_large());
        assert!(!server(2000, "segcore error").is_response_too_large());
    }

    #[test]
    fn a_refusal_in_front_of_a_call_has_no_effect() {
        // As 2.3.5 answers.
        let limited = server(
            8,
            "request is rejected by grpc RateLimiter middleware, please retry later: \
             rate limit exceeded[rate=1.048576e+06]",
        );
        assert!(limited.is_refused_before_execution());
        assert_eq!(limited.rate_limit(), Some(1_048_576.0));
        let behind = server(8, "rate limit exceeded[rate=NaN]");
        assert!(!behind.is_refused_before_execution(), "a part of the rows may have been written");
        assert_eq!(behind.rate_limit(), None);
        assert!(server(9, "quota exceeded[reason=force deny]").is_refused_before_execution());
        assert!(Error { kind: ErrorKind::Denied, ..server(0, "x") }.is_refused_before_execution());
        for code in [1, 2, 3, 7, 11, 12, 1001, 10001, 65535] {
            assert!(!server(code, "x").is_refused_before_execution(), "{code}");
            assert_eq!(server(code, "[rate=1]").rate_limit(), None, "{code}");
        }
        assert!(!Error { kind: ErrorKind::Transport, ..server(0, "x") }.is_refused_before_execution());
    }
}
