//! What computes fields of a collection from others (Milvus 2.5 and later).

/// The kind of a function, by the codes of Milvus's `schema.proto`, as far as kinds are treated differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionType {
    /// Sparse vectors for full-text search.
    Bm25,
    /// Signatures of sets.
    MinHash,
    /// Another one: a model computes it.
    Other,
}

impl FunctionType {
    /// By its code.
    pub fn of(code: i32) -> FunctionType {
        match code {
            1 => FunctionType::Bm25,
            4 => FunctionType::MinHash,
            _ => FunctionType::Other,
        }
    }

    /// Whether searches compute it, too, so that the field it fills comes and goes with it.
    pub fn owns_its_field(self) -> bool {
        self != FunctionType::Other
    }
}
