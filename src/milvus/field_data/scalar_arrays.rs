//! The arrays of a `ScalarField`, listed once: the generated code has no way to treat them all alike.

/// Calls a macro with the variant of every array, behind what else it is given.
macro_rules! with_scalar_arrays {
    ($call:ident; $($before:tt)*) => {
        $call!(
            $($before)*
            BoolData, IntData, LongData, FloatData, DoubleData, StringData, BytesData, ArrayData, JsonData,
            GeometryData, TimestamptzData, GeometryWktData, MolData, MolSmilesData, DateData, TimeData
        )
    };
}

pub(super) use with_scalar_arrays;
