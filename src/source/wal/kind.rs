//! The types of messages (`MessageType` of Milvus 2.6 and 3), and what each is for here.

/// What a message of some type means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Everything up to its tick has been sent. `DumpMessages` keeps it to itself.
    TimeTick,
    /// Rows.
    Insert,
    /// Keys.
    Delete,
    /// A collection was made.
    CreateCollection,
    /// All rows of a collection are gone.
    Truncate,
    /// Something about a collection's place in the catalog.
    Collection(Place),
    /// Something about the catalog.
    Catalog,
    /// Rows come or go that do not stand in the log.
    Uncarried(Place, &'static str),
    /// A transaction begins.
    Begin,
    /// It has happened.
    Commit,
    /// A whole transaction without its content: how servers before 2.6.20 send them.
    Opaque,
    /// Known, and of no use here.
    Ignored(&'static str),
    /// Not known.
    Unknown,
}

/// Where a message says which collection it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Field 1 of its header.
    First,
    /// Field 2 of its header.
    Second,
    /// Field 3 of its header.
    Third,
    /// The content itself.
    ImportedInto,
}

impl Kind {
    /// What the type of this number means.
    pub fn of(number: i32) -> Kind {
        use Place::{First, ImportedInto, Second, Third};
        match number {
            1 => Kind::TimeTick,
            2 => Kind::Insert,
            3 => Kind::Delete,
            5 => Kind::CreateCollection,
            // Drop of a collection; create and drop of a partition; a schema (early 2.6); alter and drop of an index.
            6 | 7 | 8 | 12 | 35 | 36 => Kind::Collection(First),
            // Alter of a collection; load and release; create of an index.
            13 | 14 | 15 | 34 => Kind::Collection(Second),
            // Create and alter of an alias.
            19 => Kind::Collection(Third),
            // Databases; drop of an alias.
            16..=18 | 20 => Kind::Catalog,
            38 => Kind::Truncate,
            11 => Kind::Uncarried(ImportedInto, "bulk import"),
            39 => Kind::Uncarried(Second, "restored snapshot"),
            42 => Kind::Uncarried(First, "rows changed in storage"),
            43 => Kind::Uncarried(First, "refreshed external collection"),
            45 => Kind::Uncarried(First, "committed bulk import"),
            900 => Kind::Begin,
            901 => Kind::Commit,
            999 => Kind::Opaque,
            number => ignored(number).map_or(Kind::Unknown, Kind::Ignored),
        }
    }
}

/// The servers' own business; users and their rights, which are not carried over; what only concerns the source's storage.
fn ignored(number: i32) -> Option<&'static str> {
    Some(match number {
        4 => "Flush",
        9 => "ManualFlush",
        10 => "CreateSegment",
        21 => "RestoreRBAC",
        22 => "AlterUser",
        23 => "DropUser",
        24 => "AlterRole",
        25 => "DropRole",
        26 => "AlterUserRole",
        27 => "DropUserRole",
        28 => "AlterPrivilege",
        29 => "DropPrivilege",
        30 => "AlterPrivilegeGroup",
        31 => "DropPrivilegeGroup",
        32 => "AlterResourceGroup",
        33 => "DropResourceGroup",
        37 => "FlushAll",
        40 => "CreateSnapshot",
        41 => "DropSnapshot",
        44 => "DropSnapshotsByCollection",
        46 => "RollbackImport",
        47 => "AlterRLSMetadata",
        48 => "DropRLSMetadata",
        700 => "AlterWAL",
        800 => "AlterReplicateConfig",
        902 => "RollbackTxn",
        _ => return None,
    })
}
