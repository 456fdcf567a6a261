/*!
From a request to its answer.

For `/cdc` the HTTP status is always 200 and the result is the JSON's `code`: clients of the Go server know it no other way.
*/

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::{Map, Value, json};

use super::answer;
use super::create::{CreateParams, Rules, check};
use super::decode::{Object, Problems};
use super::error::{ApiError, CLIENT, SERVER};
use super::guard::Guard;
use super::http::{Request, Response};
use super::maintenance::MaintenanceParams;
use super::metrics::scrape;
use super::ready::ready;
use super::verify::{Action, VerifyParams, shown};
use crate::config::Config;
use crate::observe::metrics;
use crate::task::manager::{ManagerError, TaskManager};
use crate::task::spec::TaskId;

/// The `request_type`s there are.
const REQUEST_TYPES: [&str; 10] =
    ["create", "delete", "pause", "resume", "get", "position", "list", "maintenance", "verify", "repair"];

/// Stands for a client's own invention where requests are counted, and for what cannot be read.
const UNKNOWN: &str = "unknown";

/// Answers requests.
pub struct Api {
    manager: TaskManager,
    rules: Rules,
    guard: Guard,
    /// The longest name that `create` accepts; may change while the server runs.
    max_name_length: AtomicUsize,
}

/// The `data` of an answer.
type Data = Map<String, Value>;

/// Why a request of a known type was not done.
enum Refusal {
    Decode(String),
    Handle(ApiError),
}

impl Api {
    /// An API in front of this manager.
    pub fn new(manager: TaskManager, config: &Config) -> Self {
        let rules = Rules {
            replicate_channel: config.source.replicate_channel.clone(),
            source: config.source.endpoint.address.clone(),
        };
        Api { manager, rules, guard: Guard::new(config), max_name_length: config.max_name_length.into() }
    }

    /// The longest name that `create` accepts from now on.
    pub fn limit_names(&self, max_name_length: usize) {
        self.max_name_length.store(max_name_length, Ordering::Relaxed);
    }

    /// Answers one request.
    pub fn handle(&self, request: Request) -> Response {
        let allowed = self.guard.check(&request.headers);
        // Whether the process lives is nobody's secret, and who checks it has no token.
        let is_open = matches!(request.path.as_str(), "/healthz" | "/readyz");
        if !is_open && let Err(refused) = allowed {
            log::warn!("a request was refused: {refused}");
            return Response::json(refused.status(), &envelope_error(refused.status(), &refused.to_string()));
        }
        match (request.path.as_str(), request.method.as_str()) {
            ("/cdc", _) => Response::json(200, &self.cdc(request)),
            ("/metrics" | "/cdc/metrics", "GET" | "HEAD") => scrape(&self.manager),
            ("/healthz", "GET" | "HEAD") => Response::json(200, &json!({"status": "ok"})),
            ("/openapi.json", "GET" | "HEAD") => {
                Response { status: 200, content_type: "application/json", body: description() }
            }
            ("/readyz", "GET" | "HEAD") => ready(&self.manager, allowed.is_ok()),
            ("/healthz" | "/readyz" | "/metrics" | "/cdc/metrics" | "/openapi.json", _) => {
                Response::json(405, &envelope_error(405, "only support the GET method"))
            }
            _ => Response::text(404, "404 page not found\n"),
        }
    }

    fn cdc(&self, request: Request) -> Value {
        if request.method != "POST" {
            metrics::request(UNKNOWN, "invalid_method");
            return envelope_error(405, "only support the POST method");
        }
        let body = match request.body {
            Ok(body) => body,
            Err(error) => {
                metrics::request(UNKNOWN, "read_error");
                return envelope_error(SERVER, &format!("fail to read the request body, error: {error}"));
            }
        };
        let (request_type, data) = match unmarshal(&body) {
            Ok(parts) => parts,
            Err(error) => {
                metrics::request(UNKNOWN, "unmarshal_error");
                return envelope_error(SERVER, &format!("fail to unmarshal the request, error: {error}"));
            }
        };
        let known = REQUEST_TYPES.into_iter().find(|known| *known == request_type).unwrap_or(UNKNOWN);
        metrics::request(known, "total");
        let begin = Instant::now();
        let performed = self.perform(&request_type, data.as_ref());
        if matches!(performed, Some(Ok(_))) {
            metrics::request_done(known, begin.elapsed());
        }
        match performed {
            None => {
                let types = REQUEST_TYPES.join(" ");
                envelope_error(CLIENT, &format!("invalid 'request_type' param, can be set [{types}]"))
            }
            Some(Ok(data)) => json!({"code": 200, "data": data}),
            Some(Err(Refusal::Decode(problems))) => {
                envelope_error(SERVER, &format!("fail to decode the {request_type} request, error: {problems}"))
            }
            Some(Err(Refusal::Handle(ApiError { code, message }))) => {
                log::warn!("{request_type} refused: {message}");
                envelope_error(code, &format!("fail to handle the {request_type} request, error: {message}"))
            }
        }
    }

    fn perform(&self, request_type: &str, data: Option<&Data>) -> Option<Result<Data, Refusal>> {
        Some(match request_type {
            "create" => self.create(data),
            "delete" => self.delete(data),
            "pause" => self.change(data, TaskManager::pause),
            "resume" => self.change(data, TaskManager::resume),
            "get" => self.get(data),
            "position" => self.position(data),
            "list" => self.list(),
            "verify" => self.verify(data, false),
            "repair" => self.verify(data, true),
            "maintenance" => MaintenanceParams::decode(data)
                .map(|request| object([("State", request.perform().into())]))
                .map_err(Refusal::Decode),
            _ => return None,
        })
    }

    fn create(&self, data: Option<&Data>) -> Result<Data, Refusal> {
        let params = CreateParams::decode(data).map_err(Refusal::Decode)?;
        let (id, spec) = check(params, &self.rules, self.max_name_length.load(Ordering::Relaxed))?;
        let id = self.manager.create(id, spec)?;
        Ok(object([("task_id", id.as_str().into())]))
    }

    fn change(
        &self,
        data: Option<&Data>,
        change: impl FnOnce(&TaskManager, &TaskId) -> Result<(), ManagerError>,
    ) -> Result<Data, Refusal> {
        let (task_id, _) = task_request(data)?;
        let id = TaskId::parse(&task_id).map_err(|_| ManagerError::NotFound(task_id))?;
        change(&self.manager, &id)?;
        Ok(Data::new())
    }

    fn delete(&self, data: Option<&Data>) -> Result<Data, Refusal> {
        let (task_id, ignore_not_found) = task_request(data)?;
        let deleted = match TaskId::parse(&task_id) {
            Ok(id) => self.manager.delete(&id),
            Err(_) => Err(ManagerError::NotFound(task_id)),
        };
        match deleted {
            Err(ManagerError::NotFound(_)) if ignore_not_found => Ok(Data::new()),
            other => Ok(other.map(|()| Data::new())?),
        }
    }

    fn get(&self, data: Option<&Data>) -> Result<Data, Refusal> {
        let (task_id, _) = task_request(data)?;
        if task_id.is_empty() {
            return Err(ApiError::client("task_id is empty").into());
        }
        let view = match TaskId::parse(&task_id) {
            Ok(id) => self.manager.get(&id)?,
            Err(_) => None,
        };
        let view = view.ok_or_else(|| ApiError::client(format!("not found: [{task_id}]")))?;
        let task = answer::task(&view);
        // The documentation says `Task`, the Go server answers `task`: clients of either find it.
        Ok(object([("task", task.clone()), ("Task", task)]))
    }

    fn list(&self) -> Result<Data, Refusal> {
        let tasks: Value = self.manager.list()?.iter().map(answer::task).collect();
        Ok(object([("tasks", tasks)]))
    }

    fn verify(&self, data: Option<&Data>, repair: bool) -> Result<Data, Refusal> {
        let params = VerifyParams::decode(data, repair).map_err(Refusal::Decode)??;
        let id = TaskId::parse(&params.task_id).map_err(|_| ManagerError::NotFound(params.task_id))?;
        let task = self.manager.running(&id)?;
        match params.action {
            Action::Start => task.verify(params.request).map_err(ManagerError::from)?,
            Action::Cancel => task.cancel_verification(),
            Action::Status => {}
        }
        Ok(shown(task.verification().as_ref()))
    }

    fn position(&self, data: Option<&Data>) -> Result<Data, Refusal> {
        let (task_id, _) = task_request(data)?;
        let sources = match (task_id.as_str(), TaskId::parse(&task_id)) {
            ("", _) => self.manager.positions(None)?,
            (_, Ok(id)) => self.manager.positions(Some(id))?,
            (_, Err(_)) => Vec::new(),
        };
        let positions: Vec<_> = sources.iter().flat_map(|source| source.positions()).collect();
        Ok(object([
            ("positions", answer::positions(&positions)),
            ("op_positions", Value::Null),
            ("target_positions", Value::Null),
        ]))
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Refusal::Handle(error)
    }
}

impl From<ManagerError> for Refusal {
    fn from(error: ManagerError) -> Self {
        Refusal::Handle(error.into())
    }
}

/// `task_id` and `ignore_not_found`, which is all that most requests have.
fn task_request(data: Option<&Data>) -> Result<(String, bool), Refusal> {
    let root = Object::root(data);
    let mut problems = Problems::default();
    let request = (root.text("task_id", &mut problems), root.flag("ignore_not_found", &mut problems));
    problems.or(request).map_err(Refusal::Decode)
}

/// `request_type` and `request_data`.
fn unmarshal(body: &[u8]) -> Result<(String, Option<Data>), String> {
    let value: Value = match serde_json::from_slice(body) {
        Ok(value) => value,
        Err(error) if body.is_empty() || error.is_eof() => {
            return Err("the JSON ends too early".to_owned());
        }
        Err(error) => return Err(error.to_string()),
    };
    let fields = match value {
        Value::Null => Map::new(),
        Value::Object(fields) => fields,
        _ => return Err("the request must be a JSON object".to_owned()),
    };
    let root = Object::root(Some(&fields));
    let request_type = match root.get("request_type") {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(_) => return Err("request_type must be a string".to_owned()),
    };
    let data = match root.get("request_data") {
        None => None,
        Some(Value::Object(data)) => Some(data.clone()),
        Some(_) => return Err("request_data must be an object".to_owned()),
    };
    Ok((request_type, data))
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Data {
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The OpenAPI description, with this version in it.
fn description() -> Vec<u8> {
    include_str!("openapi.json").replacen("VERSION", env!("CARGO_PKG_VERSION"), 1).into_bytes()
}

fn envelope_error(code: u16, message: &str) -> Value {
    json!({"code": code, "message": message})
}
