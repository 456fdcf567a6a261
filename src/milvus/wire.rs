//! Walking over the fields of a serialized protobuf message without decoding or copying them.

/// One field: its number and its bytes (for numbers, their encoding).
pub(crate) type RawField<'a> = (u32, &'a [u8]);

/// The fields of a message in wire order; ends with an error where the bytes are malformed.
pub(crate) struct RawFields<'a> {
    rest: &'a [u8],
}

/// The number in a varint field's bytes.
pub(crate) fn number(bytes: &[u8]) -> Result<u64, Malformed> {
    RawFields { rest: bytes }.varint()
}

/// The numbers of a packed field, or the single number of an unpacked one: both are consecutive varints.
pub(crate) fn numbers(bytes: &[u8]) -> impl Iterator<Item = Result<u64, Malformed>> + '_ {
    let mut rest = RawFields { rest: bytes };
    std::iter::from_fn(move || {
        if rest.rest.is_empty() {
            return None;
        }
        let number = rest.varint();
        if number.is_err() {
            rest.rest = &[];
        }
        Some(number)
    })
}

/// The bytes are no protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

/// Walks over `message`.
pub(crate) fn fields(message: &[u8]) -> RawFields<'_> {
    RawFields { rest: message }
}

impl<'a> RawFields<'a> {
    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for (index, &byte) in self.rest.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.rest = self.rest.get(index + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(length).map_err(|_| Malformed)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<RawField<'a>, Malformed> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| Malformed)?;
        let bytes = match tag & 7 {
            VARINT => {
                let before = self.rest;
                self.varint()?;
                before.get(..before.len() - self.rest.len()).unwrap_or_default()
            }
            FIXED64 => self.take(8)?,
            FIXED32 => self.take(4)?,
            LENGTH => {
                let length = self.varint()?;
                self.take(length)?
            }
            _ => return Err(Malformed),
        };
        Ok((number, bytes))
    }
}

impl<'a> Iterator for RawFields<'a> {
    type Item = Result<RawField<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protobuf::Message;

    use super::*;
    use crate::milvus::pb::schema::FieldSchema;

    #[test]
    fn walks_over_every_field() {
        let message = FieldSchema { fieldID: 300, name: "key".into(), autoID: true, ..Default::default() };
        let bytes = message.write_to_bytes().unwrap();
        let walked: Vec<RawField<'_>> = fields(&bytes).map(Result::unwrap).collect();
        assert_eq!(walked, vec![(1, &[0xac, 0x02][..]), (2, b"key"), (8, &[1])]);
    }

    proptest! {
        #[test]
        fn ends_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(fields(&bytes).count() <= bytes.len());
        }
    }
}
