//! The types of messages (`common.MsgType` of Milvus): what each is for, by number.

/// What a type of message means here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    TimeTick,
    Insert,
    Delete,
    CreateCollection,
    DropCollection,
    /// Create or drop of a partition.
    Partition,
    /// Bulk import.
    Import,
    /// A request about one collection, whose database and name stand in the fields 2 and 3: load, release, of partitions too,
    /// create, alter and drop of indexes, alter of a collection and its fields.
    Named,
    /// Another request about the catalog, as the user sent it: aliases, renames, databases, and what may come beside them.
    Catalog,
    /// Known, and of no use.
    Ignored(&'static str),
    /// Not known.
    Unknown,
}

impl Kind {
    pub(super) fn of(number: i32) -> Kind {
        match number {
            100 => Kind::CreateCollection,
            101 => Kind::DropCollection,
            106 | 107 | 111 | 115 | 205 | 206 | 300 | 302 | 304 => Kind::Named,
            200 | 201 => Kind::Partition,
            // Collections and aliases, partitions, indexes, databases.
            102..=119 | 202..=209 | 301..=309 | 1801..=1809 => Kind::Catalog,
            400 => Kind::Insert,
            401 => Kind::Delete,
            408 => Kind::Import,
            1200 => Kind::TimeTick,
            number => ignored(number).map_or(Kind::Unknown, Kind::Ignored),
        }
    }
}

/// Flushing, the servers' own notes, and users with their rights, which are not carried over.
fn ignored(number: i32) -> Option<&'static str> {
    Some(match number {
        402 => "Flush",
        1208 => "DataNodeTt",
        1212 => "Replicate",
        1500 => "CreateCredential",
        1502 => "DeleteCredential",
        1503 => "UpdateCredential",
        1600 => "CreateRole",
        1601 => "DropRole",
        1602 => "OperateUserRole",
        1606 => "OperatePrivilege",
        1610 => "CreatePrivilegeGroup",
        1611 => "DropPrivilegeGroup",
        1613 => "OperatePrivilegeGroup",
        1614 => "OperatePrivilegeV2",
        _ => return None,
    })
}
