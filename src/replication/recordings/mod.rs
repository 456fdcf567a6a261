/*!
The real loop over recorded logs of real servers, killed at every tenth record. What is on disk then is what the next
life begins with, and the target keeps what it was sent; in the end it holds what an undisturbed run leaves, and the
keys that the server was told to hold.

The target is a model, as in [`super::model`]; that the undisturbed run leaves the rows that were written is proved by
`tests/it/recordings.rs` for every field, and on real targets by `tests/e2e/test_replay_queues.py`.
*/

mod life;
mod target;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use self::life::{Catalog, Ending, Lives};
use self::target::Target;
use crate::source::{Recording, WayIn};

/// Records between two kills.
const EVERY: usize = 10;

struct Check {
    recording: Arc<Recording>,
    way: WayIn,
}

impl Check {
    fn of(name: &'static str, way: WayIn) -> Check {
        Check { recording: Arc::new(Recording::unpack(name)), way }
    }

    /// Kills at every tenth record, each of them in another way.
    fn run(&self) {
        let open = Arc::clone(&self.recording).opener(self.way);
        let catalog = Catalog::of(&self.recording);
        let undisturbed = Lives::new(open.as_ref(), &catalog, &self.recording.channels()).until_rest();
        self.assert_expected_keys(&catalog, &undisturbed);
        let mut lives = Lives::new(open.as_ref(), &catalog, &self.recording.channels());
        let mut kills = 0;
        while lives.live(EVERY, Ending::numbered(kills)) {
            kills += 1;
        }
        assert!(kills > 100, "only {kills} kills");
        assert_eq!(lives.until_rest().differences(&undisturbed), Vec::<String>::new(), "{kills} kills");
    }

    fn assert_expected_keys(&self, catalog: &Catalog, found: &Target) {
        let expected = self.recording.json("expected.json");
        let mut checked = 0;
        for collection in
            expected["collections"].as_array().unwrap().iter().filter(|it| it["dropped_in_step"].is_null())
        {
            let name = (text(&collection["database"]), text(&collection["name"]));
            let wanted: BTreeMap<String, usize> = keys_of(collection).map(|key| (key, 1)).collect();
            assert_eq!(found.keys(catalog.id_of(&name)), wanted, "{name:?}");
            checked += wanted.len();
        }
        assert!(checked > 300, "only {checked} rows");
    }
}

/// The keys of the rows that were written, and of those that the client gave up though they are in the log.
fn keys_of(collection: &Value) -> impl Iterator<Item = String> {
    let fields = collection["fields"].as_array().unwrap();
    let key = &fields.iter().find(|field| field["is_primary"] == true).unwrap()["name"];
    let uncertain = collection["uncertain"].as_array().into_iter().flatten();
    let committed = uncertain.filter(|written| written["committed_in_log"] == true);
    let given_up = committed.flat_map(|written| written["rows"].as_array().unwrap()).map(|row| &row[text(key)]);
    let certain = collection["rows"].as_array().unwrap().iter().map(|row| &row["key"]);
    certain.chain(given_up).map(|key| key.as_str().map_or_else(|| key.to_string(), str::to_owned))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
#[ignore = "needs the recordings; scripts/test runs it where they are"]
fn kills_at_every_tenth_record_of_rocksmq() {
    for name in ["2.6.20-rocksmq", "2.6.20-rocksmq-rollback", "3.0-rocksmq"] {
        Check::of(name, WayIn::RocksMq).run();
    }
}

#[test]
#[ignore = "needs the recordings; scripts/test runs it where they are"]
fn kills_at_every_tenth_record_of_kafka() {
    Check::of("2.6.20-kafka", WayIn::Kafka).run();
}

#[test]
#[ignore = "needs the recordings; scripts/test runs it where they are"]
fn kills_at_every_tenth_record_of_pulsar() {
    Check::of("2.6.20-pulsar", WayIn::Pulsar).run();
}

#[test]
#[ignore = "needs the recordings; scripts/test runs it where they are"]
fn kills_at_every_tenth_record_over_dump_messages() {
    for name in [
        "2.6.20-woodpecker",
        "3.0-woodpecker",
        "2.6.20-rocksmq",
        "2.6.20-rocksmq-rollback",
        "3.0-rocksmq",
        "2.6.20-kafka",
        "2.6.20-pulsar",
    ] {
        Check::of(name, WayIn::Wal).run();
    }
}
