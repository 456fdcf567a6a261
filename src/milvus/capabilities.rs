/*!
What a server can do, decided here and nowhere else.

A version is compared with another one in this file only; whoever needs to know asks for a property of the server by its
name. Where a server's own answer tells more than its version, as with Milvus Lite, which has a numbering of its own,
the version decides nothing and the server is tried.
*/

use super::data_type::DataType;
use super::pb::schema::{CollectionSchema, FieldSchema};
use super::server_version::ServerVersion;
use super::version::Version;

/// How a server stands to what milvus-cdc is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// Its logs and calls are different.
    TooOld,
    /// Of the line that the tests run on, or a Milvus Lite.
    Tested,
    /// Supported, and shown to work by recordings or by less.
    Untested,
}

/// Whether a server's log can be read by `DumpMessages`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogOverGrpc {
    /// It sends the content of transactions, and the message at the start position.
    Complete,
    /// It does not, or has no such call.
    Lacking,
}

/// Whether a server still has its collections loaded after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadRetention {
    /// They are loaded again by the server itself.
    Durable,
    /// Nothing is loaded after a restart (Milvus Lite).
    LostOnRestart,
}

/// How all rows of a collection are removed from a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowRemoval {
    /// By `TruncateCollection`, where it has the call.
    ByCall,
    /// By their keys. The call of a Milvus Lite removes the collection's folder and makes it anew, without indexes;
    /// whoever reads it, or makes an index, at that moment leaves a collection that is there and of no use (3.2.2).
    ByKeys,
}

/// Whether a server can take a property from a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PropertyRemoval {
    /// With `AlterCollectionRequest.delete_keys`.
    ByCall,
    /// It answers as if it had.
    Ignored,
}

/// What a server understands by a TTL of 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZeroTtl {
    /// Rows live for ever (seen on 2.3.5).
    MeansNone,
    /// Nobody knows.
    Unknown,
}

/// Whether the answer to an empty `ReplicateMessage` tells an instance that makes no time ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TickProbe {
    /// It does (seen on 2.3.5).
    Telling,
    /// The codes mean something else.
    Meaningless,
}

/// Where the keys of a collection with autoID may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GeneratedKeys {
    /// With the property `allow_insert_auto_id` also from the client.
    MayBeGiven,
    /// From the server alone.
    OnlyGenerated,
}

/// Whether a collection can get a dynamic field after it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaterDynamicField {
    /// By the property `dynamicfield.enabled`.
    Possible,
    /// The server takes that for a property of the user's.
    Impossible,
}

/// Whether a collection can lose a field after it was made, or get a function that brings its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaAlteration {
    /// With `AlterCollectionSchema`.
    ByCall,
    /// Never.
    Impossible,
}

/// How a page of rows is asked for that leaves out no key below its last one.
///
/// A segment answers its rows with the lowest keys, at most as many as the limit, and those of several segments are
/// merged key by key. From 2.4 on a key that is there more than once counts once in the merged page, but as often as it
/// is there in its segment's part: that part ends early, and the page goes on with the others' keys beyond it. A page
/// for an iterator ends where the first part does. (Read in the servers' code.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WholePages {
    /// Every page is whole, or the order of its keys shows that it is not.
    Ordinary,
    /// With the parameter `iterator`.
    Iterator,
    /// With that and `reduce_stop_for_best`, which alone counts on early builds of 2.4; pages may exceed the limit.
    IteratorForBest,
}

/// Whether a log shows the headers of the calls that made its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallHeaders {
    /// With every message (seen on 2.3.5).
    Kept,
    /// It does not (seen on 2.6.20 and 3.0.0).
    Dropped,
}

/// What a server can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    version: Option<Version>,
    /// How it stands to what milvus-cdc is made for.
    pub support: Support,
    /// Whether its log can be read by `DumpMessages`.
    pub log_over_grpc: LogOverGrpc,
    /// What a restart leaves loaded.
    pub load_retention: LoadRetention,
    /// How it is told to remove all rows of a collection.
    pub row_removal: RowRemoval,
    /// Whether it removes properties of collections.
    pub property_removal: PropertyRemoval,
    /// What it understands by a TTL of 0.
    pub zero_ttl: ZeroTtl,
    /// Whether it can be asked whether it makes time ticks.
    pub tick_probe: TickProbe,
    /// Whether its collections with autoID take given keys.
    pub generated_keys: GeneratedKeys,
    /// Whether its collections can get a dynamic field later.
    pub later_dynamic_field: LaterDynamicField,
    /// Whether its collections can lose fields.
    pub schema_alteration: SchemaAlteration,
    /// How it is asked for pages of rows.
    pub whole_pages: WholePages,
    /// Whether its log tells the calls of one client from those of others.
    pub call_headers: CallHeaders,
}

impl Capabilities {
    /// The oldest supported version: before it, logs and calls were different.
    pub const OLDEST: Version = Version::new(2, 2, 0);
    /// The version that the end-to-end tests run.
    pub const TESTED: Version = Version::new(2, 3, 5);
    /// The first version whose log can be read by `DumpMessages`.
    pub const LOG_OVER_GRPC_SINCE: Version = Version::new(2, 6, 20);
    /// The first version that takes given keys into collections with autoID.
    pub const GIVEN_KEYS_SINCE: Version = Version::new(2, 6, 3);

    /// What a server of this version can do.
    pub fn of(told: &ServerVersion) -> Capabilities {
        let version = told.milvus();
        let since = |first: Version| version.is_some_and(|version| version >= first);
        Capabilities {
            version,
            support: support(version),
            log_over_grpc: log_over_grpc(told),
            load_retention: match told.is_lite_3() {
                true => LoadRetention::LostOnRestart,
                false => LoadRetention::Durable,
            },
            row_removal: match told.is_lite_3() {
                true => RowRemoval::ByKeys,
                false => RowRemoval::ByCall,
            },
            property_removal: match since(Version::new(2, 5, 0)) || told.is_lite_3() {
                true => PropertyRemoval::ByCall,
                false => PropertyRemoval::Ignored,
            },
            zero_ttl: if version.is_some() { ZeroTtl::MeansNone } else { ZeroTtl::Unknown },
            tick_probe: match version {
                Some(version) if (Version::new(2, 3, 0)..Version::new(2, 5, 0)).contains(&version) => {
                    TickProbe::Telling
                }
                _ => TickProbe::Meaningless,
            },
            // Not Milvus Lite, although it takes them: the keys that it makes itself are small numbers, which may be
            // those of rows that were brought, and its insert replaces those.
            generated_keys: match since(Self::GIVEN_KEYS_SINCE) {
                true => GeneratedKeys::MayBeGiven,
                false => GeneratedKeys::OnlyGenerated,
            },
            later_dynamic_field: match since(Version::new(2, 6, 0)) {
                true => LaterDynamicField::Possible,
                false => LaterDynamicField::Impossible,
            },
            whole_pages: match version {
                Some(version) if version >= Version::new(2, 5, 0) => WholePages::Iterator,
                Some(version) if version >= Version::new(2, 4, 0) => WholePages::IteratorForBest,
                _ => WholePages::Ordinary,
            },
            schema_alteration: match since(Version::new(3, 0, 0)) {
                true => SchemaAlteration::ByCall,
                false => SchemaAlteration::Impossible,
            },
            call_headers: match since(Version::new(2, 6, 0)) {
                true => CallHeaders::Dropped,
                false => CallHeaders::Kept,
            },
        }
    }

    /// The first part of a schema that the server cannot hold, what it is, and the first version that can hold it.
    ///
    /// An older Milvus does not refuse what it does not know but creates a different collection (2.3.5 drops `nullable`
    /// silently), so the version decides before anything is created. A server that is not numbered as Milvus is must
    /// refuse by itself.
    pub fn unsupported(&self, schema: &CollectionSchema) -> Option<String> {
        let version = self.version?;
        let mut needs: Vec<(&str, &str, Version)> = Vec::new();
        for field in &schema.fields {
            needs.extend(field_needs(field).map(|(what, since)| (&*field.name, what, since)));
        }
        let vectors = schema.fields.iter().filter(|field| DataType::of(field.data_type).is_vector());
        needs.extend(vectors.skip(1).map(|field| (&*field.name, "a second vector", Version::new(2, 4, 0))));
        for list in &schema.struct_array_fields {
            needs.push((&list.name, "a struct array", Version::new(2, 6, 4)));
        }
        for function in &schema.functions {
            needs.push((&function.name, "a function", Version::new(2, 5, 0)));
        }
        let (name, what, since) = needs.into_iter().find(|(_, _, since)| version < *since)?;
        Some(format!("{name:?} is {what}, which Milvus has since {since}"))
    }
}

fn support(version: Option<Version>) -> Support {
    const TESTED_LINE: std::ops::Range<Version> = Version::new(2, 3, 0)..Version::new(2, 4, 0);
    match version {
        Some(version) if version < Capabilities::OLDEST => Support::TooOld,
        Some(version) if !TESTED_LINE.contains(&version) => Support::Untested,
        // Milvus Lite has its own numbering.
        _ => Support::Tested,
    }
}

fn log_over_grpc(told: &ServerVersion) -> LogOverGrpc {
    const SINCE: Version = Capabilities::LOG_OVER_GRPC_SINCE;
    /// The date of that release, for nightly builds.
    const NIGHTLY_SINCE: u32 = 20_260_707;
    let is_complete = match (told.milvus(), told.build_date()) {
        (Some(version), Some(date)) => version >= SINCE && date >= NIGHTLY_SINCE,
        (Some(version), None) => version >= SINCE,
        (None, date) => date.is_some_and(|date| date >= NIGHTLY_SINCE),
    };
    if is_complete { LogOverGrpc::Complete } else { LogOverGrpc::Lacking }
}

fn field_needs(field: &FieldSchema) -> impl Iterator<Item = (&'static str, Version)> {
    let of_type = match DataType::of(field.data_type) {
        DataType::Float16Vector => Some(("a float16 vector", Version::new(2, 4, 0))),
        DataType::BFloat16Vector => Some(("a bfloat16 vector", Version::new(2, 4, 0))),
        DataType::SparseFloatVector => Some(("a sparse vector", Version::new(2, 4, 0))),
        DataType::Int8Vector => Some(("an int8 vector", Version::new(2, 6, 0))),
        DataType::Geometry => Some(("a geometry", Version::new(2, 6, 4))),
        DataType::Timestamptz => Some(("a timestamp with time zone", Version::new(2, 6, 4))),
        DataType::Text | DataType::Molecule | DataType::Unknown(28..=199) => {
            Some(("of a type of Milvus 3", Version::new(3, 0, 0)))
        }
        _ => None,
    };
    let nullable = field.nullable.then_some(("a nullable field", Version::new(2, 5, 0)));
    [of_type, nullable].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::milvus::pb::schema::{FunctionSchema, StructArrayFieldSchema};

    fn of(version: &str) -> Capabilities {
        Capabilities::of(&ServerVersion::new(Some(version)))
    }

    #[test]
    fn names_the_field_and_the_version() {
        let field = |name: &str, data_type: DataType, nullable| FieldSchema {
            name: name.into(),
            data_type: data_type.code(),
            nullable,
            ..FieldSchema::default()
        };
        let schema = CollectionSchema {
            fields: vec![
                field("id", DataType::Int64, false),
                field("half", DataType::Float16Vector, false),
                field("note", DataType::VarChar, true),
            ],
            ..CollectionSchema::default()
        };
        let why = |version| of(version).unsupported(&schema);
        assert_eq!(why("v2.3.5-lite").unwrap(), "\"half\" is a float16 vector, which Milvus has since 2.4.0");
        assert_eq!(why("v2.4.9").unwrap(), "\"note\" is a nullable field, which Milvus has since 2.5.0");
        assert_eq!([why("2.5.0"), why("milvus_lite-3.2.2")], [None, None]);
        let two = CollectionSchema {
            fields: vec![field("a", DataType::FloatVector, false), field("b", DataType::BinaryVector, false)],
            ..CollectionSchema::default()
        };
        assert!(of("2.3.5").unsupported(&two).unwrap().starts_with("\"b\" is a second vector"));
    }

    #[test]
    fn every_type_that_an_older_server_lacks_is_named() {
        let of_type = |data_type: DataType, nullable| CollectionSchema {
            fields: vec![FieldSchema { name: "x".into(), data_type: data_type.code(), nullable, ..Default::default() }],
            ..CollectionSchema::default()
        };
        for (data_type, nullable, what) in [
            (DataType::Float16Vector, false, "a float16 vector, which Milvus has since 2.4.0"),
            (DataType::SparseFloatVector, false, "a sparse vector, which Milvus has since 2.4.0"),
            (DataType::FloatVector, true, "a nullable field, which Milvus has since 2.5.0"),
            (DataType::Int8Vector, false, "an int8 vector, which Milvus has since 2.6.0"),
            (DataType::Geometry, false, "a geometry, which Milvus has since 2.6.4"),
            (DataType::Timestamptz, false, "a timestamp with time zone, which Milvus has since 2.6.4"),
            (DataType::Text, false, "of a type of Milvus 3, which Milvus has since 3.0.0"),
        ] {
            let schema = of_type(data_type, nullable);
            assert_eq!(of("v2.3.5").unsupported(&schema), Some(format!("\"x\" is {what}")));
            assert_eq!(of("3.0.0").unsupported(&schema), None, "{what}");
        }
        let list = StructArrayFieldSchema { name: "x".into(), ..StructArrayFieldSchema::default() };
        let function = FunctionSchema { name: "x".into(), ..FunctionSchema::default() };
        let lists = CollectionSchema { struct_array_fields: vec![list], ..CollectionSchema::default() };
        let functions = CollectionSchema { functions: vec![function], ..CollectionSchema::default() };
        assert!(of("v2.3.5").unsupported(&lists).unwrap().starts_with("\"x\" is a struct array"));
        assert!(of("v2.3.5").unsupported(&functions).unwrap().starts_with("\"x\" is a function"));
    }

    #[test]
    fn servers_whose_log_can_be_read() {
        for (name, readable) in [
            ("2.6.20", true),
            ("v2.6.19", false),
            ("2.6.20-20260601-91f1ca6", true),
            ("v2.6.19-20260724-91f1ca6", false),
            ("3.0.0-beta", true),
            ("2.6-20260724-91f1ca6", true),
            ("2.6-20260301-91f1ca6", false),
            ("2.5-20260724-91f1ca6", false),
            ("master-20260724-91f1ca6", true),
            ("master-20251101-91f1ca6", false),
            ("milvus_lite-3.2.2", false),
            ("unknown", false),
        ] {
            assert_eq!(of(name).log_over_grpc == LogOverGrpc::Complete, readable, "{name}");
        }
    }

    #[test]
    fn what_each_line_of_servers_can_do() {
        let old = of("v2.3.5-lite");
        assert_eq!((old.support, old.tick_probe), (Support::Tested, TickProbe::Telling));
        assert_eq!((old.property_removal, old.zero_ttl), (PropertyRemoval::Ignored, ZeroTtl::MeansNone));
        assert_eq!((old.generated_keys, old.load_retention), (GeneratedKeys::OnlyGenerated, LoadRetention::Durable));
        let middle = of("v2.5.4");
        assert_eq!((middle.support, middle.tick_probe), (Support::Untested, TickProbe::Meaningless));
        assert_eq!(
            (middle.property_removal, middle.generated_keys),
            (PropertyRemoval::ByCall, GeneratedKeys::OnlyGenerated)
        );
        for new in ["2.6.20", "3.0.0-beta", "2.6-20260724-91f1ca6"] {
            assert_eq!(of(new).generated_keys, GeneratedKeys::MayBeGiven, "{new}");
        }
        let early = of("2.6.2");
        assert_eq!(early.generated_keys, GeneratedKeys::OnlyGenerated);
        assert_eq!(early.later_dynamic_field, LaterDynamicField::Possible);
        assert_eq!(middle.later_dynamic_field, LaterDynamicField::Impossible);
        assert_eq!(of("3.0.0-beta").schema_alteration, SchemaAlteration::ByCall);
        let pages = |version| of(version).whole_pages;
        assert_eq!([pages("2.3.5"), pages("milvus_lite-3.2.2")], [WholePages::Ordinary; 2]);
        assert_eq!([pages("2.4.0"), pages("2.5.1")], [WholePages::IteratorForBest, WholePages::Iterator]);
        assert_eq!(of("2.6.20").schema_alteration, SchemaAlteration::Impossible);
        assert_eq!(of("v2.1.4").support, Support::TooOld);
        let lite = of("milvus_lite-3.2.2");
        assert_eq!((lite.support, lite.load_retention), (Support::Tested, LoadRetention::LostOnRestart));
        assert_eq!((lite.property_removal, lite.zero_ttl), (PropertyRemoval::ByCall, ZeroTtl::Unknown));
        assert_eq!(lite.generated_keys, GeneratedKeys::OnlyGenerated);
        let silent = Capabilities::of(&ServerVersion::new(None));
        assert_eq!((silent.support, silent.load_retention), (Support::Tested, LoadRetention::Durable));
    }
}
