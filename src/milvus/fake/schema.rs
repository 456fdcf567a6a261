//! Calls that change the schema of a collection that is there: as servers of Milvus 2.5, 2.6 and 3.0 answer them, by
//! what their proxies check.

use std::any::Any;

use protobuf::{Message as _, MessageField};

use super::catalog::{INVALID, map, pairs};
use super::{FakeMilvus, request, status};
use crate::milvus::FunctionType;
use crate::milvus::pb::api::schema_action::Op;
use crate::milvus::pb::api::schema_removal::Identifier;
use crate::milvus::pb::api::*;
use crate::milvus::pb::common::Status;
use crate::milvus::pb::schema::{CollectionSchema, FieldSchema};
use crate::milvus::version::Version;

impl FakeMilvus {
    pub(super) fn answer_about_schema(&self, method: &'static str, asked: &dyn Any) -> Option<Box<dyn Any>> {
        let since = |major, minor| self.is_from(Version::new(major, minor, 0));
        let status: Status = match method {
            "AlterCollectionField" if since(2, 5) => self.alter_field(request(asked)),
            "AddCollectionField" => self.add_field(request(asked)),
            "AddCollectionStructField" if since(3, 0) => self.add_struct_array(request(asked)),
            "AddCollectionFunction" if since(2, 6) => self.add_function(request(asked)),
            "AlterCollectionFunction" if since(2, 6) => self.alter_function(request(asked)),
            "DropCollectionFunction" if since(2, 6) => {
                let DropCollectionFunctionRequest { db_name, collection_name, function_name, .. } = request(asked);
                self.change((db_name, collection_name), |collection| {
                    drop_function(&mut collection.schema, function_name, false)
                })
            }
            "AlterCollectionSchema" if since(3, 0) => {
                let alter_status = MessageField::some(self.alter_schema(request(asked)));
                return Some(Box::new(AlterCollectionSchemaResponse { alter_status, ..Default::default() }));
            }
            _ => return None,
        };
        Some(Box::new(status))
    }

    fn alter_field(&self, asked: &AlterCollectionFieldRequest) -> Status {
        self.change((&asked.db_name, &asked.collection_name), |collection| {
            let field = collection.schema.fields.iter_mut().find(|field| field.name == asked.field_name);
            let Some(field) = field else { return Err(status(INVALID, "field not found")) };
            let mut params = map(&field.type_params);
            params.extend(map(&asked.properties));
            field.type_params = pairs(&params);
            Ok(format!("alter field {}", asked.field_name))
        })
    }

    fn add_field(&self, asked: &AddCollectionFieldRequest) -> Status {
        let field = FieldSchema::parse_from_bytes(&asked.schema).unwrap();
        self.change((&asked.db_name, &asked.collection_name), |collection| {
            if collection.schema.fields.iter().any(|other| other.name == field.name) {
                // Refused by every version: it cannot tell whether the same field is meant.
                return Err(status(INVALID, "duplicate field name"));
            }
            let done = format!("add field {}", field.name);
            collection.schema.fields.push(field);
            Ok(done)
        })
    }

    fn add_struct_array(&self, asked: &AddCollectionStructFieldRequest) -> Status {
        self.change((&asked.db_name, &asked.collection_name), |collection| {
            let list = asked.struct_array_field_schema.clone().unwrap();
            let done = format!("add struct array {}", list.name);
            collection.schema.struct_array_fields.push(list);
            Ok(done)
        })
    }

    fn add_function(&self, asked: &AddCollectionFunctionRequest) -> Status {
        self.change((&asked.db_name, &asked.collection_name), |collection| {
            let function = asked.functionSchema.clone().unwrap();
            if FunctionType::of(function.type_).owns_its_field() {
                return Err(status(INVALID, "currently does not support adding BM25 function"));
            }
            for name in &function.output_field_names {
                let field = collection.schema.fields.iter_mut().find(|field| field.name == *name);
                let Some(field) = field else { return Err(status(INVALID, "output field not exists")) };
                field.is_function_output = true;
            }
            let done = format!("add function {}", function.name);
            collection.schema.functions.push(function);
            Ok(done)
        })
    }

    fn alter_function(&self, asked: &AlterCollectionFunctionRequest) -> Status {
        self.change((&asked.db_name, &asked.collection_name), |collection| {
            let wanted = asked.functionSchema.clone().unwrap();
            let functions = &mut collection.schema.functions;
            let Some(function) = functions.iter_mut().find(|function| function.name == asked.function_name) else {
                return Err(status(INVALID, "function not found"));
            };
            if FunctionType::of(function.type_).owns_its_field() {
                return Err(status(INVALID, "currently does not support alter BM25 function"));
            }
            *function = wanted;
            Ok(format!("alter function {}", asked.function_name))
        })
    }

    fn alter_schema(&self, asked: &AlterCollectionSchemaRequest) -> Status {
        self.change((&asked.db_name, &asked.collection_name), |collection| {
            let schema = &mut collection.schema;
            match asked.action.op.as_ref().unwrap() {
                Op::AddRequest(added) => {
                    let [field] = &added.field_infos[..] else { return Err(status(INVALID, "one field")) };
                    let [function] = &added.func_schema[..] else { return Err(status(INVALID, "one function")) };
                    schema.fields.push(field.field_schema.clone().unwrap());
                    schema.functions.push(function.clone());
                    let index = (field.field_schema.name.clone(), map(&field.extra_params));
                    collection.indexes.insert(field.index_name.clone(), index);
                    let done = format!("add function {} with field {}", function.name, field.field_schema.name);
                    Ok(format!("{done}, index {:?}", field.index_name))
                }
                Op::DropRequest(removal) => match removal.identifier.as_ref().unwrap() {
                    Identifier::FieldName(name) => drop_field(schema, name),
                    Identifier::FunctionName(name) => drop_function(schema, name, removal.drop_function_output_fields),
                },
            }
        })
    }
}

fn drop_field(schema: &mut CollectionSchema, name: &str) -> Result<String, Status> {
    if schema.fields.iter().any(|field| field.name == name && field.is_function_output) {
        return Err(status(INVALID, "field is referenced by a function as output, drop function first"));
    }
    let before = schema.fields.len() + schema.struct_array_fields.len();
    schema.fields.retain(|field| field.name != name);
    schema.struct_array_fields.retain(|list| list.name != name);
    match schema.fields.len() + schema.struct_array_fields.len() < before {
        true => Ok(format!("drop field {name}")),
        false => Err(status(INVALID, "field not found")),
    }
}

/// One whose field is its own goes with that, and by this call alone.
fn drop_function(schema: &mut CollectionSchema, name: &str, with_fields: bool) -> Result<String, Status> {
    let Some(at) = schema.functions.iter().position(|function| function.name == name) else {
        return Err(status(INVALID, "function not found"));
    };
    if FunctionType::of(schema.functions[at].type_).owns_its_field() != with_fields {
        return Err(status(INVALID, "must be dropped with its output field"));
    }
    let function = schema.functions.remove(at);
    schema.fields.retain(|field| !with_fields || !function.output_field_names.contains(&field.name));
    for field in schema.fields.iter_mut().filter(|field| function.output_field_names.contains(&field.name)) {
        field.is_function_output = false;
    }
    Ok(format!("drop function {name}"))
}
