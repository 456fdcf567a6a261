/*!
Why a request was not executed, with the `code` of the answer.
*/

use crate::manager::ManagerError;

/// The `code` of an invalid request.
pub(super) const CLIENT: u16 = 400;
/// The `code` of every other failure, and of requests that do not decode.
pub(super) const SERVER: u16 = 500;

/// A refused request: the answer's `code` and `message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(super) code: u16,
    pub(super) message: String,
}

impl ApiError {
    pub(super) fn client(message: impl Into<String>) -> Self {
        ApiError { code: CLIENT, message: message.into() }
    }

    pub(super) fn server(message: impl Into<String>) -> Self {
        ApiError { code: SERVER, message: message.into() }
    }
}

impl From<ManagerError> for ApiError {
    fn from(error: ManagerError) -> Self {
        ApiError { code: if error.is_clients() { CLIENT } else { SERVER }, message: error.to_string() }
    }
}

/// Why a request of a known type was not executed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    /// Fields have the wrong types; the text lists them.
    #[error("{0}")]
    Decode(String),
    /// The fields are readable, but the request is refused or has failed.
    #[error("{}", .0.message)]
    Refused(ApiError),
}

impl From<ApiError> for RequestError {
    fn from(error: ApiError) -> Self {
        RequestError::Refused(error)
    }
}

impl From<ManagerError> for RequestError {
    fn from(error: ManagerError) -> Self {
        RequestError::Refused(error.into())
    }
}
