//! Changes of the schema of a collection that is there: fields, functions and their parameters.

use std::collections::BTreeMap;

use protobuf::{Message as _, MessageField};

use super::{Index, pairs};
use crate::domain::CollectionName;
use crate::milvus::client::CallContext;
use crate::milvus::error::Error;
use crate::milvus::function_type::FunctionType;
use crate::milvus::marked::MarkedClient;
use crate::milvus::methods;
use crate::milvus::pb::api::schema_action::Op;
use crate::milvus::pb::api::schema_removal::Identifier;
use crate::milvus::pb::api::{
    AddCollectionFieldRequest, AddCollectionFunctionRequest, AddCollectionStructFieldRequest, AddedField,
    AlterCollectionFieldRequest, AlterCollectionFunctionRequest, AlterCollectionSchemaRequest,
    DropCollectionFunctionRequest, SchemaAction, SchemaAddition, SchemaRemoval,
};
use crate::milvus::pb::schema::{FieldSchema, FunctionSchema, StructArrayFieldSchema};

/// Every method is one blocking call, which fails as [`Error`] describes.
#[allow(clippy::missing_errors_doc)]
impl MarkedClient<'_> {
    /// Sets type parameters of a field. Servers before 2.5 do not have the call.
    pub fn alter_field(
        &self,
        collection: &CollectionName,
        field: &str,
        params: &BTreeMap<String, String>,
        context: &CallContext,
    ) -> Result<(), Error> {
        let request = AlterCollectionFieldRequest {
            db_name: collection.db.clone(),
            collection_name: collection.name.clone(),
            field_name: field.to_owned(),
            properties: pairs(params),
            ..Default::default()
        };
        self.change(&collection.to_string(), &methods::ALTER_COLLECTION_FIELD, &request, context).map(drop)
    }

    /// Adds a field to a collection. Servers before 2.6 do not have the call.
    pub fn add_field(
        &self,
        collection: &CollectionName,
        field: &FieldSchema,
        context: &CallContext,
    ) -> Result<(), Error> {
        let request = AddCollectionFieldRequest {
            db_name: collection.db.clone(),
            collection_name: collection.name.clone(),
            schema: field.write_to_bytes().unwrap_or_default(),
            ..Default::default()
        };
        self.change(&collection.to_string(), &methods::ADD_COLLECTION_FIELD, &request, context).map(drop)
    }

    /// Adds a list of records to a collection. Servers before 3.0 do not have the call.
    pub fn add_struct_array(
        &self,
        collection: &CollectionName,
        list: &StructArrayFieldSchema,
        context: &CallContext,
    ) -> Result<(), Error> {
        let request = AddCollectionStructFieldRequest {
            db_name: collection.db.clone(),
            collection_name: collection.name.clone(),
            struct_array_field_schema: MessageField::some(list.clone()),
            ..Default::default()
        };
        self.change(&collection.to_string(), &methods::ADD_COLLECTION_STRUCT_FIELD, &request, context).map(drop)
    }

    /// Drops a field, or a list of records, with its indexes. Servers before 3.0 do not have the call.
    pub fn drop_field(&self, collection: &CollectionName, field: &str, context: &CallContext) -> Result<(), Error> {
        let identifier = Some(Identifier::FieldName(field.to_owned()));
        let removal = SchemaRemoval { identifier, ..Default::default() };
        self.alter_schema(collection, Op::DropRequest(removal), context)
    }

    /// Adds a function whose fields are there. Servers before 2.6 do not have the call, and of none it takes a
    /// function that searches compute as well (BM25, MinHash).
    pub fn add_function(
        &self,
        collection: &CollectionName,
        function: &FunctionSchema,
        context: &CallContext,
    ) -> Result<(), Error> {
        let request = AddCollectionFunctionRequest {
            db_name: collection.db.clone(),
            collection_name: collection.name.clone(),
            functionSchema: MessageField::some(function.clone()),
            ..Default::default()
        };
        self.change(&collection.to_string(), &methods::ADD_COLLECTION_FUNCTION, &request, context).map(drop)
    }

    /// Adds a function together with the field that it computes, and that field's index; the server chooses one where
    /// none is given. Servers before 3.0 do not have the call.
    pub fn add_function_field(
        &self,
        collection: &CollectionName,
        function: &FunctionSchema,
        (field, index): (&FieldSchema, Option<&Index>),
        context: &CallContext,
    ) -> Result<(), Error> {
        let added = AddedField {
            field_schema: MessageField::some(field.clone()),
            index_name: index.map(|index| index.name.clone()).unwrap_or_default(),
            extra_params: index.map(|index| pairs(&index.params)).unwrap_or_default(),
            ..Default::default()
        };
        let addition = SchemaAddition {
            field_infos: vec![added],
            func_schema: vec![function.clone()],
            // Those builds refuse it for any other function.
            do_physical_backfill: FunctionType::of(function.type_) == FunctionType::Bm25,
            ..Default::default()
        };
        self.alter_schema(collection, Op::AddRequest(addition), context)
    }

    /// Gives a function other parameters. Servers before 2.6 do not have the call.
    pub fn alter_function(
        &self,
        collection: &CollectionName,
        function: &FunctionSchema,
        context: &CallContext,
    ) -> Result<(), Error> {
        let request = AlterCollectionFunctionRequest {
            db_name: collection.db.clone(),
            collection_name: collection.name.clone(),
            function_name: function.name.clone(),
            functionSchema: MessageField::some(function.clone()),
            ..Default::default()
        };
        self.change(&collection.to_string(), &methods::ALTER_COLLECTION_FUNCTION, &request, context).map(drop)
    }

    /// Drops a function; what it has computed stays, in a field of its own. Servers before 2.6 do not have the call.
    pub fn drop_function(
        &self,
        collection: &CollectionName,
        function: &str,
        context: &CallContext,
    ) -> Result<(), Error> {
        let request = DropCollectionFunctionRequest {
            db_name: collection.db.clone(),
            collection_name: collection.name.clone(),
            function_name: function.to_owned(),
            ..Default::default()
        };
        self.change(&collection.to_string(), &methods::DROP_COLLECTION_FUNCTION, &request, context).map(drop)
    }

    /// Drops a function that searches compute as well, with the fields that it computes. Servers before 3.0 do not
    /// have the call.
    pub fn drop_function_field(
        &self,
        collection: &CollectionName,
        function: &str,
        context: &CallContext,
    ) -> Result<(), Error> {
        let identifier = Some(Identifier::FunctionName(function.to_owned()));
        let removal = SchemaRemoval { identifier, drop_function_output_fields: true, ..Default::default() };
        self.alter_schema(collection, Op::DropRequest(removal), context)
    }

    fn alter_schema(&self, collection: &CollectionName, op: Op, context: &CallContext) -> Result<(), Error> {
        let request = AlterCollectionSchemaRequest {
            db_name: collection.db.clone(),
            collection_name: collection.name.clone(),
            action: MessageField::some(SchemaAction { op: Some(op), ..Default::default() }),
            ..Default::default()
        };
        self.change(&collection.to_string(), &methods::ALTER_COLLECTION_SCHEMA, &request, context).map(drop)
    }
}
