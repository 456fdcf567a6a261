//! What becomes of the catalog's steps when an answer is lost or the process dies at any call or any step of a file.
//! Source and target are FAKES ([`FakeMilvus`]): the answer must be lost at one certain call.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::*;
use crate::domain::{CollectionId, CollectionName};
use crate::failpoint::walk::folder;
use crate::failpoint::{CallFault, Faults, FileFault};
use crate::milvus::fake::{Collections, FakeCollection, FakeMilvus, Repeats};
use crate::milvus::pb::schema::{CollectionSchema, FieldSchema};
use crate::source::NoLog;
use crate::task::spec::{SelectedCollection, Selection};

pub(super) const MANNERS: [Repeats; 2] = [Repeats::Succeed, Repeats::AreRefused];

/// One change at the source: what there is before, and after.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) before: Collections,
    pub(super) after: Collections,
    /// The calls by which the target is changed.
    pub(super) methods: &'static [&'static str],
}

fn field(id: i64, name: &str) -> FieldSchema {
    let is_key = name == "id";
    FieldSchema {
        fieldID: id,
        name: name.into(),
        is_primary_key: is_key,
        nullable: !is_key,
        data_type: 5,
        ..FieldSchema::default()
    }
}

pub(super) fn collection(id: i64, name: &str) -> FakeCollection {
    let fields = vec![field(100, "id"), field(101, "value")];
    FakeCollection {
        id,
        schema: CollectionSchema { name: name.into(), fields, ..CollectionSchema::default() },
        shards: 1,
        partitions: ["_default".to_owned()].into(),
        ..FakeCollection::default()
    }
}

/// Collections with their databases; their names are those of their schemas.
pub(super) fn world<const N: usize>(collections: [(&str, FakeCollection); N]) -> Collections {
    world_of(collections.into_iter())
}

pub(super) fn world_of<'a>(collections: impl Iterator<Item = (&'a str, FakeCollection)>) -> Collections {
    let mut world = Collections::from([("default".to_owned(), BTreeMap::new())]);
    for (db, collection) in collections {
        world.entry(db.to_owned()).or_default().insert(collection.schema.name.clone(), collection);
    }
    world
}

fn books() -> FakeCollection {
    collection(1, "books")
}

fn with(change: impl FnOnce(&mut FakeCollection)) -> Collections {
    let mut changed = books();
    change(&mut changed);
    world([("default", changed)])
}

fn index(field: &str) -> (String, BTreeMap<String, String>) {
    (field.into(), [("index_type".to_owned(), "STL_SORT".to_owned())].into())
}

fn everything(id: i64) -> FakeCollection {
    let mut everything = collection(id, &format!("c{id}"));
    everything.partitions.insert("p".into());
    everything.indexes.insert("i".into(), index("value"));
    everything.aliases.insert(format!("a{id}"));
    everything.is_loaded = true;
    everything
}

pub(super) fn cases() -> Vec<Case> {
    let plain = || world([("default", books())]);
    let partitioned = || with(|books| books.partitions.extend(["p".to_owned()]));
    let indexed = || with(|books| drop(books.indexes.insert("i".into(), index("value"))));
    let two = |aliased: usize| {
        let mut two = [books(), collection(2, "others")];
        two[aliased].aliases.insert("a".into());
        let [books, others] = two;
        world([("default", books), ("default", others)])
    };
    let aliased = || with(|books| books.aliases.extend(["a".to_owned()]));
    let loaded = || with(|books| books.is_loaded = true);
    let pair = |first, second| world([("default", collection(1, first)), ("default", collection(2, second))]);
    let both_aliased = |first: &str, second: &str| {
        let mut both = [books(), collection(2, "others")];
        both[0].aliases.insert(first.into());
        both[1].aliases.insert(second.into());
        world(both.map(|collection| ("default", collection)))
    };
    let case = |name, before, after, methods| Case { name, before, after, methods };
    vec![
        case("create", world([]), plain(), &["CreateCollection"]),
        case("create in a database", world([]), world([("d", books())]), &["CreateDatabase", "CreateCollection"]),
        case("drop", plain(), world([]), &["DropCollection"]),
        case("rename", plain(), world([("default", collection(1, "volumes"))]), &["RenameCollection"]),
        case("move to a database", plain(), world([("d", books())]), &["CreateDatabase", "RenameCollection"]),
        case(
            "drop and create again",
            plain(),
            world([("default", collection(9, "books"))]),
            &["DropCollection", "CreateCollection"],
        ),
        case(
            "add a field",
            plain(),
            with(|books| books.schema.fields.push(field(102, "more"))),
            &["AddCollectionField"],
        ),
        case("create a partition", plain(), partitioned(), &["CreatePartition"]),
        case("drop a partition", partitioned(), plain(), &["DropPartition"]),
        case("create an index", plain(), indexed(), &["CreateIndex"]),
        case("drop an index", indexed(), plain(), &["DropIndex"]),
        case("create an alias", plain(), aliased(), &["CreateAlias"]),
        case("drop an alias", aliased(), plain(), &["DropAlias"]),
        case("move an alias", two(0), two(1), &[]),
        case("swap two names", pair("books", "others"), pair("others", "books"), &["RenameCollection"]),
        case("move two aliases to and fro", both_aliased("a", "b"), both_aliased("b", "a"), &[]),
        case(
            "create several at once",
            world([]),
            world_of((1..=3).map(|id| ("d", everything(id)))),
            &["CreateDatabase", "CreateCollection", "CreateAlias", "LoadCollection"],
        ),
        case("load", plain(), loaded(), &["LoadCollection"]),
        case("release", loaded(), plain(), &["ReleaseCollection"]),
        case(
            "set a property",
            plain(),
            with(|books| drop(books.properties.insert("p".into(), "1".into()))),
            &["AlterCollection"],
        ),
    ]
}

/// Source and target, and the folder of the task between them.
pub(super) struct Between {
    pub(super) source: Arc<FakeMilvus>,
    pub(super) target: Arc<FakeMilvus>,
    pub(super) folder: tempfile::TempDir,
    pub(super) on_drop: OnDrop,
    pub(super) log_marks: LogMarks,
}

/// What counts of a server: by database and collection its fields, partitions, indexes, aliases and whether it is
/// loaded.
type Seen = BTreeMap<String, BTreeMap<String, String>>;

fn seen(server: &FakeMilvus) -> Seen {
    let seen = |collection: &FakeCollection| {
        let fields: Vec<&str> = collection.schema.fields.iter().map(|field| field.name.as_str()).collect();
        let FakeCollection { partitions, indexes, aliases, properties, is_loaded, .. } = collection;
        format!("{fields:?} {partitions:?} {indexes:?} {aliases:?} {properties:?} loaded {is_loaded}")
    };
    let of_database = |names: &BTreeMap<String, FakeCollection>| -> BTreeMap<String, String> {
        names.iter().map(|(name, collection)| (name.clone(), seen(collection))).collect()
    };
    server.collections().iter().map(|(db, names)| (db.clone(), of_database(names))).collect()
}

impl Between {
    /// The state before the change is replicated already.
    pub(super) fn of(case: &Case, manner: Repeats) -> Between {
        let (source, target) = (FakeMilvus::new(Repeats::Succeed), FakeMilvus::new(manner));
        let between =
            Between { source, target, folder: folder(), on_drop: OnDrop::default(), log_marks: LogMarks::Kept };
        between.source.become_this(case.before.clone());
        between.converge(case.name);
        between.source.become_this(case.after.clone());
        between
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A process that replicates the catalog; rows are never in the way of a step.
    pub(super) fn process(&self) -> CatalogWatch {
        // What a listing shows suffices: no log is read here.
        self.process_that_releases_after(Duration::ZERO)
    }

    pub(super) fn process_that_releases_after(&self, release_after: Duration) -> CatalogWatch {
        let (events, received) = bounded(MAX_EVENTS);
        std::thread::spawn(move || {
            for event in received {
                // A catalog that has ended meanwhile needs no answer.
                if let CatalogEvent::Block { answer, .. } | CatalogEvent::Lost { noted: answer, .. } = event {
                    let _ = answer.send(());
                }
            }
        });
        let setup = Setup { release_after, ..self.setup() };
        let record = CatalogRecord::open(self.path()).unwrap();
        let source = SourceGuard::open(self.path(), Arc::clone(&setup.log)).unwrap();
        let guards = Guards { source, target: TargetGuard::open(self.path()).unwrap() };
        assemble(setup, record, guards, events).unwrap()
    }

    fn setup(&self) -> Setup {
        Setup {
            task: "t".into(),
            source: self.source.client("source:1"),
            target: self.target.client("target:1"),
            scope: Scope::of(&Selection {
                collection_infos: Some(vec![SelectedCollection { name: "*".into(), ..SelectedCollection::default() }]),
                db_collections: None,
            }),
            mapping: NameMapping::default(),
            ignore_partitions: false,
            log: Arc::new(NoLog),
            log_marks: self.log_marks,
            on_drop: self.on_drop,
            drops: Arc::default(),
            paused: Arc::default(),
            load: LoadPolicy::Follow,
            release_after: Duration::ZERO,
            noted_ends: None,
            data_dir: self.path().to_owned(),
            folder: self.path().to_owned(),
            history: Arc::new(History::default()),
            source_time: Arc::default(),
            cancel: Cancel::default(),
        }
    }

    pub(super) fn is_equal(&self) -> bool {
        seen(&self.source) == seen(&self.target)
    }

    /// A new process replicates all that differs, without having to wait for anything.
    pub(super) fn converge(&self, at: &str) {
        self.converge_by(self.process(), at);
    }

    fn converge_by(&self, mut watch: CatalogWatch, at: &str) {
        for _ in 0..4 {
            watch.run_round(&mut vec![Hint::Anything]).unwrap();
            if self.is_equal() && self.unrecorded().is_empty() {
                return;
            }
        }
        let (wanted, found) = (seen(&self.source), seen(&self.target));
        assert_eq!(found, wanted, "{at}: the target differs; it did {:?}", self.target.done());
    }

    /// What is on the target without a record: it would never be dropped.
    fn unrecorded(&self) -> Vec<String> {
        let record = CatalogRecord::open(self.path()).unwrap();
        let recorded: BTreeSet<CollectionName> = record.target_names().into_iter().collect();
        let there = self.target.collections();
        let databases = there.keys().filter(|db| *db != "default" && !record.databases().contains(*db)).cloned();
        let names = there.iter().flat_map(|(db, names)| names.keys().map(move |name| CollectionName::new(db, name)));
        databases.chain(names.filter(|name| !recorded.contains(name)).map(|name| name.to_string())).collect()
    }

    fn assert_recorded(&self, at: &str) {
        assert_eq!(self.unrecorded(), Vec::<String>::new(), "{at}: not recorded");
    }

    /// The source drops everything: so does the target, which shows that all of it is known to be ours.
    pub(super) fn assert_all_is_ours(&self, at: &str) {
        self.source.become_this(world([]));
        let mut watch = self.process();
        // A user who is asked agrees.
        watch.approved.extend(watch.steps.target.record().ids());
        watch.approved_databases.extend(watch.steps.target.record().databases());
        self.converge_by(watch, at);
    }
}

fn dies(case: &Case, manner: Repeats, at: &str, faults: &Faults, arm: impl FnOnce(&Faults)) -> bool {
    let between = Between::of(case, manner);
    arm(faults);
    let life = faults.process(|| {
        let mut watch = between.process();
        (0..4).for_each(|_| drop(watch.run_round(&mut vec![Hint::Anything])));
    });
    faults.clear();
    if !faults.has_struck() {
        return false;
    }
    let at = format!("{}, {manner:?}, {at}, {:?}", case.name, faults.trace().last());
    life.unwrap_err();
    between.assert_recorded(&at);
    between.converge(&at);
    between.assert_recorded(&at);
    between.assert_all_is_ours(&at);
    true
}

/// Lets a process die in its first round, after each call in turn, and looks at what it has left. Returns how many
/// calls the round makes.
pub(super) fn dies_after_each_call(make: impl Fn() -> Between, look: impl Fn(&Between, usize)) -> usize {
    for n in 1.. {
        let (faults, between) = (Faults::install(), make());
        faults.at_call("*", n, CallFault::CrashAfter);
        let life = faults.process(|| drop(between.process().run_round(&mut vec![Hint::Anything])));
        faults.clear();
        if !faults.has_struck() {
            return n - 1;
        }
        life.unwrap_err();
        look(&between, n);
    }
    unreachable!("a round ends")
}

#[test]
fn a_process_that_dies_at_any_call_is_followed_by_one_that_recognises_what_is_there() {
    for (case, manner) in cases().iter().flat_map(|case| MANNERS.map(|manner| (case, manner))) {
        // Before the next call is after this one.
        let walked = (1..).take_while(|&n| {
            let faults = Faults::install();
            let arm = |faults: &Faults| faults.at_call("*", n, CallFault::CrashAfter);
            dies(case, manner, &format!("after call {n}"), &faults, arm)
        });
        assert!(walked.count() > 5, "{}", case.name);
    }
}

/// Nothing at the source names it any more.
#[test]
fn a_rename_that_a_crash_has_hidden_is_known_when_the_source_has_dropped_the_collection() {
    let renames = |case: &Case| case.methods.contains(&"RenameCollection");
    for (case, manner) in cases().iter().filter(|case| renames(case)).flat_map(|case| MANNERS.map(|how| (case, how))) {
        let at = |n| format!("{}, {manner:?}, after call {n}", case.name);
        let walked =
            dies_after_each_call(|| Between::of(case, manner), |between, n| between.assert_all_is_ours(&at(n)));
        assert!(walked > 5, "{}", case.name);
    }
}

#[test]
fn a_process_that_dies_at_any_step_of_its_record_leaves_nothing_unrecorded() {
    for case in &cases() {
        for fault in FileFault::DEATHS {
            let walked = (1..).take_while(|&n| {
                let faults = Faults::install();
                let at = format!("{fault:?} at step {n}");
                dies(case, Repeats::AreRefused, &at, &faults, |faults| faults.at_file_step(n, fault))
            });
            assert!(walked.count() > 5, "{}", case.name);
        }
    }
}

/// The same process, which tries again after a while.
#[test]
fn a_step_whose_answer_is_lost_is_recognised_when_it_is_repeated() {
    for (case, manner) in cases().iter().flat_map(|case| MANNERS.map(|manner| (case, manner))) {
        for method in case.methods {
            for fault in [CallFault::AnswerLost, CallFault::Unreachable, CallFault::Refused(8)] {
                let (faults, between) = (Faults::install(), Between::of(case, manner));
                faults.at_call(method, 1, fault);
                let at = format!("{}, {manner:?}, {fault:?} at {method}", case.name);
                let mut watch = between.process();
                for _ in 0..200 {
                    watch.run_round(&mut vec![Hint::Anything]).unwrap();
                    if between.is_equal() && between.unrecorded().is_empty() {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                assert!(faults.has_struck(), "{at}");
                assert!(between.is_equal(), "{at}: the target did {:?}", between.target.done());
                between.assert_recorded(&at);
                between.assert_all_is_ours(&at);
            }
        }
    }
}

/// Neither dropped nor renamed nor altered; everything follows when it goes on.
#[test]
fn nothing_of_what_a_user_has_paused_is_changed() {
    for case in &cases() {
        let between = Between::of(case, Repeats::AreRefused);
        // An empty database may come.
        let held = || seen(&between.target).into_values().flatten().collect::<Vec<_>>();
        let before = held();
        let mut watch = between.process();
        watch.steps.paused.set((1..=3).map(CollectionId));
        (0..4).for_each(|_| drop(watch.run_round(&mut vec![Hint::Anything])));
        assert_eq!(held(), before, "{}: the target did {:?}", case.name, between.target.done());
        drop(watch);
        between.converge(case.name);
    }
}

/// A property that the target refuses for now, and an index for good.
#[test]
fn a_refused_step_holds_back_no_other() {
    let (faults, before) = (Faults::install(), world([("default", books())]));
    let after = with(|books| {
        books.properties.insert("p".into(), "1".into());
        books.indexes.insert("i".into(), index("value"));
        books.aliases.insert("a".into());
        books.is_loaded = true;
    });
    let between = Between::of(&Case { name: "everything", before, after, methods: &[] }, Repeats::Succeed);
    (1..100).for_each(|n| faults.at_call("AlterCollection", n, CallFault::Refused(65535)));
    faults.at_call("CreateIndex", 1, CallFault::Refused(1100));
    let mut watch = between.process();
    watch.run_round(&mut vec![Hint::Anything]).unwrap();
    let books = between.target.collections()["default"]["books"].clone();
    assert!(books.aliases.contains("a") && books.is_loaded, "{:?}", between.target.done());
    assert!(books.properties.is_empty() && books.indexes.is_empty(), "{:?}", between.target.done());
}

/// Whichever of the two collections is looked at first, and also when the one that had it is dropped at once.
#[test]
fn an_alias_moves_in_one_call() {
    let aliased = |id, name, aliases: &[&str]| {
        let mut one = collection(id, name);
        one.aliases.extend(aliases.iter().map(|alias| (*alias).to_owned()));
        ("default", one)
    };
    let on_first = world([aliased(1, "books", &["a"]), aliased(2, "others", &[])]);
    let on_second = world([aliased(1, "books", &[]), aliased(2, "others", &["a"])]);
    let first_is_gone = world([aliased(2, "others", &["a"])]);
    let second_is_gone = world([aliased(1, "books", &["a"])]);
    for (name, before, after) in [
        ("to the later", on_first.clone(), on_second.clone()),
        ("to the earlier", on_second.clone(), on_first.clone()),
        ("from the dropped earlier", on_first, first_is_gone),
        ("from the dropped later", on_second, second_is_gone),
    ] {
        let between = Between::of(&Case { name, before, after, methods: &[] }, Repeats::AreRefused);
        let begun = between.target.done().len();
        between.converge(name);
        let done = between.target.done().split_off(begun);
        assert_eq!(done.iter().filter(|done| *done == "alias a").count(), 1, "{name}: {done:?}");
        assert!(!done.contains(&"drop alias a".to_owned()), "{name}: {done:?}");
    }
}

/// Among so many collections that another drop would wait for the brake.
#[test]
fn a_name_changes_between_a_collection_and_an_alias_without_a_wait() {
    let mut nicknamed = collection(2, "others");
    nicknamed.aliases.insert("books".into());
    let idle = |id| ("default", collection(id, &format!("idle{id}")));
    let alias = || world([("default", nicknamed.clone()), idle(3), idle(4), idle(5)]);
    let plain = || ("default", collection(2, "others"));
    let collections = || world([("default", books()), plain(), idle(3), idle(4), idle(5)]);
    for (name, before, after) in [("to an alias", collections(), alias()), ("to a collection", alias(), collections())]
    {
        Between::of(&Case { name, before, after, methods: &[] }, Repeats::AreRefused).converge(name);
    }
}

/// A full disk: the target is not changed by what could not be recorded before.
#[test]
fn nothing_is_created_that_cannot_be_recorded() {
    for case in &cases() {
        for fault in FileFault::ERRORS {
            let (faults, between) = (Faults::install(), Between::of(case, Repeats::Succeed));
            let mut watch = between.process();
            faults.at_every_file_step(fault);
            (0..3).for_each(|_| drop(watch.run_round(&mut vec![Hint::Anything])));
            between.assert_recorded(&format!("{}, {fault:?}", case.name));
            drop(watch);
            faults.clear();
            between.converge(case.name);
            between.assert_all_is_ours(case.name);
        }
    }
}
