//! Asking a server for the rows of a range of keys.

use std::sync::Arc;

use super::key::{Key, above, between};
use super::pages::PageError;
use crate::milvus::rows::{Column, Consistency, Place, Query};
use crate::milvus::{CallContext, Client};
use crate::pipeline::KeyField;
use crate::pipeline::columns;

/// What is read, and from where.
#[derive(Clone)]
pub struct Target {
    /// The server.
    pub client: Arc<Client>,
    /// Of every call.
    pub context: CallContext,
    /// Collection and partition; an empty partition for all.
    pub place: Place,
    /// The primary key.
    pub key: KeyField,
    /// Keys only, which is cheaper; then every digest is 0.
    pub keys_only: bool,
    /// The pages keep the columns that they were read as.
    pub keep_columns: bool,
}

/// What one query answered.
pub(super) struct Answer {
    pub(super) keys: Vec<Key>,
    pub(super) columns: Vec<Column>,
}

/// Something that answers rows. Tests have one of their own, which answers as the worst servers do.
pub(super) trait Ask: Send {
    /// At most `limit` rows with keys above the first key and up to the second.
    fn ask(&mut self, range: (Option<&Key>, Option<&Key>), limit: usize, keys_only: bool) -> Result<Answer, PageError>;

    /// Database and collection, for messages.
    fn object(&self) -> String;
}

/// A real one.
pub(super) struct Server {
    target: Target,
    /// A strong read has been made: what was acknowledged before it is visible, and later reads need not wait again.
    is_visible: bool,
}

impl Server {
    pub(super) fn new(target: Target) -> Server {
        Server { target, is_visible: false }
    }

    fn expression(&self, low: Option<&Key>, high: Option<&Key>) -> String {
        let key = &self.target.key;
        match (low, high) {
            (Some(low), None) => above(&key.name, low),
            _ => between(&key.name, low, high).unwrap_or_else(|| everything(key)),
        }
    }
}

impl Ask for Server {
    fn ask(
        &mut self,
        (low, high): (Option<&Key>, Option<&Key>),
        limit: usize,
        keys_only: bool,
    ) -> Result<Answer, PageError> {
        let expression = self.expression(low, high);
        let Target { client, context, place, key, .. } = &self.target;
        let fields: [&str; 1] = [if keys_only { &key.name } else { "*" }];
        let consistency = if self.is_visible { Consistency::Bounded } else { Consistency::Strong };
        let query = Query { expression: &expression, fields: &fields, limit: Some(limit), consistency };
        let columns = client.query_rows(place, &query, context)?;
        self.is_visible = true;
        if columns.iter().all(Column::is_empty) {
            return Ok(Answer { keys: Vec::new(), columns: Vec::new() });
        }
        let keys = columns::keys(&columns, &key.name)
            .map_err(|source| PageError::Columns { object: self.object(), source })?;
        Ok(Answer { keys: Key::each(keys), columns })
    }

    fn object(&self) -> String {
        let Target { client, place, .. } = &self.target;
        format!("{}.{} at {}", place.db, place.collection, client.address())
    }
}

fn everything(key: &KeyField) -> String {
    if key.is_int { format!("{} <= {}", key.name, i64::MAX) } else { format!("{} >= \"\"", key.name) }
}
