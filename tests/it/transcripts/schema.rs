//! Requests and answers against the OpenAPI description.

use serde_json::Value;

/// The description of the API.
pub(super) struct Description(Value);

/// Whether fields may be missing that the description asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strictness {
    Whole,
    Excerpt,
}

impl Description {
    pub(super) fn read(text: &str) -> Self {
        Description(serde_json::from_str(text).unwrap())
    }

    /// A request, an answer, or a part of what some answer holds.
    pub(super) fn check(&self, value: &Value, strictness: Strictness) -> Result<(), String> {
        let schemas = &self.0["components"]["schemas"];
        if value.get("request_type").is_some() {
            return self.fits(&schemas["Request"], value, strictness, "request");
        }
        if value.get("code").is_some() {
            return self.fits(&schemas["Answer"], value, strictness, "answer");
        }
        let part = |schema| self.fits(schema, value, Strictness::Excerpt, "part");
        let known = schemas.as_object().unwrap().values().map(part);
        let errors: Vec<String> = known.take_while(Result::is_err).filter_map(Result::err).collect();
        match errors.len() < schemas.as_object().unwrap().len() {
            true => Ok(()),
            false => Err(format!("a part of no answer: its fields are {:?}", fields(value))),
        }
    }

    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let reference = schema["$ref"].as_str().map(|reference| reference.trim_start_matches('#'));
        reference.map_or(schema, |reference| self.0.pointer(reference).unwrap())
    }

    fn fits(&self, schema: &Value, value: &Value, strictness: Strictness, place: &str) -> Result<(), String> {
        let schema = self.resolve(schema);
        if let Some(choices) = schema["oneOf"].as_array() {
            let errors = choices.iter().map(|one| self.fits(one, value, strictness, place));
            let errors: Vec<String> = errors.take_while(Result::is_err).filter_map(Result::err).collect();
            // The longest way into the value says most.
            let deepest = errors.iter().max_by_key(|error| error.split(':').next().map(str::len)).cloned();
            return if errors.len() < choices.len() { Ok(()) } else { Err(deepest.unwrap_or_default()) };
        }
        if !schema["const"].is_null() && schema["const"] != *value {
            return Err(format!("{place}: {value} is not {}", schema["const"]));
        }
        if schema["enum"].as_array().is_some_and(|choices| !choices.contains(value)) {
            return Err(format!("{place}: {value} is none of {}", schema["enum"]));
        }
        let is_allowed = match &schema["type"] {
            Value::String(name) => is_of(value, name),
            Value::Array(names) => names.iter().any(|name| is_of(value, name.as_str().unwrap())),
            _ => true,
        };
        if !is_allowed {
            return Err(format!("{place}: {value} is no {}", schema["type"]));
        }
        for item in value.as_array().into_iter().flatten() {
            self.fits(&schema["items"], item, strictness, place)?;
        }
        self.fields_fit(schema, value, strictness, place)
    }

    fn fields_fit(&self, schema: &Value, value: &Value, strictness: Strictness, place: &str) -> Result<(), String> {
        let Some(object) = value.as_object() else { return Ok(()) };
        let parts = self.parts(schema);
        let required = parts.iter().flat_map(|part| part["required"].as_array().into_iter().flatten());
        let missing = required.filter_map(Value::as_str).find(|name| !object.contains_key(*name));
        if let (Some(name), Strictness::Whole) = (missing, strictness) {
            return Err(format!("{place}: {name} is missing"));
        }
        let is_open = parts.iter().all(|part| part.get("properties").is_none());
        for (name, field) in object {
            let place = format!("{place}.{name}");
            let described = parts.iter().find_map(|part| part["properties"].get(name));
            match described.or_else(|| parts.iter().find_map(|part| part.get("additionalProperties"))) {
                Some(schema) => self.fits(schema, field, strictness, &place)?,
                None if is_open => {}
                None => return Err(format!("{place} is not described")),
            }
        }
        Ok(())
    }

    /// The schema and those that it consists of.
    fn parts<'a>(&'a self, schema: &'a Value) -> Vec<&'a Value> {
        let others = schema["allOf"].as_array().into_iter().flatten();
        std::iter::once(schema).chain(others.flat_map(|other| self.parts(self.resolve(other)))).collect()
    }
}

fn fields(value: &Value) -> Vec<&String> {
    value.as_object().into_iter().flat_map(|object| object.keys()).collect()
}

fn is_of(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("the description uses the type {other}, which this test does not know"),
    }
}
