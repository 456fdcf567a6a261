/*!
The settings of peers: read like `sourceConfig`, without the environment's secrets, which are the source's.
*/

use std::collections::BTreeMap;

use super::super::raw::RawSource;
use super::super::{ConfigError, SourceConfig};
use super::ConfigReader;
use crate::domain::PeerName;

impl ConfigReader<'_> {
    /// Each is another Milvus than the source, and than the others.
    pub(super) fn peers(
        &self,
        raw: BTreeMap<String, RawSource>,
        source: &SourceConfig,
    ) -> Result<BTreeMap<PeerName, SourceConfig>, ConfigError> {
        let mut peers: BTreeMap<PeerName, SourceConfig> = BTreeMap::new();
        for (name, raw) in raw {
            let uri = raw.milvus.as_ref().and_then(|milvus| milvus.uri.clone());
            let key = format!("peers.{name}");
            let parsed = PeerName::parse(&name).map_err(|error| self.wrong(&key, &uri, error.to_string()))?;
            if uri.is_none() {
                let message = "a peer needs milvus.uri, such as http://standby:19530".to_owned();
                return Err(self.wrong(&key, &uri, message));
            }
            let reader = ConfigReader { path: self.path, section: key.clone(), ..ConfigReader::without_secrets() };
            let peer = reader.source(raw)?;
            let address = &peer.endpoint.address;
            let same = std::iter::once(source).chain(peers.values()).find(|it| it.endpoint.address.same_as(address));
            if let Some(same) = same {
                let message = format!("{address} is the Milvus of {}, too", same.section);
                return Err(self.wrong(&format!("{key}.milvus.uri"), &uri, message));
            }
            peers.insert(parsed, peer);
        }
        Ok(peers)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::super::Config;

    fn load(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cdc.yaml");
        fs::write(&path, text).unwrap();
        let secret = |name: &str| name.ends_with("SOURCE_TOKEN").then(|| "of-the-source".to_owned());
        Config::load(Some(Path::new(&path)), secret).map_err(|error| error.to_string())
    }

    const SOURCE: &str = "sourceConfig: {milvus: {uri: 'http://a:1'}}\n";

    fn with_peers(text: &str) -> Result<Config, String> {
        load(&format!("{SOURCE}peers:\n{text}"))
    }

    #[test]
    fn peers_have_the_keys_of_the_source_and_their_own_secrets() {
        let text = "  east:\n    milvus: {uri: 'https://b:2', token: own}\n    rocksmq: {path: /b}\n  west:\n    \
                    milvus: {uri: 'http://c'}\n    log: kafka\n    kafka: {address: 'k:9092'}\n";
        let config = with_peers(text).unwrap();
        let named: Vec<(&str, String)> =
            config.peers.iter().map(|(name, peer)| (name.as_str(), peer.endpoint.address.to_string())).collect();
        assert_eq!(named, [("east", "b:2".to_owned()), ("west", "c:19530".to_owned())]);
        let tokens: Vec<&str> = config.sites().map(|(_, site)| site.endpoint.token.expose()).collect();
        assert_eq!(tokens, ["of-the-source", "own", ""]);
        assert!(!format!("{config:?}").contains("own\""));
    }

    #[test]
    fn what_is_wrong_is_named_as_it_stands_in_the_file() {
        let wrong = |text: &str| with_peers(text).unwrap_err();
        let log = wrong("  east:\n    milvus: {uri: 'http://b'}\n    log: nope\n");
        assert!(log.contains(":5") && log.contains("`peers.east.log`: `nope` is not allowed"), "{log}");
        let kafka = wrong("  east: {milvus: {uri: 'http://b'}, kafka: {saslUsername: u}}\n");
        assert!(kafka.contains("without peers.east.kafka.address"), "{kafka}");
        let same = wrong("  east: {milvus: {uri: 'http://A:1/'}}\n");
        assert!(same.contains("`peers.east.milvus.uri`: A:1 is the Milvus of sourceConfig, too"), "{same}");
        let twice = wrong("  e: {milvus: {uri: 'http://b'}}\n  f: {milvus: {uri: 'http://b'}}\n");
        assert!(twice.contains("is the Milvus of peers.e, too"), "{twice}");
        assert!(wrong("  here: {milvus: {uri: 'http://b'}}\n").contains("not `here`"));
        assert!(wrong("  east: {log: scan}\n").contains("a peer needs milvus.uri"));
        assert!(wrong("  east: {milvus: {uri: 'http://b'}, maxTaskNum: 3}\n").contains("maxTaskNum"));
    }
}
