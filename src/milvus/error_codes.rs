/*!
The error codes of Milvus, and what each means for a call that failed with it.

The numbers are those of Milvus's `merr` package (pkg/util/merr/errors.go) from 2.3 to 3.0, and of `ErrorCode` in its
common.proto, which is all that servers before 2.3 send. A code that changed its meaning between versions stands where
its meaning in the released versions belongs. Every list has one line per code; a test per code is in `tests`.
*/

/// What a code says about the call that failed with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CodeClass {
    /// A condition that passes without anybody changing the request: overload, quota, a part that is away or starts.
    Passing,
    /// Most often a part of the server that is away, sometimes a refusal: nothing in the code tells them apart.
    Trouble,
    /// The answer may change once the catalog has looked again; otherwise nobody but a person can resolve it.
    Unclear,
    /// The same request will be refused again.
    Refused,
    /// Credentials or privileges are missing or wrong.
    Denied,
    /// The server does not implement the call.
    Unimplemented,
}

/// The codes of one numbering by class.
struct CodeTable {
    passing: &'static [i32],
    trouble: &'static [i32],
    unclear: &'static [i32],
    refused: &'static [i32],
    denied: &'static [i32],
    unimplemented: &'static [i32],
}

/// The class of a `Status`; `None` for a code that no known version has. `legacy` counts only without a `code`.
pub(super) fn class_of(code: i32, legacy: i32) -> Option<CodeClass> {
    match code {
        0 => LEGACY.class_of(legacy),
        // Milvus keeps these for invalid parameters.
        1103..=1199 => Some(CodeClass::Refused),
        code => MERR.class_of(code),
    }
}

impl CodeTable {
    fn class_of(&self, code: i32) -> Option<CodeClass> {
        self.classes().into_iter().find(|(_, codes)| codes.contains(&code)).map(|(class, _)| class)
    }

    fn classes(&self) -> [(CodeClass, &'static [i32]); 6] {
        [
            (CodeClass::Passing, self.passing),
            (CodeClass::Trouble, self.trouble),
            (CodeClass::Unclear, self.unclear),
            (CodeClass::Refused, self.refused),
            (CodeClass::Denied, self.denied),
            (CodeClass::Unimplemented, self.unimplemented),
        ]
    }
}

/// `Status.code`.
const MERR: CodeTable = CodeTable {
    passing: &[
        1,     // ServiceNotReady
        2,     // ServiceUnavailable
        3,     // ServiceMemoryLimitExceeded
        4,     // ServiceTooManyRequests (ServiceRequestLimitExceeded before 2.6)
        7,     // ServiceDiskLimitExceeded
        8,     // ServiceRateLimit
        9,     // ServiceQuotaExceeded (ServiceForceDeny in 2.3)
        11,    // ServiceTimeTickLongDelay
        12,    // ServiceResourceInsufficient
        103,   // CollectionNotFullyLoaded
        106,   // CollectionOnRecovering
        110,   // CollectionSchemaVersionNotReady
        202,   // PartitionNotFullyLoaded
        305,   // ResourceGroupServiceUnAvailable
        401,   // ReplicaNotAvailable
        500,   // ChannelNotFound
        501,   // ChannelLack
        502,   // ChannelReduplicate
        503,   // ChannelNotAvailable
        504,   // ChannelCPExceededMaxLag
        505,   // ChannelTSafeStalled
        507,   // ChannelMisrouted
        901,   // NodeNotFound
        902,   // NodeOffline
        903,   // NodeLack
        904,   // NodeNotMatch
        905,   // NodeNotAvailable
        906,   // NodeStateUnexpected
        1001,  // IoFailed
        1002,  // IoUnexpectEOF
        1003,  // IoTooManyRequests
        1302,  // MqInternal
        1501,  // ShardDelegatorAccessFailed (these before 2.3.0)
        1502,  // ShardDelegatorSearchFailed
        1503,  // ShardDelegatorQueryFailed
        1504,  // ShardDelegatorStatisticFailed
        1505,  // ShardDelegatorSQTimeout
        1506,  // ShardDelegatorSQFailed
        1807,  // HTTPRateLimit
        2038,  // SegcoreFollyCancel
        2046,  // segcore: the schema of a query node is older than the request's
        2401,  // DataNodeSlotExhausted
        3001,  // OldSessionExists
        10000, // the server has cancelled the call
        10001, // the server's own time limit for the call
    ],
    trouble: &[
        5,     // ServiceInternal
        400,   // ReplicaNotFound
        600,   // SegmentNotFound
        601,   // SegmentNotLoaded
        602,   // SegmentLack
        603,   // SegmentReduplicate
        604,   // SegmentLoadFailed
        605,   // SegmentRequestResourceFailed
        1005,  // IoPermissionDenied: of the server at its object storage, as the next two
        1006,  // IoBucketNotFound
        1007,  // IoInvalidCredentials
        1008,  // Storage
        1300,  // MqTopicNotFound
        1301,  // MqTopicNotEmpty
        1500,  // ShardDelegatorNotFound (before 2.3.0)
        2012,  // segcore: FileOpenFailed
        2013,  // segcore: FileCreateFailed
        2014,  // segcore: FileReadFailed
        2015,  // segcore: FileWriteFailed
        2018,  // segcore: S3Error
        2027,  // segcore: FieldNotLoaded
        2034,  // segcore: MemAllocateFailed
        2036,  // segcore: MmapError
        2037,  // segcore: FollyOtherException
        2040,  // segcore: GcpNativeError
        2043,  // segcore: InsufficientResource
        2044,  // segcore: StorageError
        2045,  // segcore: StorageTransientError
        2200,  // InconsistentRequery (SegcoreFollyOtherException in 2.5)
        65535, // unexpected: wraps "coordinator is down" as well as refusals
    ],
    unclear: &[
        100,  // CollectionNotFound
        101,  // CollectionNotLoaded
        102,  // CollectionNumLimitExceeded
        109,  // CollectionSchemaMismatch
        200,  // PartitionNotFound
        201,  // PartitionNotLoaded
        203,  // PartitionNotLoaded (before 2.3.0)
        250,  // GeneralCapacityExceeded
        300,  // ResourceGroupNotFound
        302,  // ResourceGroupReachLimit
        304,  // ResourceGroupNodeNotEnough
        506,  // ChannelDroppedSentinel
        700,  // IndexNotFound
        703,  // TaskDuplicate
        800,  // DatabaseNotFound
        801,  // DatabaseNumLimitExceeded
        1000, // IoKeyNotFound
        1004, // SerializationFailed
        1009, // DataIntegrity
        1010, // IoInvalidArgument
        1011, // IoInvalidRange
        1012, // IoEntityTooLarge
        1200, // MetricNotFound
        1600, // AliasNotFound
        1601, // AliasCollectionNameConflict: who has the name may be about to lose it
        1602, // AliasAlreadyExist
        1603, // CollectionIDOfAliasNotFound
        1700, // FieldNotFound
        1901, // InvalidMsgBytes
        1902, // NoAssignSegmentID
        1903, // InvalidStreamObj
        2000, // Segcore
        2001, // SegcoreUnsupported; segcore: UnexpectedError
        2002, // SegcorePretendFinished; segcore: NotImplemented
        2003, // segcore: Unsupported
        2004, // segcore: IndexBuildError
        2005, // segcore: IndexAlreadyBuild
        2006, // segcore: ConfigInvalid
        2007, // segcore: DataTypeInvalid
        2009, // segcore: PathInvalid
        2010, // segcore: PathAlreadyExist
        2011, // segcore: PathNotExist
        2016, // segcore: BucketInvalid
        2017, // segcore: ObjectNotExist
        2019, // segcore: RetrieveError
        2020, // segcore: FieldIDInvalid
        2021, // segcore: FieldAlreadyExist
        2022, // segcore: OpTypeInvalid
        2023, // segcore: DataIsEmpty
        2024, // segcore: DataFormatBroken
        2025, // segcore: JsonKeyInvalid
        2026, // segcore: MetricTypeInvalid
        2028, // segcore: ExprInvalid
        2030, // segcore: UnistdError
        2031, // segcore: MetricTypeNotMatch
        2032, // segcore: DimNotMatch
        2033, // segcore: ClusterSkip
        2035, // segcore: MemAllocateSizeNotMatch
        2039, // SegcoreOutOfRange
        2041, // segcore: TextIndexNotFound
        2042, // segcore: InvalidParameter
        2099, // KnowhereError
        2100, // ImportFailed
        2101, // ImportSysFailed
        2201, // QueryPlan (SegcoreFollyCancel in 2.5)
        2300, // CompactionReadDeltaLogErr: no call of ours compacts, to 2316
        2301, // IllegalCompactionPlan
        2302, // CompactionPlanConflict
        2303, // ClusteringCompactionClusterNotSupport
        2304, // ClusteringCompactionCollectionNotSupport
        2305, // ClusteringCompactionCollectionIsCompacting
        2306, // ClusteringCompactionNotSupportVector
        2307, // ClusteringCompactionSubmitTaskFail
        2308, // ClusteringCompactionMetaError
        2309, // ClusteringCompactionGetCollectionFail
        2310, // CompactionResultNotFound
        2311, // AnalyzeTaskNotFound
        2312, // BuildCompactionRequestFail
        2313, // GetCompactionPlanResultFail
        2314, // CompactionResult
        2315, // DuplicatedCompactionTask
        2316, // CleanPartitionStatsFail
        2400, // FunctionFailed
        2500, // KMSKeyRevoked
    ],
    refused: &[
        6,    // ServiceCrossClusterRouting; Milvus Lite 3 refuses everything with it
        104,  // CollectionLoaded
        105,  // CollectionIllegalSchema
        107,  // CollectionVectorClusteringKeyNotAllowed
        108,  // CollectionReplicateMode
        301,  // ResourceGroupAlreadyExist
        303,  // ResourceGroupIllegalConfig
        701,  // IndexNotSupported
        702,  // IndexDuplicate
        802,  // DatabaseInvalidName
        1100, // ParameterInvalid
        1101, // ParameterMissing
        1102, // ParameterTooLarge
        1303, // DenyProduceMsg
        1402, // PrivilegeGroupInvalidName
        1701, // FieldInvalidName
        1801, // IncorrectParameterFormat: these of the REST API, to 1806
        1802, // MissingRequiredParameters
        1803, // MarshalCollectionSchema
        1804, // InvalidInsertData
        1805, // InvalidSearchResult
        1806, // CheckPrimaryKey
        1900, // DenyReplicateMessage
        3000, // OperationNotSupported
    ],
    denied: &[
        1400, // PrivilegeNotAuthenticated
        1401, // PrivilegeNotPermitted
        1800, // NeedAuthenticate
    ],
    unimplemented: &[
        10, // ServiceUnimplemented
    ],
};

/// `Status.error_code`.
const LEGACY: CodeTable = CodeTable {
    passing: &[
        2,    // ConnectFailed
        24,   // OutOfMemory
        45,   // NotShardLeader
        46,   // NoReplicaAvailable
        48,   // ForceDeny
        49,   // RateLimit
        50,   // NodeIDNotMatch
        53,   // MemoryQuotaExhausted
        54,   // DiskQuotaExhausted
        55,   // TimeTickLongDelay
        56,   // NotReadyServe
        57,   // NotReadyCoordActivating
        100,  // DataCoordNA
        1000, // DDRequestRace
    ],
    trouble: &[
        1,  // UnexpectedError
        15, // MetaFailed
        16, // CacheFailed
        17, // CannotCreateFolder
        18, // CannotCreateFile
        19, // CannotDeleteFolder
        20, // CannotDeleteFile
        47, // SegmentNotFound
        52, // InsufficientMemoryToLoad
    ],
    unclear: &[
        4,  // CollectionNotExists
        14, // FileNotFound
        21, // BuildIndexError
        25, // IndexNotExist
        26, // EmptyCollection
        27, // UpdateImportTaskFailure
        28, // CollectionNameNotFound
        29, // CreateCredentialFailure: no call of ours is about users and roles, to 44
        30, // UpdateCredentialFailure
        31, // DeleteCredentialFailure
        32, // GetCredentialFailure
        33, // ListCredUsersFailure
        34, // GetUserFailure
        35, // CreateRoleFailure
        36, // DropRoleFailure
        37, // OperateUserRoleFailure
        38, // SelectRoleFailure
        39, // SelectUserFailure
        40, // SelectResourceFailure
        41, // OperatePrivilegeFailure
        42, // SelectGrantFailure
        43, // RefreshPolicyInfoCacheFailure
        44, // ListPolicyFailure
        58, // SchemaMismatch
    ],
    refused: &[
        5,  // IllegalArgument
        7,  // IllegalDimension
        8,  // IllegalIndexType
        9,  // IllegalCollectionName
        10, // IllegalTOPK
        11, // IllegalRowRecord
        12, // IllegalVectorID
        13, // IllegalSearchResult
        22, // IllegalNLIST
        23, // IllegalMetricType
        51, // UpsertAutoIDTrue
    ],
    denied: &[
        3, // PermissionDenied
    ],
    unimplemented: &[],
};

#[cfg(test)]
mod tests;
