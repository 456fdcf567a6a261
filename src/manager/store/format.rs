/*!
The byte format of the journal.

```text
{"format":"milvus-cdc tasks","version":1,"tasks":[
{"crc32":"0f3c2a11","task":{...}},
{"crc32":"9be0d2c4","task":{...}}
],"crc32":"44d1f3ab"}
```

The file is one JSON document that any tool can read, and each line is verifiable by itself: a task's checksum covers
the text after `"task":`, the last checksum covers everything before the last line. Reading is strict, byte for byte, so
any change is detected; in a damaged file, every task with a valid checksum of its own can still be rescued.
*/

/// The version that this program writes and reads.
pub(super) const VERSION: u32 = 1;

const HEAD_START: &str = "{\"format\":\"milvus-cdc tasks\",\"version\":";
const HEAD_END: &str = ",\"tasks\":[";
const TASK_START: &str = "{\"crc32\":\"";
const TASK_MIDDLE: &str = "\",\"task\":";
const TASK_END: &str = "}";
const TAIL_START: &str = "],\"crc32\":\"";
const TAIL_END: &str = "\"}";
/// Number of hexadecimal digits of a checksum.
const CRC_DIGITS: usize = 8;

/// Why bytes are no journal of this version.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FormatError<'a> {
    /// The journal has another version.
    Version(u32),
    /// The bytes are not what was written.
    Damaged(JournalDamage<'a>),
}

/// The damage of a file, and its intact part.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct JournalDamage<'a> {
    pub(super) first: DamagePoint,
    /// The tasks with a valid checksum of their own, as JSON texts.
    pub(super) intact: Vec<&'a str>,
}

/// The first damage of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DamagePoint {
    /// Offset in bytes of the first wrong line, or of the premature end.
    pub(super) offset: usize,
    /// JournalLine number, counted from 1.
    pub(super) line: usize,
    /// Nature of the damage.
    pub(super) what: &'static str,
}

/// The content of a file with these tasks, each a JSON text on one line.
pub(super) fn encode<'a>(tasks: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let task_line = |task: &str| {
        let crc = crc32fast::hash(task.as_bytes());
        format!("{TASK_START}{crc:08x}{TASK_MIDDLE}{task}{TASK_END}")
    };
    let lines: Vec<String> = tasks.into_iter().map(task_line).collect();
    let mut text = format!("{HEAD_START}{VERSION}{HEAD_END}\n{}", lines.join(",\n"));
    if !lines.is_empty() {
        text.push('\n');
    }
    let crc = crc32fast::hash(text.as_bytes());
    text.push_str(&format!("{TAIL_START}{crc:08x}{TAIL_END}\n"));
    text.into_bytes()
}

/// The tasks in the content of a file, as JSON texts.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<&str>, FormatError<'_>> {
    let lines = lines_of(bytes);
    if let Some(JournalLine { content: LineContent::Head(version), .. }) = lines.first()
        && *version != VERSION
    {
        return Err(FormatError::Version(*version));
    }
    let first = first_damage(bytes, &lines);
    let tasks = lines.iter().filter_map(|line| match line.content {
        LineContent::Task { text, .. } => Some(text),
        _ => None,
    });
    let intact = tasks.collect();
    match first {
        None => Ok(intact),
        Some(first) => Err(FormatError::Damaged(JournalDamage { first, intact })),
    }
}

struct JournalLine<'a> {
    offset: usize,
    content: LineContent<'a>,
}

enum LineContent<'a> {
    Head(u32),
    Task { text: &'a str, comma: bool },
    Tail(u32),
    Broken,
}

fn lines_of(bytes: &[u8]) -> Vec<JournalLine<'_>> {
    let mut offset = 0;
    let mut lines = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        lines.push(JournalLine { offset, content: LineContent::of(line) });
        offset += line.len();
    }
    lines
}

impl<'a> LineContent<'a> {
    fn of(line: &'a [u8]) -> Self {
        let line = std::str::from_utf8(line).ok().and_then(|line| line.strip_suffix('\n'));
        line.and_then(|line| Self::head(line).or_else(|| Self::task(line)).or_else(|| Self::tail(line)))
            .unwrap_or(LineContent::Broken)
    }

    fn head(line: &'a str) -> Option<Self> {
        let version = line.strip_prefix(HEAD_START)?.strip_suffix(HEAD_END)?;
        let number: u32 = version.parse().ok()?;
        // "+1" and "01" are numbers too, but never written.
        (number.to_string() == version).then_some(LineContent::Head(number))
    }

    fn task(line: &'a str) -> Option<Self> {
        let (line, comma) = line.strip_suffix(',').map_or((line, false), |line| (line, true));
        let (crc, rest) = take_crc(line.strip_prefix(TASK_START)?)?;
        let text = rest.strip_prefix(TASK_MIDDLE)?.strip_suffix(TASK_END)?;
        (crc32fast::hash(text.as_bytes()) == crc).then_some(LineContent::Task { text, comma })
    }

    fn tail(line: &'a str) -> Option<Self> {
        let (crc, rest) = take_crc(line.strip_prefix(TAIL_START)?)?;
        (rest == TAIL_END).then_some(LineContent::Tail(crc))
    }
}

fn take_crc(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(CRC_DIGITS)?;
    let crc = u32::from_str_radix(digits, 16).ok()?;
    (format!("{crc:08x}") == digits).then_some((crc, rest))
}

fn first_damage(bytes: &[u8], lines: &[JournalLine<'_>]) -> Option<DamagePoint> {
    let count = lines.len();
    for (index, line) in lines.iter().enumerate() {
        let number = index + 1;
        let what = match line.content {
            LineContent::Broken => "the line is incomplete or its checksum differs",
            LineContent::Head(_) if index == 0 && number < count => continue,
            LineContent::Task { comma, .. } if index > 0 && number < count && comma == (number + 1 < count) => {
                continue;
            }
            LineContent::Tail(crc) if index > 0 && number == count => {
                if crc == crc32fast::hash(&bytes[..line.offset]) {
                    return None;
                }
                "the checksum of the whole file differs"
            }
            LineContent::Head(_) | LineContent::Task { .. } if number == count => break,
            _ => "a line is missing or in the wrong place",
        };
        return Some(DamagePoint { offset: line.offset, line: number, what });
    }
    Some(DamagePoint { offset: bytes.len(), line: count + 1, what: "the file ends prematurely" })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TASKS: [&str; 3] = [r#"{"task_id":"a"}"#, r#"{"task_id":"b","x":["ä",1]}"#, r#"{"task_id":"c"}"#];

    fn damage(bytes: &[u8]) -> JournalDamage<'_> {
        match decode(bytes) {
            Err(FormatError::Damaged(damage)) => damage,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn is_one_json_document() {
        for count in 0..=TASKS.len() {
            let bytes = encode(TASKS.into_iter().take(count));
            let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(json["version"], 1);
            assert_eq!(json["tasks"].as_array().unwrap().len(), count);
            assert_eq!(decode(&bytes).unwrap(), TASKS[..count]);
        }
    }

    #[test]
    fn a_cut_at_every_byte_is_noticed() {
        let bytes = encode(TASKS);
        for length in 0..bytes.len() {
            let damage = damage(&bytes[..length]);
            assert!(damage.first.offset <= length, "cut at {length}: {damage:?}");
            // Tasks that were complete before the cut are intact.
            let whole = TASKS.iter().take_while(|task| {
                let text = std::str::from_utf8(&bytes[..length]).unwrap_or_default();
                text.find(*task).is_some_and(|at| text[at + task.len()..].starts_with("},\n"))
            });
            assert!(damage.intact.len() >= whole.count(), "cut at {length}: {damage:?}");
        }
    }

    #[test]
    fn a_flip_of_every_bit_is_noticed() {
        let bytes = encode(TASKS);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                match decode(&flipped) {
                    Err(FormatError::Version(_)) => {}
                    Err(FormatError::Damaged(damage)) => {
                        assert!(damage.first.offset <= at, "bit {bit} of byte {at}: {damage:?}");
                        assert!(damage.intact.iter().all(|task| TASKS.contains(task)));
                        assert!(damage.intact.len() >= TASKS.len() - 2, "bit {bit} of byte {at}: {damage:?}");
                    }
                    Ok(_) => panic!("bit {bit} of byte {at} went unnoticed"),
                }
            }
        }
    }

    #[test]
    fn a_lost_or_doubled_line_is_noticed() {
        let bytes = encode(TASKS);
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        for index in 0..lines.len() {
            let mut lost = lines.clone();
            lost.remove(index);
            damage(&lost.concat());
            let mut doubled = lines.clone();
            doubled.insert(index, lines[index]);
            damage(&doubled.concat());
        }
    }

    #[test]
    fn another_version_is_said_to_be_one() {
        let bytes = String::from_utf8(encode(TASKS)).unwrap().replace("\"version\":1", "\"version\":2");
        assert_eq!(decode(bytes.as_bytes()), Err(FormatError::Version(2)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_handled(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode(&bytes).is_err());
        }
    }
}
