//! Well-known binary as well-known text (OGC Simple Features): the log has the one, users write the other.

use std::fmt::Write;

/// Numbers of the kinds of shapes.
const POINT: u32 = 1;
const LINE: u32 = 2;
const POLYGON: u32 = 3;
const POINTS: u32 = 4;
const LINES: u32 = 5;
const POLYGONS: u32 = 6;
const COLLECTION: u32 = 7;
/// Shapes within shapes: more than anybody draws, fewer than the stack holds.
const MAX_DEPTH: usize = 64;

/// The text of a shape in the plane.
///
/// # Errors
/// What is wrong with the bytes.
pub(super) fn to_text(bytes: &[u8]) -> Result<String, String> {
    let mut reader = WkbReader { rest: bytes, big_endian: false };
    let mut text = String::with_capacity(bytes.len() * 2);
    reader.shape(&mut text, ShapeName::Written, 0)?;
    if reader.rest.is_empty() { Ok(text) } else { Err("bytes behind the shape".into()) }
}

/// Whether the name of a shape stands before its points; a `MULTI…` names its shapes by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ShapeName {
    Written,
    Omitted,
}

struct WkbReader<'a> {
    rest: &'a [u8],
    big_endian: bool,
}

impl WkbReader<'_> {
    /// Writes one shape.
    fn shape(&mut self, text: &mut String, shape_name: ShapeName, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err("too many shapes within shapes".into());
        }
        let [order] = self.take::<1>()?;
        self.big_endian = order == 0;
        let kind = self.integer()?;
        let name = match kind {
            POINT => "POINT",
            LINE => "LINESTRING",
            POLYGON => "POLYGON",
            POINTS => "MULTIPOINT",
            LINES => "MULTILINESTRING",
            POLYGONS => "MULTIPOLYGON",
            COLLECTION => "GEOMETRYCOLLECTION",
            other => return Err(format!("a shape of kind {other}, which is none in the plane")),
        };
        if shape_name == ShapeName::Written {
            text.push_str(name);
            text.push(' ');
        }
        match kind {
            POINT => self.single_point(text),
            LINE => self.list(text, WkbReader::point),
            POLYGON => self.list(text, |reader, text| reader.list(text, WkbReader::point)),
            COLLECTION => self.list(text, |reader, text| reader.shape(text, ShapeName::Written, depth + 1)),
            _ => self.list(text, |reader, text| reader.shape(text, ShapeName::Omitted, depth + 1)),
        }
    }

    fn list(
        &mut self,
        text: &mut String,
        item: impl Fn(&mut Self, &mut String) -> Result<(), String>,
    ) -> Result<(), String> {
        let count = self.integer()?;
        if count == 0 {
            text.push_str("EMPTY");
            return Ok(());
        }
        text.push('(');
        for index in 0..count {
            if index > 0 {
                text.push_str(", ");
            }
            item(self, text)?;
        }
        text.push(')');
        Ok(())
    }

    /// The point that has no place is written as two that are no numbers.
    fn single_point(&mut self, text: &mut String) -> Result<(), String> {
        let (x, y) = (self.number()?, self.number()?);
        if x.is_nan() && y.is_nan() {
            text.push_str("EMPTY");
        } else {
            text.push('(');
            write_pair(text, x, y);
            text.push(')');
        }
        Ok(())
    }

    fn point(&mut self, text: &mut String) -> Result<(), String> {
        let (x, y) = (self.number()?, self.number()?);
        write_pair(text, x, y);
        Ok(())
    }

    fn integer(&mut self) -> Result<u32, String> {
        let bytes = self.take::<4>()?;
        Ok(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn number(&mut self) -> Result<f64, String> {
        let bytes = self.take::<8>()?;
        Ok(if self.big_endian { f64::from_be_bytes(bytes) } else { f64::from_le_bytes(bytes) })
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or("the shape is cut short")?;
        self.rest = rest;
        Ok(*taken)
    }
}

/// The shortest text that reads back to the same numbers.
fn write_pair(text: &mut String, x: f64, y: f64) {
    // Writing to a string does not fail.
    let _ = write!(text, "{x} {y}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(kind: u32, rest: &[u8]) -> Vec<u8> {
        [&[1][..], &kind.to_le_bytes(), rest].concat()
    }

    fn numbers(values: &[f64]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn counted(parts: &[Vec<u8>]) -> Vec<u8> {
        [(parts.len() as u32).to_le_bytes().to_vec(), parts.concat()].concat()
    }

    #[test]
    fn every_kind() {
        let point = |x, y| shape(POINT, &numbers(&[x, y]));
        let pairs = |count: u32, values: &[f64]| [count.to_le_bytes().to_vec(), numbers(values)].concat();
        let line = shape(LINE, &pairs(2, &[0., 0., 1., 1.]));
        let ring = pairs(4, &[0., 0., 1., 0., 1., 1., 0., 0.]);
        let polygon = shape(POLYGON, &counted(&[ring]));
        for (bytes, text) in [
            (point(1.5, -2.25), "POINT (1.5 -2.25)"),
            (point(f64::NAN, f64::NAN), "POINT EMPTY"),
            (line.clone(), "LINESTRING (0 0, 1 1)"),
            (shape(LINE, &counted(&[])), "LINESTRING EMPTY"),
            (polygon.clone(), "POLYGON ((0 0, 1 0, 1 1, 0 0))"),
            (shape(POINTS, &counted(&[point(1., 2.), point(3., 4.)])), "MULTIPOINT ((1 2), (3 4))"),
            (shape(LINES, &counted(std::slice::from_ref(&line))), "MULTILINESTRING ((0 0, 1 1))"),
            (shape(POLYGONS, &counted(&[polygon])), "MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)))"),
            (
                shape(COLLECTION, &counted(&[point(1., 2.), line])),
                "GEOMETRYCOLLECTION (POINT (1 2), LINESTRING (0 0, 1 1))",
            ),
        ] {
            assert_eq!(to_text(&bytes).unwrap(), text);
        }
        let big_endian = [&[0, 0, 0, 0, 1][..], &1.5f64.to_be_bytes(), &2f64.to_be_bytes()].concat();
        assert_eq!(to_text(&big_endian).unwrap(), "POINT (1.5 2)");
    }

    #[test]
    fn what_is_no_shape() {
        let nested = (0..200).fold(shape(COLLECTION, &counted(&[])), |inner, _| shape(COLLECTION, &counted(&[inner])));
        for bytes in [
            vec![],
            vec![1, 1, 0, 0, 0],
            shape(1001, &[]),
            [shape(POINT, &numbers(&[1., 2.])), vec![0]].concat(),
            nested,
        ] {
            assert!(to_text(&bytes).is_err(), "{bytes:?}");
        }
    }
}
