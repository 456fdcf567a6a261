//! Protobuf's wire format, written by hand: what the decoders read must not come from the library that they read with.

/// A message as bytes, its fields in the order in which they are written.
#[derive(Debug, Clone, Default)]
pub(super) struct Message(Vec<u8>);

const VARINT: u64 = 0;
const LENGTH: u64 = 2;

impl Message {
    pub(super) fn new() -> Message {
        Message::default()
    }

    pub(super) fn encoded(&self) -> Vec<u8> {
        self.0.clone()
    }

    pub(super) fn number(mut self, field: u64, value: u64) -> Message {
        self.varint(field << 3 | VARINT);
        self.varint(value);
        self
    }

    /// An int32 or int64: two's complement, so that -1 takes ten bytes.
    pub(super) fn signed(self, field: u64, value: i64) -> Message {
        self.number(field, value.cast_unsigned())
    }

    pub(super) fn bytes(mut self, field: u64, bytes: impl AsRef<[u8]>) -> Message {
        let bytes = bytes.as_ref();
        self.varint(field << 3 | LENGTH);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn message(self, field: u64, message: &Message) -> Message {
        self.bytes(field, &message.0)
    }

    /// Repeated numbers in one field.
    pub(super) fn packed(self, field: u64, values: &[u64]) -> Message {
        let mut inside = Message::new();
        values.iter().for_each(|value| inside.varint(*value));
        self.message(field, &inside)
    }

    pub(super) fn floats(self, field: u64, values: &[f32]) -> Message {
        self.bytes(field, values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
    }

    fn varint(&mut self, mut value: u64) {
        while value > 0x7f {
            self.0.push(0x80 | (value & 0x7f) as u8);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// Columns of a log's insert (`schema.FieldData`: type 1, name 2, scalars 3, vectors 4, id 5, dynamic 6, valid 7).
pub(super) mod column {
    use super::Message;

    pub(crate) const INT64: u64 = 5;
    pub(crate) const VARCHAR: u64 = 21;
    pub(crate) const JSON: u64 = 23;
    pub(crate) const FLOAT_VECTOR: u64 = 101;

    fn named(data_type: u64, name: &str) -> Message {
        Message::new().number(1, data_type).bytes(2, name)
    }

    pub(crate) fn int64(id: u64, name: &str, values: &[u64]) -> Message {
        let values = Message::new().message(3, &Message::new().packed(1, values));
        named(INT64, name).message(3, &values).number(5, id)
    }

    /// Nulls are empty texts that are not valid.
    pub(crate) fn varchar(id: u64, name: &str, values: &[Option<&str>]) -> Message {
        let texts = values.iter().fold(Message::new(), |texts, value| texts.bytes(1, value.unwrap_or_default()));
        let valid: Vec<u64> = values.iter().map(|value| u64::from(value.is_some())).collect();
        named(VARCHAR, name).message(3, &Message::new().message(6, &texts)).number(5, id).packed(7, &valid)
    }

    pub(crate) fn dynamic(id: u64, values: &[&str]) -> Message {
        let texts = values.iter().fold(Message::new(), |texts, value| texts.bytes(1, value));
        named(JSON, "$meta").message(3, &Message::new().message(9, &texts)).number(5, id).number(6, 1)
    }

    pub(crate) fn float_vector(id: u64, name: &str, dim: u64, values: &[f32]) -> Message {
        let floats = Message::new().floats(1, values);
        named(FLOAT_VECTOR, name).message(4, &Message::new().number(1, dim).message(2, &floats)).number(5, id)
    }
}

/// The examples of protobuf's own description of its encoding.
#[test]
fn the_bytes_are_those_of_protobuf() {
    assert_eq!(Message::new().number(1, 150).encoded(), [0x08, 0x96, 0x01]);
    assert_eq!(Message::new().bytes(2, "testing").encoded(), *b"\x12\x07testing");
    assert_eq!(Message::new().message(3, &Message::new().number(1, 150)).encoded(), [0x1a, 0x03, 0x08, 0x96, 0x01]);
    assert_eq!(Message::new().packed(6, &[3, 270, 86_942]).encoded(), *b"\x32\x06\x03\x8e\x02\x9e\xa7\x05");
    assert_eq!(Message::new().signed(1, -2).encoded(), *b"\x08\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01");
    assert_eq!(Message::new().floats(1, &[1.0]).encoded(), *b"\x0a\x04\x00\x00\x80\x3f");
}
