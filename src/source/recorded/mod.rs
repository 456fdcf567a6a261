/*!
Logs of real servers (Milvus 2.6.20 and 3.0), recorded byte by byte, as a task reads them: each in its way in. They are
no part of the repository (see `tests/it/recordings.rs`), so tests of them are ignored until they are asked for.

RocksMQ's files are opened as they are. A recorded Kafka or Pulsar is FAKE in that its messages come from memory; what
they mean is decoded and searched as ever. So is the server behind `wal`, see [`super::wal::recorded`].
*/

mod queue;
mod unpacked;

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protobuf::Message;
use serde_json::Value;

use self::queue::RecordedQueue;
pub(crate) use self::unpacked::Recording;
use super::decode::wal_message_id::Queue;
use super::idle_ticks::IdleTicks;
use super::log::Log;
use super::rocksmq::RocksMq;
use super::wal::recorded::RecordedWal;
use crate::domain::Channel;

/// How a recording is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WayIn {
    RocksMq,
    Kafka,
    Pulsar,
    /// `DumpMessages`.
    Wal,
}

impl Recording {
    /// What the server has answered in the last step, by database and collection. Refusals are left out.
    pub(crate) fn last_answers<M: Message>(&self, method: &str) -> BTreeMap<(String, String), M> {
        let answer = |(place, line): ((String, String), Value)| {
            let bytes = STANDARD.decode(line["response"].as_str()?).unwrap();
            Some((place, M::parse_from_bytes(&bytes).unwrap()))
        };
        self.last_calls(method).into_iter().filter_map(answer).collect()
    }

    /// Its log, opened as a life of the process opens it. The first call may take a while.
    pub(crate) fn opener(self: Arc<Self>, way: WayIn) -> Box<dyn Fn() -> Arc<dyn Log>> {
        match way {
            WayIn::RocksMq => {
                self.extract(&self.path("rocksmq.tar.xz"));
                let (path, own) = (self.path("rdb_data"), self.path("own"));
                Box::new(move || {
                    // It lives as long as the folder does.
                    let _unpacked = &self;
                    let log = RocksMq::open(&path, &own, IdleTicks::by(|| None)).unwrap();
                    log.refresh().unwrap();
                    Arc::new(log)
                })
            }
            WayIn::Kafka => {
                let messages = queue::of_kafka(&self.lines("kafka.jsonl"));
                Box::new(move || Arc::new(RecordedQueue::new(Queue::Kafka, Arc::clone(&messages))))
            }
            WayIn::Pulsar => {
                let messages = queue::of_pulsar(&self.lines("pulsar.jsonl"));
                Box::new(move || Arc::new(RecordedQueue::new(Queue::Pulsar, Arc::clone(&messages))))
            }
            WayIn::Wal => {
                let bytes = |channel: Channel| {
                    let file = self.path(&format!("dump/{channel}.bin"));
                    (channel, bytes::Bytes::from(std::fs::read(file).unwrap()))
                };
                let answers = RecordedWal::answers(self.channels().into_iter().map(bytes));
                Box::new(move || Arc::new(RecordedWal::new(Arc::clone(&answers))))
            }
        }
    }
}
