use super::*;

fn keys() -> Vec<Key> {
    let mut keys: Vec<Key> =
        ["", "a", "a\"b", "\u{0}", "😀", "ｱ"].into_iter().map(|text| Key::Str(text.into())).collect();
    keys.sort();
    keys
}

pub(super) fn write(path: &Path, rows: i64) {
    let mut writer = DigestFileWriter::create(path, 7).unwrap();
    writer.begin_section("p", 1).unwrap();
    for key in 0..rows {
        writer.push(&Key::Int(key * 3 - 10), key as u64 ^ 0xdead).unwrap();
    }
    writer.begin_section("q", 2).unwrap();
    for (index, key) in keys().iter().enumerate() {
        writer.push(key, index as u64).unwrap();
    }
    writer.finish().unwrap();
}

fn read(mut section: SectionReader) -> Result<Vec<RowEntry>, ScanError> {
    let mut entries = Vec::new();
    while let Some(entry) = section.next_entry()? {
        entries.push(entry);
    }
    Ok(entries)
}

pub(super) fn read_all(path: &Path) -> Result<Vec<RowEntry>, ScanError> {
    let reader = DigestFileReader::open(path)?.unwrap();
    let mut all = read(reader.section("p", 1, None)?)?;
    all.extend(read(reader.section("q", 2, None)?)?);
    Ok(all)
}

#[test]
fn there_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1.rows");
    assert!(DigestFileReader::open(&path).unwrap().is_none());
    write(&path, 50_000);
    let reader = DigestFileReader::open(&path).unwrap().unwrap();
    let rows: u64 = reader.sections.iter().map(|section| section.rows).sum();
    assert_eq!((reader.round(), rows), (7, 50_000 + keys().len() as u64));
    let rows = read(reader.section("p", 1, None).unwrap()).unwrap();
    assert_eq!(rows.len(), 50_000);
    assert!(
        rows.iter()
            .enumerate()
            .all(|(n, row)| row.key == Key::Int(n as i64 * 3 - 10) && row.digest == Some(n as u64 ^ 0xdead))
    );
    let texts: Vec<Key> = read(reader.section("q", 2, None).unwrap()).unwrap().into_iter().map(|row| row.key).collect();
    assert_eq!(texts, keys());
    let behind = read(reader.section("p", 1, Some(Key::Int(149_980))).unwrap()).unwrap();
    assert_eq!(behind.first().map(|row| row.key.clone()), Some(Key::Int(149_981)));
    assert!(read(reader.section("p", 9, None).unwrap()).unwrap().is_empty(), "another partition of that name");
}

#[test]
fn whole_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1.rows");
    write(&path, 40);
    let whole = read_all(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    for cut in 0..bytes.len() {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        assert!(read_all(&path).is_err(), "cut at {cut}");
    }
    for index in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[index] ^= 0x20;
        std::fs::write(&path, &flipped).unwrap();
        let read = read_all(&path);
        assert!(read.is_err(), "flipped at {index}");
    }
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(read_all(&path).unwrap(), whole);
}

#[test]
fn writing_goes_on_at_a_mark() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("1.rows"), folder.path().join("2.rows"));
    write(&one, 20_000);
    let mut writer = DigestFileWriter::create(&two, 7).unwrap();
    writer.begin_section("p", 1).unwrap();
    let push = |writer: &mut DigestFileWriter, keys: std::ops::Range<i64>| {
        keys.for_each(|key| writer.push(&Key::Int(key * 3 - 10), key as u64 ^ 0xdead).unwrap());
    };
    push(&mut writer, 0..7000);
    let mark = writer.sync().unwrap();
    // What is written behind the mark is lost in the crash.
    push(&mut writer, 7000..9000);
    drop(writer);
    let mut writer = DigestFileWriter::resume(&two, 7, mark.clone()).unwrap();
    push(&mut writer, 7000..20_000);
    writer.begin_section("q", 2).unwrap();
    keys().iter().enumerate().for_each(|(index, key)| writer.push(key, index as u64).unwrap());
    assert!(DigestFileReader::open(&two).unwrap().is_none(), "not in its place before it is complete");
    writer.finish().unwrap();
    assert_eq!(read_all(&two).unwrap(), read_all(&one).unwrap());
    assert!(DigestFileWriter::resume(&two, 7, mark).is_err(), "it has become the file");
}
