/*!
The settings of a source's Pulsar.
*/

use super::super::raw::{Leaf, RawPulsar};
use super::super::{
    BrokerTls, ConfigError, PulsarConfig, PulsarService, Secret, SubscriptionMode, WebAddress, can_be_sent,
};
use super::{ConfigReader, PULSAR_TOKEN_VARIABLE, plain};

const ADDRESS: &str = "sourceConfig.pulsar.address";
const SUBSCRIPTION: &str = "sourceConfig.pulsar.subscription";
const PLUGIN: &str = "sourceConfig.pulsar.authPlugin";
const PARAMS: &str = "sourceConfig.pulsar.authParams";
const PARAMS_FILE: &str = "sourceConfig.pulsar.authParamsFile";

/// The plugins that send a token: Milvus's name, and the Java class, which the Go client accepts too.
const TOKEN_PLUGINS: [&str; 2] = ["token", "org.apache.pulsar.client.impl.auth.AuthenticationToken"];
/// In bytes; larger than what operators usually allow.
const LARGEST_MESSAGE: usize = 128 << 20;

impl ConfigReader<'_> {
    /// `None` without an address; then any other key is an error, as it would have no effect.
    pub(super) fn pulsar(&self, raw: &RawPulsar) -> Result<Option<PulsarConfig>, ConfigError> {
        if raw.address.is_none() {
            return match given_without_address(raw) {
                Some((key, leaf)) => Err(self.wrong(key, leaf, format!("it has no effect without {ADDRESS}"))),
                None => Ok(None),
            };
        }
        let service = PulsarService::parse(&self.text(ADDRESS, &raw.address, "")?).ok_or_else(|| {
            // Without the text, which may contain a password.
            let message = "an address looks like pulsar://host:6650 or pulsar+ssl://host:6651".to_owned();
            self.wrong(ADDRESS, &raw.address, message)
        })?;
        let web = self.web_address(&raw.web_address)?;
        let tls = match &raw.tls {
            None => BrokerTls::default(),
            Some(tls) if service.tls || web.as_ref().is_some_and(|web| web.tls) => {
                self.broker_tls("sourceConfig.pulsar.tls", tls)?
            }
            Some(_) => {
                let message = "the connection is not encrypted, but tls is given: pulsar+ssl://… is".to_owned();
                return Err(self.wrong(ADDRESS, &raw.address, message));
            }
        };
        const SIZE: &str = "sourceConfig.pulsar.maxMessageSize";
        let size = self.number(SIZE, &raw.max_message_size, LARGEST_MESSAGE, u32::MAX as usize)?;
        Ok(Some(PulsarConfig {
            service,
            web,
            // Users often set Milvus's own limit here, which its chunks exceed slightly: smaller values are raised.
            max_message_size: size.max(LARGEST_MESSAGE),
            tenant: self.part_of_topic("sourceConfig.pulsar.tenant", &raw.tenant, "public")?,
            namespace: self.part_of_topic("sourceConfig.pulsar.namespace", &raw.namespace, "default")?,
            token: self.pulsar_token(raw)?,
            tls,
            subscription: self.subscription(&raw.subscription)?,
        }))
    }

    fn web_address(&self, leaf: &Leaf) -> Result<Option<WebAddress>, ConfigError> {
        const KEY: &str = "sourceConfig.pulsar.webAddress";
        if leaf.is_none() {
            return Ok(None);
        }
        let parsed = WebAddress::parse(&self.text(KEY, leaf, "")?);
        let message = || self.wrong(KEY, leaf, "it looks like http://host:8080 or https://host:8443".to_owned());
        parsed.ok_or_else(message).map(Some)
    }

    fn part_of_topic(&self, key: &str, leaf: &Leaf, default: &str) -> Result<String, ConfigError> {
        let text = self.text(key, leaf, default)?;
        match text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_=:.".contains(&byte)) {
            true => Ok(text),
            false => Err(self.wrong(key, leaf, format!("`{text}` is no name in Pulsar"))),
        }
    }

    /// The first of: the environment, a file, the parameters in the config. All in the form `token:…`, as in Milvus and
    /// the Go server.
    fn pulsar_token(&self, raw: &RawPulsar) -> Result<Secret, ConfigError> {
        let plugin = plain(&raw.auth_plugin);
        if !plugin.is_empty() && !TOKEN_PLUGINS.contains(&plugin.as_str()) {
            let message = format!("`{plugin}` is not supported, only `token` (and client certificates, see tls)");
            return Err(self.wrong(PLUGIN, &raw.auth_plugin, message));
        }
        let (key, leaf) = match raw.auth_params_file {
            Some(_) => (PARAMS_FILE, &raw.auth_params_file),
            None => (PARAMS, &raw.auth_params),
        };
        let given = match &self.pulsar_token {
            Some(token) => token.clone(),
            None => self.secret(PARAMS_FILE, &raw.auth_params_file, &raw.auth_params)?,
        };
        // Messages never repeat the text, which is a secret.
        let token = given.strip_prefix("token:").unwrap_or(&given).trim().to_owned();
        if !can_be_sent(&token) || token.starts_with("file:") || token.starts_with('{') {
            let message = "it is no token: it looks like `token:eyJ…`".to_owned();
            return Err(match &self.pulsar_token {
                Some(_) => ConfigError::in_variable(PULSAR_TOKEN_VARIABLE, message),
                None => self.wrong(key, leaf, message),
            });
        }
        if token.is_empty() && !plugin.is_empty() {
            return Err(self.wrong(PLUGIN, &raw.auth_plugin, format!("it needs {PARAMS} or {PARAMS_FILE}")));
        }
        Ok(Secret::new(token))
    }

    fn subscription(&self, leaf: &Leaf) -> Result<SubscriptionMode, ConfigError> {
        let text = self.text(SUBSCRIPTION, leaf, SubscriptionMode::Auto.name())?;
        SubscriptionMode::ALL.into_iter().find(|mode| mode.name() == text).ok_or_else(|| {
            self.not_one_of(SUBSCRIPTION, leaf, &text, &SubscriptionMode::ALL.map(SubscriptionMode::name))
        })
    }
}

fn given_without_address(raw: &RawPulsar) -> Option<(&'static str, &Leaf)> {
    let leaves = [
        ("sourceConfig.pulsar.webAddress", &raw.web_address),
        ("sourceConfig.pulsar.maxMessageSize", &raw.max_message_size),
        ("sourceConfig.pulsar.tenant", &raw.tenant),
        ("sourceConfig.pulsar.namespace", &raw.namespace),
        (PLUGIN, &raw.auth_plugin),
        (PARAMS, &raw.auth_params),
        (PARAMS_FILE, &raw.auth_params_file),
        (SUBSCRIPTION, &raw.subscription),
    ];
    let tls = || Some(("sourceConfig.pulsar.tls", raw.tls.as_ref()?.given()));
    leaves.into_iter().find(|(_, leaf)| leaf.is_some()).or_else(tls)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn load(section: &str, token: Option<&str>) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cdc.yaml");
        std::fs::write(&path, format!("sourceConfig:\n  pulsar: {{{section}}}\n")).unwrap();
        std::fs::write(folder.path().join("token"), "token:from.a.file\n").unwrap();
        let file = folder.path().join("token");
        let text = std::fs::read_to_string(&path).unwrap().replace("TOKEN_FILE", &file.to_string_lossy());
        std::fs::write(&path, text).unwrap();
        let environment = |name: &str| token.filter(|_| name == PULSAR_TOKEN_VARIABLE).map(str::to_owned);
        let loaded = Config::load(Some(&path), environment);
        loaded.map_err(|error| error.to_string().replace(&format!("{}/", folder.path().display()), ""))
    }

    fn pulsar(section: &str) -> PulsarConfig {
        load(section, None).unwrap().source.pulsar.unwrap()
    }

    #[test]
    fn in_all_ways() {
        let plain = pulsar("address: 'a:1'");
        assert_eq!((plain.tenant.as_str(), plain.namespace.as_str()), ("public", "default"));
        assert_eq!((plain.max_message_size, plain.subscription), (LARGEST_MESSAGE, SubscriptionMode::Auto));
        assert!(plain.token.is_empty() && plain.web.is_none());
        // Milvus's own limit is raised.
        assert_eq!(pulsar("address: 'a:1', maxMessageSize: 5242880").max_message_size, LARGEST_MESSAGE);
        assert_eq!(pulsar("address: 'a:1', maxMessageSize: 300000000").max_message_size, 300_000_000);
        let tls =
            pulsar("address: 'pulsar+ssl://a', tls: {caPemPath: ca}, webAddress: 'https://w', subscription: durable");
        assert_eq!((tls.service.to_string().as_str(), tls.tls.ca), ("pulsar+ssl://a:6651", Some("ca".into())));
        assert_eq!(
            (tls.web.unwrap().to_string().as_str(), tls.subscription),
            ("https://w:8443", SubscriptionMode::Durable)
        );
        assert_eq!(load("", None).unwrap().source.pulsar, None);
    }

    #[test]
    fn precedence_of_the_tokens() {
        let token = |section: &str, variable| load(section, variable).unwrap().source.pulsar.unwrap().token;
        let inline = "address: a, authPlugin: token, authParams: 'token:in.line'";
        assert_eq!(token(inline, None).expose(), "in.line");
        assert_eq!(token("address: a, authParams: in.line", None).expose(), "in.line");
        let file = "address: a, authParams: in.line, authParamsFile: TOKEN_FILE";
        assert_eq!(token(file, None).expose(), "from.a.file");
        assert_eq!(token(file, Some("from.the.environment")).expose(), "from.the.environment");
        assert_eq!(token(file, Some("from.the.environment\n")).expose(), "from.the.environment");
        let refused = load(file, Some("s3 cret")).unwrap_err();
        assert_eq!(refused, "MILVUS_CDC_PULSAR_TOKEN: it is no token: it looks like `token:eyJ…`");
        let class = "address: a, authPlugin: org.apache.pulsar.client.impl.auth.AuthenticationToken, authParams: x";
        assert_eq!(token(class, None).expose(), "x");
    }

    #[test]
    fn invalid_settings() {
        for (section, says) in [
            ("address: 'http://a'", "address`: an address looks like pulsar://host:6650"),
            ("address: 'u:s3cret@a:1'", "address`: an address looks like"),
            ("webAddress: 'a:1'", "webAddress`: it has no effect without sourceConfig.pulsar.address"),
            ("tenant: t", "tenant`: it has no effect without"),
            ("namespace: n", "namespace`: it has no effect without"),
            ("maxMessageSize: 1", "maxMessageSize`: it has no effect without"),
            ("tls: {clientKeyPassword: s3cret}", "tls`: it has no effect without"),
            ("address: a, webAddress: 'pulsar://a'", "webAddress`: it looks like http://host:8080"),
            ("address: a, tenant: 'a/b'", "tenant`: `a/b` is no name in Pulsar"),
            (
                "address: a, authPlugin: oauth2, authParams: s3cret",
                "authPlugin`: `oauth2` is not supported, only `token`",
            ),
            ("address: a, authPlugin: token", "authPlugin`: it needs sourceConfig.pulsar.authParams"),
            ("address: a, authParams: '{\"k\": \"s3cret\"}'", "authParams`: it is no token"),
            ("address: a, authParams: 'file:///s3cret'", "authParams`: it is no token"),
            ("address: a, tls: {caPemPath: ca}", "address`: the connection is not encrypted, but tls is given"),
            ("address: a, subscription: durabel", "subscription`: `durabel` is not allowed, did you mean `durable`?"),
        ] {
            let refused = load(section, None).unwrap_err();
            assert!(refused.starts_with("cdc.yaml:2: `sourceConfig.pulsar."), "{section} gave {refused}");
            assert!(refused.contains(says) && !refused.contains("s3cret"), "{section} gave {refused}");
        }
    }
}
