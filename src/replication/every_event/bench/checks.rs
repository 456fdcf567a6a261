//! What must come of certain paths.

use super::*;

impl Bench {
    /// A row of its log without a key that could be read.
    pub(in crate::replication::every_event) fn check_that_an_unreadable_row_holds_its_collection_alone(mut self) {
        let (partition, columns) = (PartitionId(2), vec![longs("version", &[1])]);
        let insert = Insert { collection: ID, partition, rows: 1, columns, half: false, row_id: Some(1) };
        self.records(vec![Body::Insert(insert), Body::Tick { resume: None }]);
        assert!(self.sight().reasons.rows.is_some(), "it is not held");
        assert!(self.calls.is_empty());
        let details = self.task.collections().details(&AsideCollections::default());
        let stage = |id: CollectionId| details.iter().find(|detail| detail.id == id.0).map(|it| it.stage.name());
        assert_eq!((stage(ID), stage(OTHER)), (Some("held"), Some("following")));
        let hold = details.iter().find_map(|detail| detail.hold.as_ref()).expect("why");
        assert!(hold.why.contains("its rows cannot be read"), "{}", hold.why);
    }

    /// A comparison of everything that no user has asked for keeps the rows of what is held for too many of them.
    pub(in crate::replication::every_event) fn check_that_a_held_collection_keeps_its_rows(mut self) {
        self.feed(Event::Catalog(CatalogEvent::TargetRestored(none())));
        self.happen(Happening::AnHourPasses);
        let job = self.job.take().expect("a comparison");
        assert_eq!((job.against, job.surplus), (Against::Target, SurplusRows::Keep));
    }

    /// All collections that the task has are compared, and a restart goes on with that.
    pub(in crate::replication::every_event) fn check_that_a_restored_target_is_compared(mut self) {
        self.feed(Event::Catalog(CatalogEvent::TargetRestored(none())));
        let stages = |bench: &Bench| {
            bench
                .task
                .collections()
                .details(&AsideCollections::default())
                .iter()
                .map(|detail| detail.stage.name())
                .collect::<Vec<_>>()
        };
        assert_eq!(stages(&self), ["copying", "copying"]);
        let job = self.job.take().expect("a comparison");
        assert_eq!((job.against, job.surplus), (Against::Target, SurplusRows::Remove));
        let compared =
            |copy: &CollectionCheckpoint| matches!(copy, CollectionCheckpoint::Backfill { compare: true, .. });
        assert!(self.checkpoint.collections.values().all(compared), "{:?}", self.checkpoint.collections);
    }
}
