/*!
Secrets given on the command line or in the environment.
*/

use std::convert::Infallible;

use super::exit::{ExitStatus, Failure};
use crate::config::{API_TOKEN_VARIABLE, Secret, can_be_sent, without_line_end};

/// Parses a secret from an argument or a variable and strips the line ends that a secret from a file may have. Accepts
/// every text: clap would print one that its parser rejects.
pub(super) fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(without_line_end(text)))
}

/// The API's token, if a header can carry it.
///
/// # Errors
/// A usage failure that does not show the token.
pub(super) fn api_token(given: &Secret) -> Result<Secret, Failure> {
    match can_be_sent(given.expose()) {
        true => Ok(given.clone()),
        false => {
            let message = format!("--token or {API_TOKEN_VARIABLE}: only visible ASCII characters can be sent");
            Err(Failure::new(ExitStatus::Usage, message))
        }
    }
}
