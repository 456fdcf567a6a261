//! Messages of a queue as a streaming node writes them, for tests.

use bytes::Bytes;
use protobuf::CodedOutputStream;

/// A value in RocksMQ with these properties.
pub(in crate::source) fn rocksmq_value(properties: &[(&str, &str)], payload: &[u8]) -> Bytes {
    let field = |number: u32, bytes: &[u8], to: &mut Vec<u8>| {
        let mut out = CodedOutputStream::vec(to);
        out.write_bytes(number, bytes).unwrap();
        out.flush().unwrap();
    };
    let mut value = b"\xff\xfe\xfd\xfcSTREAM".to_vec();
    field(1, payload, &mut value);
    for (key, text) in properties {
        let mut entry = Vec::new();
        field(1, key.as_bytes(), &mut entry);
        field(2, text.as_bytes(), &mut entry);
        field(2, &entry, &mut value);
    }
    value.into()
}
