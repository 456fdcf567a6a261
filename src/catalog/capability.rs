/*!
What a server of some version can hold. An older Milvus does not refuse what it does not know: it makes another collection than
it was asked for (2.3.5 leaves `nullable` out in silence). So it is not asked.
*/

use crate::milvus::pb::schema::{CollectionSchema, FieldSchema};

/// Major, minor and patch number of a Milvus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Release(u64, u64, u64);

impl Release {
    /// Reads `v2.3.5`, `2.6.20-gpu` and the like. `None` for what is not numbered as Milvus is (Milvus Lite, hosted
    /// services): such a server has to refuse by itself.
    pub(super) fn read(version: &str) -> Option<Release> {
        let numbers = version.strip_prefix('v').unwrap_or(version);
        let mut parts = numbers.splitn(3, '.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.parse().ok()?;
        let patch = parts.next()?;
        let digits = patch.find(|c: char| !c.is_ascii_digit()).map_or(patch, |end| &patch[..end]);
        Some(Release(major, minor, digits.parse().ok()?))
    }
}

impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// The first field that a server of this release cannot hold, with what it is and the release that can.
pub(super) fn unsupported(schema: &CollectionSchema, release: Release) -> Option<String> {
    let mut needs: Vec<(&str, &str, Release)> = Vec::new();
    for field in &schema.fields {
        needs.extend(field_needs(field).map(|(what, since)| (&*field.name, what, since)));
    }
    for list in &schema.struct_array_fields {
        needs.push((&list.name, "a list of records", Release(2, 6, 4)));
    }
    for function in &schema.functions {
        needs.push((&function.name, "a function", Release(2, 5, 0)));
    }
    let (name, what, since) = needs.into_iter().find(|(_, _, since)| release < *since)?;
    Some(format!("{name:?} is {what}, which Milvus has since {since}"))
}

fn field_needs(field: &FieldSchema) -> impl Iterator<Item = (&'static str, Release)> {
    let of_type = match field.data_type {
        102 => Some(("a float16 vector", Release(2, 4, 0))),
        103 => Some(("a bfloat16 vector", Release(2, 4, 0))),
        104 => Some(("a sparse vector", Release(2, 4, 0))),
        105 => Some(("an int8 vector", Release(2, 6, 0))),
        24 => Some(("a geometry", Release(2, 6, 4))),
        26 => Some(("a timestamp with time zone", Release(2, 6, 4))),
        25 | 27.. if field.data_type < 100 => Some(("of a type of Milvus 3", Release(3, 0, 0))),
        _ => None,
    };
    let nullable = field.nullable.then_some(("a nullable field", Release(2, 5, 0)));
    [of_type, nullable].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases() {
        assert_eq!(Release::read("v2.3.5-lite"), Some(Release(2, 3, 5)));
        assert_eq!(Release::read("2.6.20"), Some(Release(2, 6, 20)));
        assert_eq!(Release::read("milvus_lite-3.2.2"), None);
        assert_eq!(Release::read(""), None);
        assert!(Release(2, 10, 0) > Release(2, 9, 9));
    }

    #[test]
    fn names_the_field_and_the_release() {
        let field = |name: &str, data_type, nullable| FieldSchema {
            name: name.into(),
            data_type,
            nullable,
            ..FieldSchema::default()
        };
        let schema = CollectionSchema {
            fields: vec![field("id", 5, false), field("half", 102, false), field("note", 21, true)],
            ..CollectionSchema::default()
        };
        let why = |release| unsupported(&schema, release);
        assert_eq!(why(Release(2, 3, 5)).unwrap(), "\"half\" is a float16 vector, which Milvus has since 2.4.0");
        assert_eq!(why(Release(2, 4, 9)).unwrap(), "\"note\" is a nullable field, which Milvus has since 2.5.0");
        assert_eq!(why(Release(2, 5, 0)), None);
    }
}
