/*!
The request `update`: another way to connect to a task's target. What the request leaves out stays.
*/

use serde_json::{Map, Value};

use super::create::MilvusParams;
use super::decode::{Object, Problems};
use super::error::{ApiError, RequestError};
use crate::config::{DialFiles, bearer_text};
use crate::task::spec::{TargetParams, TargetSpec};

/// The fields of the request.
#[derive(Debug)]
pub(super) struct UpdateParams {
    pub(super) task_id: String,
    milvus: MilvusParams,
}

impl UpdateParams {
    pub(super) fn decode(data: Option<&Map<String, Value>>) -> Result<UpdateParams, RequestError> {
        let mut problems = Problems::default();
        let root = Object::root(data);
        let task_id = root.text("task_id", &mut problems);
        let milvus = MilvusParams::read(&root.object("milvus_connect_param", &mut problems), &mut problems);
        problems.or(UpdateParams { task_id, milvus }).map_err(RequestError::Decode)
    }

    /// The target of a task that has connected to it like this so far.
    pub(super) fn target(self, known: &TargetParams) -> Result<TargetSpec, ApiError> {
        let given = self.milvus;
        given.check_login()?;
        if given.channel_num != 0 || given.ignore_partition {
            let text = "channel_num and ignore_partition cannot be changed: delete the task and create it again";
            return Err(ApiError::client(text));
        }
        let connect_timeout_s = given.connect_timeout_s();
        let token = bearer_text(given.token.expose(), &given.username, given.password.expose());
        let is_given = |text: &str| !text.is_empty();
        let params = TargetParams {
            address: given.address().unwrap_or_else(|| known.address.clone()),
            token: if is_given(token.expose()) { token } else { known.token.clone() },
            dial: if given.dial == DialFiles::default() { known.dial.clone() } else { given.dial },
            connect_timeout_s: if connect_timeout_s == 0 { known.connect_timeout_s } else { connect_timeout_s },
            ..known.clone()
        };
        if params == *known {
            let text = "nothing to change: milvus_connect_param has no token, username and password, dial_config, \
                        connect_timeout or uri that the task does not have already";
            return Err(ApiError::client(text));
        }
        TargetSpec::new(params).map_err(|error| ApiError::client(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Secret;
    use crate::task::spec::TargetAddress;

    fn known() -> TargetParams {
        TargetParams {
            address: TargetAddress::Uri("http://m:1".into()),
            token: Secret::new("root:old"),
            dial: DialFiles::default(),
            connect_timeout_s: 7,
            channel_num: 3,
            ignore_partition: true,
        }
    }

    fn updated(connect: &Value) -> Result<TargetParams, String> {
        let data = json!({"task_id": "a", "milvus_connect_param": connect});
        let params = UpdateParams::decode(data.as_object()).map_err(|_| "decode".to_owned())?;
        let target = params.target(&known()).map_err(|error| error.message)?;
        Ok(target.given().clone())
    }

    #[test]
    fn what_is_left_out_stays() {
        let token = updated(&json!({"token": "root:new"})).unwrap();
        assert_eq!(token, TargetParams { token: Secret::new("root:new"), ..known() });
        assert_eq!(updated(&json!({"username": "root", "password": "new"})).unwrap(), token);
        let dial = json!({"dial_config": {"server_pem_path": "/ca.pem"}, "uri": "https://m:1", "connect_timeout": 9});
        let dial = updated(&dial).unwrap();
        assert_eq!((dial.dial.server_pem_path.as_str(), dial.connect_timeout_s), ("/ca.pem", 9));
        assert_eq!((dial.token, dial.address), (known().token, TargetAddress::Uri("https://m:1".into())));
    }

    #[test]
    fn what_is_refused() {
        for (connect, told) in [
            (json!({}), "nothing to change"),
            (json!({"token": "root:old"}), "nothing to change"),
            (json!({"username": "root"}), "only one of the milvus username and password"),
            (json!({"token": "x", "ignore_partition": true}), "cannot be changed"),
            (json!({"connect_timeout": 3601}), "more than 3600 seconds"),
            (json!({"token": "geheim", "uri": "nonsense://"}), "address"),
        ] {
            let error = updated(&connect).unwrap_err();
            assert!(error.contains(told) && !error.contains("geheim"), "{connect}: {error}");
        }
    }
}
