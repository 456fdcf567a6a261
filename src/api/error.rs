/*!
A refusal: whose fault it is, and the text.
*/

use crate::task::manager::ManagerError;

/// The `code` of a request that is wrong.
pub(super) const CLIENT: u16 = 400;
/// The `code` of everything else that went wrong, and of what does not decode.
pub(super) const SERVER: u16 = 500;

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
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
