/*!
Removes the series of deleted tasks and dropped collections: a source may create and drop collections indefinitely.
*/

use std::collections::{BTreeMap, BTreeSet, HashMap};

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};

/// Name and `api_type` of a collection's series.
type Labels = (String, String);

/// The series of collections, by task and collection: searching all series would take longer with every collection.
#[derive(Default)]
pub(super) struct CollectionSeries(BTreeMap<String, BTreeMap<i64, BTreeSet<Labels>>>);

impl CollectionSeries {
    pub(super) fn note(&mut self, task: &str, collection: i64, name: &str, api_type: &str) {
        let of_task = self.0.entry(task.to_owned()).or_default();
        of_task.entry(collection).or_default().insert((name.to_owned(), api_type.to_owned()));
    }

    /// Takes out the series of a collection: several names if it has been renamed.
    pub(super) fn take(&mut self, task: &str, collection: i64) -> BTreeSet<Labels> {
        self.0.get_mut(task).and_then(|of_task| of_task.remove(&collection)).unwrap_or_default()
    }

    pub(super) fn forget_task(&mut self, task: &str) {
        self.0.remove(task);
    }
}

/// Removes every series with this label.
pub(super) fn remove_with<T: MetricVecBuilder>(metric: &MetricVec<T>, label: &str, value: &str) {
    for family in metric.collect() {
        for series in family.get_metric() {
            let labels: HashMap<&str, &str> =
                series.get_label().iter().map(|label| (label.name(), label.value())).collect();
            if labels.get(label) == Some(&value) {
                // Another thread may have removed it.
                let _ = metric.remove(&labels);
            }
        }
    }
}
