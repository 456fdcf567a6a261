/*!
The settings of access to the API.
*/

use super::super::raw::{Leaf, RawApi};
use super::super::{ApiConfig, Config, ConfigError, Secret, can_be_sent};
use super::{API_TOKEN_VARIABLE, ConfigReader};

impl ConfigReader<'_> {
    pub(super) fn api(&self, raw: &RawApi) -> Result<ApiConfig, ConfigError> {
        Ok(ApiConfig {
            token: self.api_token(raw)?,
            allow_unauthenticated: self.flag("api.allowUnauthenticated", &raw.allow_unauthenticated)?,
            allowed_hosts: self.allowed_hosts(raw)?,
        })
    }

    /// The first of: the environment, a file, the token in the config.
    fn api_token(&self, raw: &RawApi) -> Result<Secret, ConfigError> {
        let (key, leaf) = match raw.token_file {
            Some(_) => ("api.tokenFile", &raw.token_file),
            None => ("api.token", &raw.token),
        };
        let token = match &self.api_token {
            Some(token) => token.clone(),
            None => self.secret("api.tokenFile", &raw.token_file, &raw.token)?,
        };
        if !can_be_sent(&token) {
            let message = "only visible ASCII characters can be sent in a header".to_owned();
            return Err(match &self.api_token {
                Some(_) => ConfigError::in_variable(API_TOKEN_VARIABLE, message),
                None => self.wrong(key, leaf, message),
            });
        }
        if token.is_empty() && raw.token.is_some() {
            return Err(self.wrong(key, leaf, "the value is empty; leave the key out for no token".to_owned()));
        }
        Ok(Secret::new(token))
    }

    fn allowed_hosts(&self, raw: &RawApi) -> Result<Vec<String>, ConfigError> {
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        };
        let names = raw.allowed_hosts.iter().flatten();
        names
            .map(|name| match is_name(&name.value) {
                true => Ok(name.value.clone()),
                false => {
                    let message = format!("`{}` is no name such as cdc.example.com, without a port", name.value);
                    Err(self.wrong("api.allowedHosts", &Some(name.clone()), message))
                }
            })
            .collect()
    }

    fn flag(&self, key: &str, leaf: &Leaf) -> Result<bool, ConfigError> {
        match self.text(key, leaf, "false")?.as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(self.not_one_of(key, leaf, other, &["true", "false"])),
        }
    }

    /// Every client of the API can write to any Milvus that this host reaches, so open access must be explicit.
    pub(super) fn check_exposure(&self, config: &Config, address: &Leaf) -> Result<(), ConfigError> {
        if config.is_open_to_all() && !config.api.allow_unauthenticated {
            let message = "it is reached from other hosts, so set api.tokenFile or api.token (or \
                           api.allowUnauthenticated: true, if everybody who reaches it may use it)";
            return Err(self.wrong("address", address, message.to_owned()));
        }
        Ok(())
    }
}
