//! The message types up to Milvus 2.5 (`common.MsgType`), by number, and what each is for.

/// What a message type means here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MsgStreamKind {
    TimeTick,
    Insert,
    Delete,
    CreateCollection,
    DropCollection,
    /// Create or drop of a partition.
    Partition,
    /// Bulk import.
    Import,
    /// A request about one collection, with its database and name in the fields 2 and 3: load, also of partitions;
    /// create, alter and drop of indexes; alter of a collection and its fields.
    Named,
    /// A request of the same form to release the collection or partitions of it.
    Release,
    /// A request to create a database, with its name in the field 2.
    CreateDatabase,
    /// Another request about the catalog, as the user sent it: aliases, renames, databases, and later additions to
    /// these.
    Catalog,
    /// Known, and of no use here; the type's name.
    Ignored(&'static str),
    /// Not known.
    Unknown,
}

impl MsgStreamKind {
    pub(super) fn of(number: i32) -> MsgStreamKind {
        match number {
            100 => MsgStreamKind::CreateCollection,
            101 => MsgStreamKind::DropCollection,
            106 | 111 | 115 | 205 | 300 | 302 | 304 => MsgStreamKind::Named,
            107 | 206 => MsgStreamKind::Release,
            200 | 201 => MsgStreamKind::Partition,
            1801 => MsgStreamKind::CreateDatabase,
            // Collections and aliases, partitions, indexes, databases.
            102..=119 | 202..=209 | 301..=309 | 1801..=1809 => MsgStreamKind::Catalog,
            400 => MsgStreamKind::Insert,
            401 => MsgStreamKind::Delete,
            408 => MsgStreamKind::Import,
            1200 => MsgStreamKind::TimeTick,
            number => ignored(number).map_or(MsgStreamKind::Unknown, MsgStreamKind::Ignored),
        }
    }
}

/// Flushing, the servers' internal messages, and users and roles, which are not replicated.
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
