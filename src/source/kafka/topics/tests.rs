//! FAKE: the mock of a cluster that librdkafka brings, and a consumer that is told not to fetch. What makes a real one
//! stop fetching without a word is not known to happen on cue.

use std::collections::BTreeMap;

use rdkafka::config::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::*;
use crate::config::KafkaConfig;
use crate::source::kafka::client::consumer;

const TOPIC: &str = "by-dev-dml_0";
const PATIENCE: Duration = Duration::from_secs(30);

fn write(producer: &BaseProducer) {
    producer
        .send(BaseRecord::<str, str>::to(TOPIC).payload("x").partition(PARTITION))
        .map_err(|(error, _)| error)
        .unwrap();
    producer.flush(PATIENCE).unwrap();
}

/// Reads until an offset has been passed on.
fn read_until(topics: &mut KafkaTopics, channel: &Channel, last: u64) {
    let (begun, mut next) = (Instant::now(), ReadFrom::First);
    while next != ReadFrom::After(Position::at(last)) {
        assert!(begun.elapsed() < PATIENCE, "read up to {next:?}");
        topics.read(channel, next, 1 << 20, &mut |message| next = ReadFrom::After(message.position)).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Nothing comes, as for a while.
fn reads_nothing_for_long(topics: &mut KafkaTopics, channel: &Channel, last: u64) -> bool {
    topics.topics.get_mut(channel).unwrap().silent_since -= STALLED;
    let next = ReadFrom::After(Position::at(last));
    topics.read(channel, next, 1 << 20, &mut |message| panic!("{:?} has come", message.position)).unwrap();
    topics.take_stalled()
}

#[test]
fn a_consumer_that_brings_nothing_of_what_the_brokers_have_is_noticed() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let address = cluster.bootstrap_servers();
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &address).create().unwrap();
    let config = KafkaConfig { address, login: None, tls: None, properties: BTreeMap::new() };
    let (channel, consumer) = (Channel::new(TOPIC), consumer(&config).unwrap());
    let mut topics = KafkaTopics::new(Arc::clone(&consumer));
    write(&producer);
    read_until(&mut topics, &channel, 0);
    assert!(!reads_nothing_for_long(&mut topics, &channel, 0), "there is nothing");
    consumer.pause(&partition_at(&channel, Offset::Invalid).unwrap()).unwrap();
    write(&producer);
    assert!(!topics.take_stalled());
    assert!(reads_nothing_for_long(&mut topics, &channel, 0), "offset 1 is there");
    assert!(!topics.take_stalled(), "told once");
}
