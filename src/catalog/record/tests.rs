use super::*;
use crate::catalog::describe::Load;

/// As written by 0.1.0: with an id of the source's, with a synthetic one, and from before names and fields were
/// kept.
const WRITTEN: &str = concat!(
    r#"{"databases":["d2"],"collections":{"#,
    r#""-2":{"db":"default","name":"lite","source":["default","lite"],"adopted":false,"made":false,"fields":[],"#,
    r#""partitions":{},"indexes":{},"aliases":[],"properties":{},"load":"none"},"#,
    r#""44":{"db":"d2","name":"books_copy","source":["d1","books"],"adopted":true,"made":true,"#,
    r#""fields":["id","vec"],"partitions":{"_default":45,"p":46},"#,
    r#""indexes":{"i":{"field":"vec","params":{"index_type":"FLAT"}}},"#,
    r#""aliases":["a"],"properties":{"collection.ttl.seconds":"60"},"#,
    r#""load":{"partitions":{"names":["p"],"replicas":2}}},"#,
    r#""47":{"db":"default","name":"c","source":null,"adopted":false,"made":true,"fields":[],"#,
    r#""partitions":{},"indexes":{},"aliases":[],"properties":{},"load":{"whole":{"replicas":1}}}},"#,
    r#""names":{"last":-2,"by_name":{"default":{"lite":{"number":-2,"schema":"CgA=","last_partition":-2,"#,
    r#""partitions":{"_default":-2}}}}}}"#,
);

/// As written before names at the source, fields and synthetic ids were kept.
const EARLIEST: &str = concat!(
    r#"{"databases":[],"collections":{"47":{"db":"default","name":"c","adopted":false,"made":true,"#,
    r#""partitions":{},"indexes":{},"aliases":[],"properties":{},"load":"none"}}}"#,
);

fn folder_with(body: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let seal = format!(
        "{{\"format\":\"milvus-cdc catalog\",\"version\":1,\"crc32\":\"{:08x}\"}}",
        crc32fast::hash(body.as_bytes())
    );
    std::fs::write(folder.path().join("catalog.json"), format!("{seal}\n{body}\n")).unwrap();
    folder
}

#[test]
fn an_old_file_is_read_and_written_again_byte_by_byte() {
    let folder = folder_with(WRITTEN);
    let path = folder.path().join("catalog.json");
    let before = std::fs::read_to_string(&path).unwrap();
    let record = CatalogRecord::open(folder.path()).unwrap();
    let books = record.get(CollectionId(44)).unwrap();
    assert_eq!((books.name, books.source), (name("d2", "books_copy"), Some(name("d1", "books"))));
    assert_eq!(books.load, Load::Partitions { names: BTreeSet::from(["p".to_owned()]), replicas: 2 });
    assert!(books.adopted && books.created && record.databases().contains("d2"));
    assert_eq!(record.id_of(&ObjectKey::of(0, "default", "lite")), CollectionId(-2));
    record.entry(CollectionId(44)).change(|_| ());
    std::fs::remove_file(&path).unwrap();
    record.save().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
}

#[test]
fn the_earliest_file_is_read() {
    let record = CatalogRecord::open(folder_with(EARLIEST).path()).unwrap();
    let replicated = record.get(CollectionId(47)).unwrap();
    assert!(replicated.source.is_none() && replicated.fields.is_empty() && replicated.created);
}

#[test]
fn only_what_has_changed_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let record = CatalogRecord::open(folder.path()).unwrap();
    let path = folder.path().join("catalog.json");
    record.entry(CollectionId(1)).change(|_| ());
    record.entry(CollectionId(1)).remove();
    record.save().unwrap();
    assert!(!path.exists());
    let replicated = ReplicatedCollection { name: name("default", "a"), ..ReplicatedCollection::default() };
    record.entry(CollectionId(1)).put(replicated);
    record.set_source(CollectionId(1), &name("default", "b"));
    record.save().unwrap();
    let again = CatalogRecord::open(folder.path()).unwrap();
    assert_eq!(again.holder(&name("default", "a")), Some(CollectionId(1)));
    assert_eq!(again.get(CollectionId(1)).unwrap().source, Some(name("default", "b")));
    std::fs::remove_file(&path).unwrap();
    record.set_source(CollectionId(1), &name("default", "b"));
    record.save().unwrap();
    assert!(!path.exists());
}

fn name(db: &str, name: &str) -> CollectionName {
    CollectionName::new(db, name)
}
