/*!
The mark that every write of ours bears, so that whoever reads the log of the server that took the write knows it for
ours, and whose it was first.

It travels in the headers of the call. Milvus 2.3 to 2.5 keeps both with every message that a call makes (observed on
2.3.5 with RocksMQ, Kafka and Pulsar). Milvus 2.6 and later keep none (observed on 2.6.20 and 3.0.0), or the trace's
id alone (Milvus after 3.0, pull request 50796 of milvus-io/milvus).

```text
baggage:     milvus-cdc=1.<origin>.<bucket>.<number>                      numbers to the base 36
traceparent: 00-<magic 28 bits, bucket 36, hash of the origin 32, number 16, checksum 16>-<span>-00
```

The *origin* is the collection's id at the server where the row was first written: ids come from each server's clock,
so two servers do not give the same one. *Bucket* and *number* are the version: the time of the latest row of the call.
*/

use super::{CollectionId, Timestamp};

/// Who wrote first what a call writes, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    origin: MarkOrigin,
    /// The time of the latest row in steps of 200 ms.
    bucket: u64,
    /// Its place within the step. Of a mark that came without baggage, its upper bits.
    number: u64,
}

/// The collection where the rows were first written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkOrigin {
    /// No collection, or one without an id of its server's.
    Unknown,
    /// The collection's id at its server.
    Id(CollectionId),
    /// A hash of the id: the baggage was lost on the way.
    Hash(u32),
}

/// The member of `baggage` that is ours.
const MEMBER: &str = "milvus-cdc";
const FORMAT: &str = "1";
/// Properties of a message that hold the headers of the call that made it.
const BAGGAGE: &str = "baggage";
const TRACE: &str = "traceparent";
/// Hybrid timestamps have their milliseconds above these bits.
const LOGICAL_BITS: u32 = 18;
const BUCKET: u64 = 200 << LOGICAL_BITS;
/// How much of the number a trace id has no room for.
const NUMBER_BITS_LOST: u32 = 10;
const MAGIC: u128 = 0x00cd_c3a7;

impl Mark {
    /// The mark of a call that belongs to no collection.
    pub const OF_NO_COLLECTION: Mark = Mark { origin: MarkOrigin::Unknown, bucket: 0, number: 0 };

    /// The mark of what users wrote to this collection of the source, the latest row at this time.
    pub fn of(collection: CollectionId, latest: Timestamp) -> Mark {
        let origin = if collection.is_given() { MarkOrigin::Id(collection) } else { MarkOrigin::Unknown };
        Mark { origin, bucket: latest.0 / BUCKET, number: latest.0 % BUCKET }
    }

    /// The mark of a change to a collection's catalog, which has no version.
    pub fn of_catalog(collection: CollectionId) -> Mark {
        Mark::of(collection, Timestamp::ZERO)
    }

    /// Whose it was first.
    pub fn origin(&self) -> MarkOrigin {
        self.origin
    }

    /// Whether the rows were first written to this collection of that server.
    pub fn is_of(&self, collection: CollectionId) -> bool {
        collection.is_given()
            && match self.origin {
                MarkOrigin::Unknown => false,
                MarkOrigin::Id(id) => id == collection,
                MarkOrigin::Hash(hash) => hash == hashed(collection.0),
            }
    }

    /// The mark of a call that brings what both would: its version is the later one.
    #[must_use]
    pub fn later(self, other: Mark) -> Mark {
        if (self.bucket, self.number) >= (other.bucket, other.number) { self } else { other }
    }

    /// The value of the header `baggage`; `None` if only the trace's header is known.
    pub fn baggage(&self) -> Option<String> {
        let origin = match self.origin {
            MarkOrigin::Unknown => 0,
            MarkOrigin::Id(id) => id.0 as u64,
            MarkOrigin::Hash(_) => return None,
        };
        Some(format!("{MEMBER}={FORMAT}.{}.{}.{}", base36(origin), base36(self.bucket), base36(self.number)))
    }

    /// The value of the header `traceparent`, with this span. The trace is not sampled: a server with tracing exports
    /// nothing for it.
    pub fn traceparent(&self, span: u64) -> String {
        let hash = match self.origin {
            MarkOrigin::Unknown => 0,
            MarkOrigin::Id(id) => hashed(id.0),
            MarkOrigin::Hash(hash) => hash,
        };
        let number = u128::from(self.number >> NUMBER_BITS_LOST) & 0xffff;
        let bucket = u128::from(self.bucket) & ((1 << 36) - 1);
        let content = ((MAGIC << 36 | bucket) << 32 | u128::from(hash)) << 16 | number;
        format!("00-{:032x}-{:016x}-00", content << 16 | u128::from(checksum(content)), span.max(1))
    }

    /// The mark among the properties of a message; `None` where there is none of ours.
    pub fn of_properties<'a>(properties: impl Iterator<Item = (&'a str, &'a [u8])>) -> Option<Mark> {
        let (mut by_baggage, mut by_trace) = (None, None);
        for (key, value) in properties {
            if key == BAGGAGE {
                by_baggage = by_baggage.or_else(|| Mark::parse_baggage(std::str::from_utf8(value).ok()?));
            } else if key == TRACE {
                by_trace = by_trace.or_else(|| Mark::parse_traceparent(std::str::from_utf8(value).ok()?));
            }
        }
        by_baggage.or(by_trace)
    }

    /// Finds our member beside a user's own.
    fn parse_baggage(header: &str) -> Option<Mark> {
        let member = |text: &'_ str| {
            let (key, value) = text.split_once('=')?;
            (key.trim() == MEMBER).then(|| value.split(';').next().unwrap_or_default().trim().to_owned())
        };
        let value = header.split(',').find_map(member)?;
        let mut parts = value.split('.');
        if parts.next()? != FORMAT {
            return None;
        }
        let mut number = || from_base36(parts.next()?);
        let (origin, bucket, number) = (number()?, number()?, number()?);
        if parts.next().is_some() {
            return None;
        }
        let origin = match i64::try_from(origin).ok()? {
            0 => MarkOrigin::Unknown,
            id => MarkOrigin::Id(CollectionId(id)),
        };
        Some(Mark { origin, bucket, number })
    }

    /// Reads a trace id of ours; any other has neither the magic number nor the checksum.
    fn parse_traceparent(header: &str) -> Option<Mark> {
        let trace = header.trim().strip_prefix("00-")?.split('-').next().filter(|trace| trace.len() == 32)?;
        Mark::of_trace(u128::from_str_radix(trace, 16).ok()?)
    }

    /// The mark that a trace's id is; `None` for an id that is not ours.
    pub fn of_trace(id: u128) -> Option<Mark> {
        let content = id >> 16;
        if content >> 84 != MAGIC || checksum(content) != id as u16 {
            return None;
        }
        let origin = match (content >> 16) as u32 {
            0 => MarkOrigin::Unknown,
            hash => MarkOrigin::Hash(hash),
        };
        let bucket = (content >> 48) as u64 & ((1 << 36) - 1);
        Some(Mark { origin, bucket, number: u64::from(content as u16) << NUMBER_BITS_LOST })
    }
}

/// Never zero, which stands for no collection.
fn hashed(id: i64) -> u32 {
    // The finalizer of SplitMix64.
    let mut hash = (id as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((hash ^ hash >> 31) as u32).max(1)
}

/// CRC-16 (CCITT) of the lower 112 bits.
fn checksum(content: u128) -> u16 {
    content.to_be_bytes()[2..].iter().fold(0xffff, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    })
}

fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from_digit((number % 36) as u32, 36).unwrap_or_default());
        number /= 36;
        if number == 0 {
            return digits.iter().rev().collect();
        }
    }
}

/// Reads what [`base36`] writes, and nothing else: no sign, no capitals.
fn from_base36(text: &str) -> Option<u64> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
    text.bytes().all(is_digit).then(|| u64::from_str_radix(text, 36).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of_headers(headers: &[(&str, &str)]) -> Option<Mark> {
        Mark::of_properties(headers.iter().map(|(key, value)| (*key, value.as_bytes())))
    }

    const ID: CollectionId = CollectionId(446_028_871_133_593_604);
    const LATEST: Timestamp = Timestamp(446_028_900_000_000_123);

    #[test]
    fn users_own_headers_are_not_ours_and_do_not_hide_ours() {
        let mark = Mark::of(ID, LATEST);
        let ours = mark.baggage().unwrap();
        for header in [format!("user=alice,{ours}"), format!(" {ours};ttl=5 , b=c"), ours.replace('=', " = ")] {
            assert_eq!(of_headers(&[("baggage", &header)]), Some(mark), "{header}");
        }
        for header in
            ["user=alice", "", "milvus-cdc", "milvus-cdc=", "milvus-cdc=2.1.1.1", "milvus-cdc=1.1.1", "x=1.1.1.1"]
        {
            assert_eq!(of_headers(&[("baggage", header)]), None, "{header}");
        }
        for header in ["milvus-cdc=1.1.1.1.1", "milvus-cdc=1.+1.1.1", "milvus-cdc=1.A.1.1", "milvus-cdc=1.-1.1.1"] {
            assert_eq!(of_headers(&[("baggage", header)]), None, "{header}");
        }
        let theirs = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(of_headers(&[("traceparent", theirs), ("msg_type", "400")]), None);
        assert_eq!(of_headers(&[("traceparent", theirs), ("baggage", &ours)]), Some(mark));
    }

    #[test]
    fn the_trace_alone_tells_whose_it_is() {
        let mark = Mark::of(ID, LATEST);
        let trace = mark.traceparent(7);
        let found = of_headers(&[("traceparent", &trace)]).unwrap();
        assert!(found.is_of(ID) && !found.is_of(CollectionId(ID.0 + 1)), "{trace}");
        assert_eq!((found.bucket, found.baggage()), (mark.bucket, None));
        assert_eq!(found.traceparent(7), trace, "it is handed on as it came");
        let of_none = of_headers(&[("traceparent", &Mark::OF_NO_COLLECTION.traceparent(7))]).unwrap();
        assert_eq!(of_none, Mark::OF_NO_COLLECTION);
    }

    #[test]
    fn a_collection_without_an_id_is_nobodys() {
        for id in [CollectionId(0), CollectionId(-3)] {
            let mark = Mark::of(id, LATEST);
            assert!(!mark.is_of(id) && mark.origin() == MarkOrigin::Unknown);
        }
    }

    proptest! {
        #[test]
        fn comes_back_as_it_was_sent(id in 1..i64::MAX, ts in any::<u64>()) {
            let mark = Mark::of(CollectionId(id), Timestamp(ts));
            prop_assert_eq!(of_headers(&[("baggage", &mark.baggage().unwrap())]), Some(mark));
        }

        #[test]
        fn no_other_trace_is_ours(id in any::<u128>(), flags in any::<u8>()) {
            prop_assume!(id >> 100 != MAGIC);
            prop_assert_eq!(Mark::parse_traceparent(&format!("00-{id:032x}-00000000000000ff-{flags:02x}")), None);
        }

        #[test]
        fn one_changed_bit_of_a_trace_is_noticed(ts in any::<u64>(), bit in 0..128u32) {
            let text = Mark::of(ID, Timestamp(ts)).traceparent(1);
            let changed = u128::from_str_radix(&text[3..35], 16).unwrap() ^ 1 << bit;
            prop_assert_eq!(Mark::parse_traceparent(&format!("00-{changed:032x}-0000000000000001-00")), None);
        }

        #[test]
        fn any_text_is_read_without_harm(text in ".*", key in "baggage|traceparent|other") {
            let _ = of_headers(&[(&key, &text)]);
        }
    }
}
