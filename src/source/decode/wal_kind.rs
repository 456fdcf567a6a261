//! The message types of Milvus 2.6 and 3 (`MessageType`), by number, and what each is for.

/// What a message type means here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalKind {
    /// Everything up to its tick has been sent. `DumpMessages` leaves these out.
    TimeTick,
    /// Rows.
    Insert,
    /// Keys.
    Delete,
    /// A collection was made.
    CreateCollection,
    /// A collection was dropped.
    DropCollection,
    /// All rows of a collection are gone.
    Truncate,
    /// A change of a collection in the catalog.
    Collection(IdField),
    /// A collection was released.
    Release(IdField),
    /// Another change of the catalog.
    Catalog,
    /// Rows come or go that are not in the log.
    Uncarried(IdField, &'static str),
    /// A transaction begins (`BeginTxn`).
    Begin,
    /// A transaction is committed (`CommitTxn`).
    Commit,
    /// A transaction is rolled back (`RollbackTxn`).
    Rollback,
    /// A whole transaction without its content, as servers before 2.6.20 send it.
    Opaque,
    /// The source goes on writing its log in another queue (`AlterWAL`).
    AlterWal,
    /// Known, and of no use here; the type's name.
    Ignored(&'static str),
    /// Not known.
    Unknown,
}

/// Where a message names its collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdField {
    /// Field 1 of its header.
    First,
    /// Field 2 of its header.
    Second,
    /// Field 3 of its header.
    Third,
    /// Field 4 of an import's payload.
    ImportedInto,
}

impl WalKind {
    /// The type of this number.
    pub fn of(number: i32) -> WalKind {
        use IdField::{First, ImportedInto, Second, Third};
        match number {
            1 => WalKind::TimeTick,
            2 => WalKind::Insert,
            3 => WalKind::Delete,
            5 => WalKind::CreateCollection,
            6 => WalKind::DropCollection,
            // Create and drop of a partition; a schema (early 2.6); alter and drop of an index.
            7 | 8 | 12 | 35 | 36 => WalKind::Collection(First),
            // Alter of a collection; load; create of an index.
            13 | 14 | 34 => WalKind::Collection(Second),
            15 => WalKind::Release(Second),
            // Create and alter of an alias.
            19 => WalKind::Collection(Third),
            // Databases; drop of an alias.
            16..=18 | 20 => WalKind::Catalog,
            38 => WalKind::Truncate,
            11 => WalKind::Uncarried(ImportedInto, "bulk import"),
            39 => WalKind::Uncarried(Second, "restored snapshot"),
            42 => WalKind::Uncarried(First, "rows changed in storage"),
            43 => WalKind::Uncarried(First, "refreshed external collection"),
            45 => WalKind::Uncarried(First, "committed bulk import"),
            900 => WalKind::Begin,
            901 => WalKind::Commit,
            902 => WalKind::Rollback,
            999 => WalKind::Opaque,
            700 => WalKind::AlterWal,
            number => ignored(number).map_or(WalKind::Unknown, WalKind::Ignored),
        }
    }
}

/// Messages between the servers, or about the source's storage only; users and roles, which are not replicated.
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
        800 => "AlterReplicateConfig",
        _ => return None,
    })
}
