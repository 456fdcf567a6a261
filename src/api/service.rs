/*!
Turns a request into its answer.

For `/cdc` the HTTP status is always 200 and the outcome is the JSON's `code`: clients of the Go server expect it.
*/

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::{Map, Value, json};

use super::check::{self, extent_of, pause_of};
use super::collection::{self, CollectionParams};
use super::create::{CreateParams, NewTask, OppositeTask, RequestRules, check};
use super::decision::DecisionParams;
use super::decode::{Object, Problems};
use super::drops;
use super::error::{ApiError, CLIENT, RequestError, SERVER};
use super::failback::{self, FailbackAction, FailbackParams};
use super::failover::{self, FailoverAction, FailoverParams};
use super::guard::Guard;
use super::http::{Request, Response};
use super::maintenance::MaintenanceParams;
use super::metrics::scrape;
use super::ready::{ReadyDetail, ready};
use super::refused_rows;
use super::switchover::{self, SwitchoverAction, SwitchoverParams};
use super::update::UpdateParams;
use super::verify::{Action, Intent, VerifyParams, shown};
use super::{answer, details, webui};
use crate::config::Config;
use crate::domain::TaskId;
use crate::manager::{ManagerError, TaskManager, TaskView};
use crate::observe::metrics;
use crate::preflight::CheckExtent;
use crate::task::collection_request::CollectionWish;
use crate::task::role::Insistence;
use crate::task::spec::TaskSpec;

/// Every `request_type`.
const REQUEST_TYPES: [&str; 19] = [
    "create",
    "delete",
    "pause",
    "resume",
    "resync",
    "get",
    "position",
    "list",
    "maintenance",
    "verify",
    "repair",
    "check",
    "drops",
    "refused_rows",
    "update",
    "failover",
    "failback",
    "switchover",
    "pair",
];

/// Counted in place of an unknown request type, and of requests that cannot be read.
const UNKNOWN: &str = "unknown";

/// Answers requests.
pub struct Api {
    manager: TaskManager,
    rules: RequestRules,
    guard: Guard,
    /// The longest name that `create` accepts, in bytes; may change while the server runs.
    max_name_length: AtomicUsize,
}

/// The `data` of an answer.
type Data = Map<String, Value>;

impl Api {
    /// An API in front of this manager.
    pub fn new(manager: TaskManager, config: &Config) -> Self {
        Api {
            manager,
            rules: RequestRules::of(config),
            guard: Guard::new(config),
            max_name_length: config.max_name_length.into(),
        }
    }

    /// Sets the longest name that `create` accepts, in bytes.
    pub fn limit_names(&self, max_name_length: usize) {
        self.max_name_length.store(max_name_length, Ordering::Relaxed);
    }

    /// Answers one request.
    pub fn handle(&self, request: Request) -> Response {
        let allowed = match request.path.as_str() {
            // The page contains no secret, and asks for the token itself.
            "/webui" | "/webui/" => self.guard.check_site(&request.headers),
            _ => self.guard.check(&request.headers),
        };
        // Health is no secret, and health checks have no token.
        let is_open = matches!(request.path.as_str(), "/healthz" | "/readyz");
        if !is_open && let Err(rejection) = allowed {
            log::warn!("request rejected: {rejection}");
            return Response::json(rejection.status(), &envelope_error(rejection.status(), &rejection.to_string()));
        }
        match (request.path.as_str(), request.method.as_str()) {
            ("/cdc", _) => Response::json(200, &self.cdc(request)),
            ("/metrics" | "/cdc/metrics", "GET" | "HEAD") => scrape(&self.manager),
            ("/healthz", "GET" | "HEAD") => Response::json(200, &json!({"status": "ok"})),
            ("/openapi.json", "GET" | "HEAD") => Response::new(200, "application/json", description()),
            ("/webui" | "/webui/", "GET" | "HEAD") => webui::page(),
            ("/readyz", "GET" | "HEAD") => {
                ready(&self.manager, if allowed.is_ok() { ReadyDetail::Tasks } else { ReadyDetail::Counts })
            }
            ("/healthz" | "/readyz" | "/metrics" | "/cdc/metrics" | "/openapi.json" | "/webui" | "/webui/", _) => {
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
        let RequestEnvelope { request_type, data } = match unmarshal(&body) {
            Ok(envelope) => envelope,
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
            Some(Err(RequestError::Decode(problems))) => {
                envelope_error(SERVER, &format!("fail to decode the {request_type} request, error: {problems}"))
            }
            Some(Err(RequestError::Refused(ApiError { code, message }))) => {
                log::warn!("{request_type} refused: {message}");
                envelope_error(code, &format!("fail to handle the {request_type} request, error: {message}"))
            }
        }
    }

    fn perform(&self, request_type: &str, data: Option<&Data>) -> Option<Result<Data, RequestError>> {
        Some(match request_type {
            "create" => self.create(data),
            "delete" => self.delete(data),
            "pause" => self.change(data, CollectionWish::Pause, TaskManager::pause),
            "resume" => self.change(data, CollectionWish::Resume, TaskManager::resume),
            "resync" => CollectionParams::decode_named(data)
                .and_then(|params| self.change_collection(params, CollectionWish::Resync)),
            "get" => self.get(data),
            "position" => self.position(data),
            "list" => self.list(data),
            "check" => self.check(data),
            "verify" => self.verify(data, Intent::Compare),
            "repair" => self.verify(data, Intent::Repair),
            "drops" => self.drops(data),
            "refused_rows" => self.refused_rows(data),
            "update" => self.update(data),
            "failover" => self.failover(data),
            "failback" => self.failback(data),
            "switchover" => self.switchover(data),
            "pair" => self.pair(data),
            "maintenance" => MaintenanceParams::decode(data)
                .map(|request| object([("State", request.perform().into())]))
                .map_err(RequestError::Decode),
            _ => return None,
        })
    }

    fn create(&self, data: Option<&Data>) -> Result<Data, RequestError> {
        let params = CreateParams::decode(data).map_err(RequestError::Decode)?;
        let created = match params.reverse_of()? {
            Some(OppositeTask { id, of }) => self.manager.create_opposite(id, &of)?,
            None => {
                let longest = self.max_name_length.load(Ordering::Relaxed);
                let NewTask { id, spec } = check(params, &self.rules, longest)?;
                self.manager.create(id, spec)?
            }
        };
        let mut answer = object([("task_id", created.id.as_str().into())]);
        if !created.warnings.is_empty() {
            answer.insert("warnings".into(), created.warnings.into());
        }
        Ok(answer)
    }

    fn check(&self, data: Option<&Data>) -> Result<Data, RequestError> {
        let params = CreateParams::decode(data).map_err(RequestError::Decode)?;
        let (pause, extent) = (pause_of(data)?, extent_of(data)?);
        let NewTask { id, spec } = match self.known_task(data, extent)? {
            Some(known) => known,
            None => check(params, &self.rules, self.max_name_length.load(Ordering::Relaxed))?,
        };
        let report = self.manager.check(id, spec, pause, extent)?;
        Ok(check::answer(&report))
    }

    /// The task that the request names, where its recovery is asked about.
    fn known_task(&self, data: Option<&Data>, extent: CheckExtent) -> Result<Option<NewTask>, RequestError> {
        let TaskQuery { task_id, .. } = TaskQuery::decode(data)?;
        let (CheckExtent::Recovery, Ok(id)) = (extent, TaskId::parse(&task_id)) else { return Ok(None) };
        let known = self.manager.get(&id)?;
        Ok(known.map(|view| NewTask { id: Some(id), spec: TaskSpec::clone(&view.spec) }))
    }

    /// Changes one collection, if the request names one, else the task.
    fn change(
        &self,
        data: Option<&Data>,
        wish: CollectionWish,
        change: impl FnOnce(&TaskManager, &TaskId) -> Result<(), ManagerError>,
    ) -> Result<Data, RequestError> {
        if let Some(params) = CollectionParams::decode(data)? {
            return self.change_collection(params, wish);
        }
        let TaskQuery { task_id, .. } = TaskQuery::decode(data)?;
        let id = task_id_of(&task_id)?;
        change(&self.manager, &id)?;
        Ok(Data::new())
    }

    fn change_collection(&self, params: CollectionParams, wish: CollectionWish) -> Result<Data, RequestError> {
        let CollectionParams { task_id, collection } = params;
        let id = task_id_of(&task_id)?;
        let outcome = self.manager.change_collection(&id, &collection, wish)?;
        Ok(collection::shown(&collection, outcome))
    }

    fn delete(&self, data: Option<&Data>) -> Result<Data, RequestError> {
        let TaskQuery { task_id, ignore_not_found } = TaskQuery::decode(data)?;
        match task_id_of(&task_id).and_then(|id| self.manager.delete(&id)) {
            Err(ManagerError::NotFound(_)) if ignore_not_found => Ok(Data::new()),
            other => Ok(other.map(|()| Data::new())?),
        }
    }

    fn get(&self, data: Option<&Data>) -> Result<Data, RequestError> {
        let TaskQuery { task_id, .. } = TaskQuery::decode(data)?;
        if task_id.is_empty() {
            return Err(ApiError::client("task_id is empty").into());
        }
        let view = match TaskId::parse(&task_id) {
            Ok(id) => self.manager.get(&id)?,
            Err(_) => None,
        };
        let view = view.ok_or_else(|| ApiError::client(format!("not found: [{task_id}]")))?;
        let mut task = answer::task(&view);
        let extras = Extras::of(data)?;
        if extras.details {
            let sources = self.manager.positions(Some(view.id.clone()))?;
            let stored: Vec<_> = sources.iter().flat_map(|source| source.positions()).collect();
            task["details"] = details::full(&view, &stored);
        }
        if extras.events {
            task["events"] = details::events(&view);
        }
        // The Go server documents `Task` but answers `task`: clients of either spelling find it.
        Ok(object([("task", task.clone()), ("Task", task)]))
    }

    fn list(&self, data: Option<&Data>) -> Result<Data, RequestError> {
        let extras = Extras::of(data)?;
        let one = |view: &TaskView| {
            let mut task = answer::task(view);
            if extras.details {
                task["details"] = details::summary(view);
            }
            task
        };
        let tasks: Value = self.manager.list()?.iter().map(one).collect();
        Ok(object([("tasks", tasks)]))
    }

    fn verify(&self, data: Option<&Data>, intent: Intent) -> Result<Data, RequestError> {
        let params = VerifyParams::decode(data, intent)?;
        let id = task_id_of(&params.task_id)?;
        let task = self.manager.running(&id)?;
        match params.action {
            Action::Start => task.verify(params.request).map_err(ManagerError::from)?,
            Action::Cancel => task.cancel_verification(),
            Action::Status => {}
        }
        Ok(shown(task.verification().as_ref()))
    }

    fn drops(&self, data: Option<&Data>) -> Result<Data, RequestError> {
        let params = DecisionParams::decode(data, &drops::DECISIONS)?;
        let id = task_id_of(&params.task_id)?;
        let drops = self.manager.drops(&id, params.decision)?;
        Ok(drops::shown(&drops))
    }

    fn refused_rows(&self, data: Option<&Data>) -> Result<Data, RequestError> {
        let params = DecisionParams::decode(data, &refused_rows::DECISIONS)?;
        let id = task_id_of(&params.task_id)?;
        let rows = self.manager.refused_rows(&id, params.decision)?;
        Ok(refused_rows::shown(&rows))
    }

    fn update(&self, data: Option<&Data>) -> Result<Data, RequestError> {
        let params = UpdateParams::decode(data)?;
        let id = task_id_of(&params.task_id)?;
        let view = self.manager.view(&id)?;
        self.manager.reconnect(&id, params.target(view.spec.target.given())?)?;
        Ok(Data::new())
    }

    fn failover(&self, data: Option<&Data>) -> Result<Data, RequestError> {
        let params = FailoverParams::decode(data)?;
        let id = task_id_of(&params.task_id)?;
        let objection = match params.action {
            FailoverAction::DryRun(Insistence::Forced) => None,
            FailoverAction::Status | FailoverAction::DryRun(Insistence::Patient) => {
                self.manager.failover_objection(&id)?
            }
            FailoverAction::Order(order) => {
                self.manager.fail_over(&id, order)?;
                None
            }
        };
        let objection = objection.map(|why| why.to_string());
        Ok(failover::shown(&self.manager.view(&id)?, objection.as_deref()))
    }

    fn failback(&self, data: Option<&Data>) -> Result<Data, RequestError> {
        let params = FailbackParams::decode(data)?;
        let id = task_id_of(&params.task_id)?;
        match params.action {
            FailbackAction::Status => {}
            FailbackAction::Export(from) => {
                self.manager.view(&id)?;
                return Ok(failback::exported(self.manager.lost_lines(&id, from)?));
            }
            FailbackAction::Order(order) => self.manager.fail_back(&id, order)?,
        }
        let view = self.manager.view(&id)?;
        Ok(failback::shown(&view, self.manager.lost_writes(&id)?.as_ref()))
    }

    fn switchover(&self, data: Option<&Data>) -> Result<Data, RequestError> {
        let params = SwitchoverParams::decode(data)?;
        let id = task_id_of(&params.task_id)?;
        if let SwitchoverAction::Order(order) = params.action {
            self.manager.switch_over(&id, order)?;
        }
        let view = self.manager.view(&id)?;
        let source = self.manager.look_at_source(&view.spec);
        Ok(switchover::shown(&view, &self.manager.switchover_objections(&view, &source)))
    }

    fn pair(&self, data: Option<&Data>) -> Result<Data, RequestError> {
        let TaskQuery { task_id, .. } = TaskQuery::decode(data)?;
        let view = self.manager.view(&task_id_of(&task_id)?)?;
        let source = self.manager.look_at_source(&view.spec);
        Ok(failover::pair(&view, &source, &self.manager.switchover_objections(&view, &source)))
    }

    fn position(&self, data: Option<&Data>) -> Result<Data, RequestError> {
        let TaskQuery { task_id, .. } = TaskQuery::decode(data)?;
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

/// What the answer shows of a task beyond the usual fields.
struct Extras {
    details: bool,
    events: bool,
}

impl Extras {
    fn of(data: Option<&Data>) -> Result<Extras, RequestError> {
        let root = Object::root(data);
        let mut problems = Problems::default();
        let extras =
            Extras { details: root.flag("details", &mut problems), events: root.flag("events", &mut problems) };
        problems.or(extras).map_err(RequestError::Decode)
    }
}

/// The only fields of most requests.
struct TaskQuery {
    task_id: String,
    ignore_not_found: bool,
}

impl TaskQuery {
    fn decode(data: Option<&Data>) -> Result<TaskQuery, RequestError> {
        let root = Object::root(data);
        let mut problems = Problems::default();
        let task_id = root.text("task_id", &mut problems);
        let ignore_not_found = root.flag("ignore_not_found", &mut problems);
        problems.or(TaskQuery { task_id, ignore_not_found }).map_err(RequestError::Decode)
    }
}

/// The outer object of a request.
struct RequestEnvelope {
    request_type: String,
    data: Option<Data>,
}

fn unmarshal(body: &[u8]) -> Result<RequestEnvelope, String> {
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
    Ok(RequestEnvelope { request_type, data })
}

/// What is no task's id is the id of no task.
fn task_id_of(text: &str) -> Result<TaskId, ManagerError> {
    TaskId::parse(text).map_err(|_| ManagerError::NotFound(text.to_owned()))
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Data {
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The OpenAPI description with the version of this program.
fn description() -> Vec<u8> {
    include_str!("openapi.json").replacen("VERSION", env!("CARGO_PKG_VERSION"), 1).into_bytes()
}

fn envelope_error(code: u16, message: &str) -> Value {
    json!({"code": code, "message": message})
}
