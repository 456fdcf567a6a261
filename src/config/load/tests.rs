use super::super::{BrokerIdentity, KafkaConfig, SaslMechanism, SecurityProtocol};
use super::*;

fn load_with(text: &str, token: Option<&str>) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cdc.yaml");
    fs::write(&path, text).unwrap();
    let loaded = Config::load(Some(&path), |name| {
        assert!(
            [SOURCE_TOKEN_VARIABLE, API_TOKEN_VARIABLE, KAFKA_PASSWORD_VARIABLE, PULSAR_TOKEN_VARIABLE].contains(&name)
        );
        token.filter(|_| name == SOURCE_TOKEN_VARIABLE).map(str::to_owned)
    });
    loaded.map_err(|error| error.to_string().replace(&format!("{}/", folder.path().display()), ""))
}

fn load(text: &str) -> Result<Config, String> {
    load_with(text, None)
}

fn error(text: &str) -> String {
    let error = load(text).unwrap_err();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

#[test]
fn defaults_without_a_file_and_with_an_empty_one() {
    let defaults = Config::load(None, |_| None).unwrap();
    assert_eq!(defaults.address, "127.0.0.1:8444");
    assert_eq!(defaults.data_dir, Path::new("./milvus-cdc-data"));
    assert_eq!((defaults.max_task_num, defaults.max_name_length), (100, 256));
    assert_eq!((defaults.log_level, defaults.log_format), (LevelFilter::Info, LogFormat::Text));
    assert_eq!(defaults.source.endpoint.address.to_string(), "127.0.0.1:19530");
    assert_eq!(defaults.source.log, None);
    assert_eq!(defaults.source.channel_prefix, "by-dev");
    assert_eq!(defaults.source.replicate_channel, "by-dev-replicate-msg");
    assert!(defaults.source.endpoint.token.is_empty());
    assert_eq!(load("").unwrap(), defaults);
    assert_eq!(load("# nothing\n").unwrap(), defaults);
    assert_eq!(load("sourceConfig:\n").unwrap(), defaults);
}

#[test]
fn every_key() {
    let config = load(
        "address: 0.0.0.0:9000\napi: {token: t0ken, allowedHosts: [cdc.example]}\ndataDir: /var/lib/cdc\n\
         maxTaskNum: 7\nmaxNameLength: 30\nlogLevel: DEBUG\nlogFormat: json\n\
         sourceConfig:\n  milvus:\n    uri: https://m:1\n    username: root\n    password: 007\n    \
         connectTimeout: 9\n    \
         dialConfig:\n      serverName: n\n      caPemPath: a\n      clientPemPath: b\n      clientKeyPath: c\n  \
         log: rocksmq\n  rocksmq:\n    path: /m/rdb_data\n  channelPrefix: p\n  replicateChan: r\n",
    )
    .unwrap();
    assert_eq!((config.max_task_num, config.max_name_length, config.log_level), (7, 30, LevelFilter::Debug));
    assert_eq!(
        (config.api.token.expose(), config.api.allowed_hosts.as_slice()),
        ("t0ken", &["cdc.example".to_owned()][..])
    );
    assert_eq!(config.log_format, LogFormat::Json);
    let source = config.source;
    assert_eq!(source.endpoint.token.expose(), "root:007");
    assert_eq!(source.endpoint.connect_timeout, Duration::from_secs(9));
    assert!(matches!(source.endpoint.tls, Tls::Mutual { .. }));
    assert_eq!((source.log, source.rocksmq_path), (Some(LogKind::RocksMq), Some("/m/rdb_data".into())));
    assert_eq!((source.channel_prefix.as_str(), source.replicate_channel.as_str()), ("p", "r"));
}

#[test]
fn unknown_keys_name_their_place_and_a_suggestion() {
    let text = error("dataDir: x\nadress: y\n");
    assert!(text.starts_with("cdc.yaml:2: unknown key `adress`: did you mean `address`?"), "{text}");
    assert!(text.contains("maxTaskNum"), "{text}");
    let text = error("sourceConfig:\n  milvus:\n    urll: x\n");
    assert!(text.starts_with("cdc.yaml:3: unknown key `urll`: did you mean `uri`?"), "{text}");
    let text = error("metaStoreConfigs:\n  storeType: etcd\n");
    assert!(text.starts_with("cdc.yaml:1: unknown key `metaStoreConfigs` (allowed here: address,"), "{text}");
}

#[test]
fn wrong_values_name_the_key_and_what_is_allowed() {
    for (text, begins) in [
        ("maxTaskNum: lots", "cdc.yaml:1: `maxTaskNum`: `lots` is not allowed, only a whole number from 1 to 10000"),
        ("maxTaskNum: 0", "cdc.yaml:1: `maxTaskNum`: `0` is not allowed"),
        ("maxNameLength: -1", "cdc.yaml:1: `maxNameLength`: `-1` is not allowed"),
        ("\nlogLevel: inof", "cdc.yaml:2: `logLevel`: `inof` is not allowed, did you mean `info`?"),
        ("logFormat: xml", "cdc.yaml:1: `logFormat`: `xml` is not allowed (allowed: text, json)"),
        ("address: 8444", "cdc.yaml:1: `address`: `8444` is no `host:port`"),
        ("dataDir: ''", "cdc.yaml:1: `dataDir`: the value is empty"),
        ("sourceConfig:\n  log: nats", "cdc.yaml:2: `sourceConfig.log`: `nats` is not allowed (allowed: auto, rocksmq"),
        ("sourceConfig:\n  milvus:\n    uri: ftp://x", "cdc.yaml:3: `sourceConfig.milvus.uri`: the scheme must be"),
        ("sourceConfig:\n  milvus:\n    username: root", "cdc.yaml:3: `sourceConfig.milvus.username`: username and"),
        (
            "sourceConfig:\n  milvus:\n    dialConfig:\n      caPemPath: x",
            "cdc.yaml:4: `sourceConfig.milvus.dialConfig`: mutual",
        ),
        ("address: [a]", "cdc.yaml:1: `address`: a value of the wrong shape"),
        ("sourceConfig: 5", "cdc.yaml:1: `sourceConfig`: a value of the wrong shape"),
        ("address: a:1\naddress: b:1", "cdc.yaml:2: `address`: the key is given twice"),
    ] {
        let error = error(text);
        assert!(error.starts_with(begins), "{text:?} gave {error}");
    }
}

#[test]
fn a_file_that_is_no_yaml_or_not_there() {
    assert!(error("a: b: c\n\t- x").starts_with("cdc.yaml:"));
    let missing = Config::load(Some(Path::new("/nonexistent/cdc.yaml")), |_| None).unwrap_err();
    assert!(missing.to_string().starts_with("/nonexistent/cdc.yaml: cannot be read:"), "{missing}");
}

#[test]
fn where_the_token_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "from-file\n").unwrap();
    let text = format!("sourceConfig:\n  milvus:\n    token: inline\n    tokenFile: {}\n", file.display());
    let token = |env| load_with(&text, env).unwrap().source.endpoint.token;
    assert_eq!(token(Some("from-env")).expose(), "from-env");
    assert_eq!(token(None).expose(), "from-file");
    assert_eq!(token(Some("from-env\r\n")).expose(), "from-env");
    assert_eq!(token(Some("")).expose(), "from-file");
    assert_eq!(token(Some("\n")).expose(), "from-file");
    fs::write(&file, "\n").unwrap();
    assert!(load(&text).unwrap_err().contains("is empty"));
    assert_eq!(load("sourceConfig: {milvus: {token: inline}}").unwrap().source.endpoint.token.expose(), "inline");
}

#[test]
fn the_apis_token() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "from-file\n").unwrap();
    let path = folder.path().join("cdc.yaml");
    fs::write(&path, format!("api:\n  token: inline\n  tokenFile: {}\n", file.display())).unwrap();
    let token = |env: Option<&str>| {
        let variable = |name: &str| env.filter(|_| name == API_TOKEN_VARIABLE).map(str::to_owned);
        Config::load(Some(&path), variable).unwrap().api.token
    };
    assert_eq!(token(Some("from-env")).expose(), "from-env");
    assert_eq!(token(None).expose(), "from-file");
    assert_eq!(token(Some("from-env\n")).expose(), "from-env");
    let wrong = Config::load(Some(&path), |name| (name == API_TOKEN_VARIABLE).then(|| "s3 cret".to_owned()));
    let message = wrong.unwrap_err().to_string();
    assert_eq!(message, "MILVUS_CDC_API_TOKEN: only visible ASCII characters can be sent in a header");
    assert_eq!(load("api: {token: inline}").unwrap().api.token.expose(), "inline");
    let refused = error("api:\n  token: \"s3 cret\"");
    assert!(refused.starts_with("cdc.yaml:2: `api.token`: only visible ASCII characters"), "{refused}");
    assert!(!refused.contains("cret"));
}

#[test]
fn beyond_the_local_host_a_token_is_needed() {
    for local in ["127.0.0.1:1", "localhost:1", "'[::1]:1'", "127.9.9.9:1"] {
        assert!(!load(&format!("address: {local}")).unwrap().is_open_to_all());
    }
    for open in ["0.0.0.0:1", "10.0.0.1:1", "'[::]:1'", "cdc.example:1"] {
        let refused = error(&format!("address: {open}"));
        assert!(refused.starts_with("cdc.yaml:1: `address`: it is reached from other hosts"), "{refused}");
        assert!(!load(&format!("address: {open}\napi: {{token: t}}")).unwrap().is_open_to_all());
        assert!(load(&format!("address: {open}\napi: {{allowUnauthenticated: true}}")).unwrap().is_open_to_all());
        error(&format!("address: {open}\napi: {{allowUnauthenticated: false}}"));
    }
    assert!(error("api:\n  allowUnauthenticated: yes").contains("allowed: true, false"));
    assert!(error("api:\n  allowedHosts: [a, 'b:1']").starts_with("cdc.yaml:2: `api.allowedHosts`: `b:1` is no name"));
}

#[test]
fn secrets_stay_hidden() {
    let text = "sourceConfig:\n  milvus:\n    token: s3cret\n";
    assert!(!format!("{:?}", load(text).unwrap()).contains("s3cret"));
    assert!(!format!("{:?}", parse(Path::new("x"), text).unwrap()).contains("s3cret"));
    // Also when the line of the secret is the wrong one.
    assert!(!error("sourceConfig:\n  milvus:\n    token: [s3cret]\n").contains("s3cret"));
    assert!(!error("sourceConfig:\n  milvus:\n    token: s3cret\n    token: s3cret\n").contains("s3cret"));
}

#[test]
fn the_examples_are_read() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files = fs::read_dir(examples).unwrap().map(|entry| entry.unwrap().path());
    // The one for Compose holds a configuration, and is checked by `scripts/test examples`.
    let is_ours = |path: &PathBuf| path.extension().is_some_and(|ext| ext == "yaml") && !path.ends_with("compose.yaml");
    let configs: Vec<PathBuf> = files.filter(is_ours).collect();
    assert!(!configs.is_empty());
    for path in configs {
        Config::load(Some(&path), |_| None).unwrap();
    }
    let text = include_str!("../../../examples/rocksmq.yaml");
    let defaults = Config::load(None, |_| None).unwrap();
    let mut example = load(text).unwrap();
    // What the example's comments call no default.
    assert_eq!(example.source.rocksmq_path.take(), Some("/var/lib/milvus/rdb_data".into()));
    example.source.log = None;
    assert_eq!(example, defaults);
}

/// The file that the Go server ships with, as far as its keys matter.
const GO_FILE: &str = "\
address: 127.0.0.1:8445
maxTaskNum: 7
metaStoreConfig:
  storeType: etcd
  etcd:
    address:
      - http://127.0.0.1:2379
    rootPath: cdc
  mysqlSourceUrl: root:root@tcp(127.0.0.1:3306)/milvuscdc?charset=utf8
  rootPath: cdc-by-dev
sourceConfig:
  etcd:
    address:
      - http://127.0.0.1:2379
    rootPath: by-dev
    metaSubPath: meta
  readChanLen: 4
  defaultPartitionName: _default
  replicateChan: mine-replicate-msg
  pulsar:
    address: pulsar://localhost:6650
    webPort: 80
batchMode: true
detectDeadLock: false
maxNameLength: 200
logLevel: warn
";

#[test]
fn a_go_servers_file_is_read() {
    let config = load(GO_FILE).unwrap();
    assert_eq!((config.address.as_str(), config.max_task_num, config.max_name_length), ("127.0.0.1:8445", 7, 200));
    assert_eq!((config.log_level, config.source.replicate_channel.as_str()), (LevelFilter::Warn, "mine-replicate-msg"));
    let mut left: Vec<(&str, u64)> = config.leftovers.iter().map(|left| (left.key, left.line)).collect();
    left.sort_by_key(|(_, line)| *line);
    let expected = [
        ("metaStoreConfig", 3),
        ("etcd", 12),
        ("readChanLen", 17),
        ("defaultPartitionName", 18),
        ("webPort", 22),
        ("batchMode", 23),
        ("detectDeadLock", 24),
    ];
    assert_eq!(left, expected);
    let commented = load(&GO_FILE.replace("storeType: etcd", "storeType: etcd\n#  storeType: mysql")).unwrap();
    assert_eq!(commented.leftovers.len(), config.leftovers.len());
    let pulsar = config.source.pulsar.unwrap();
    assert_eq!(
        (pulsar.service.to_string().as_str(), pulsar.namespace.as_str()),
        ("pulsar://localhost:6650", "default")
    );
}

#[test]
fn what_neither_server_has_is_still_refused_in_its_own_line() {
    let error = load(&GO_FILE.replace("logLevel", "logLevvel")).unwrap_err().to_string();
    assert!(error.contains(":26: unknown key `logLevvel`: did you mean `logLevel`?"), "{error}");
    let error = load("sourceConfig: {etcd: {address: x}}\n").unwrap_err().to_string();
    assert!(error.contains("unknown key `etcd`"), "{error}");
}

#[test]
fn a_go_servers_kafka_is_taken_over() {
    let text = "sourceConfig:\n  kafka:\n    address: b:9092\n    producer:\n      client.id: dc1\n    \
                consumer:\n      client.id: dc1\n    \
                saslUsername: u\n    saslPassword: p\n    saslMechanisms: PLAIN\n    securityProtocol: SASL_SSL\n";
    let config = load(text).unwrap();
    let left: Vec<&str> = config.leftovers.iter().map(|left| left.key).collect();
    assert_eq!(left, ["producer", "consumer"]);
    let kafka = config.source.kafka.unwrap();
    assert_eq!((kafka.address.as_str(), kafka.protocol()), ("b:9092", SecurityProtocol::SaslSsl));
}

fn kafka(text: &str) -> KafkaConfig {
    load(&format!("sourceConfig:\n  kafka:\n    address: a:1\n{text}")).unwrap().source.kafka.unwrap()
}

#[test]
fn kafka_in_all_ways() {
    let plain = kafka("");
    assert_eq!((plain.address.as_str(), plain.protocol()), ("a:1", SecurityProtocol::Plaintext));
    let sasl = kafka("    saslUsername: u\n    saslPassword: s3cret\n");
    assert_eq!(sasl.protocol(), SecurityProtocol::SaslSsl, "as Milvus has it");
    let login = sasl.login.as_ref().unwrap();
    assert_eq!(
        (login.mechanism, login.username.as_str(), login.password.expose()),
        (SaslMechanism::Plain, "u", "s3cret")
    );
    assert!(!format!("{sasl:?}").contains("s3cret"));
    let open = "    saslUsername: u\n    saslPassword: p\n    saslMechanisms: SCRAM-SHA-512\n    \
                securityProtocol: SASL_PLAINTEXT\n";
    assert_eq!(kafka(open).protocol(), SecurityProtocol::SaslPlaintext);
    let tls = kafka("    tls: {caPemPath: ca, clientPemPath: c, clientKeyPath: k, clientKeyPassword: s3cret}\n");
    assert_eq!(tls.protocol(), SecurityProtocol::Ssl);
    let identity = BrokerIdentity { certificate: "c".into(), key: "k".into() };
    assert_eq!(tls.tls.as_ref().unwrap().identity, Some(identity));
    let settings = tls.client_settings();
    let value = |key: &str| settings.iter().find(|(name, _)| name == key).map(|(_, value)| value.expose());
    assert_eq!((value("ssl.ca.location"), value("ssl.key.password")), (Some("ca"), Some("s3cret")));
    let more = kafka("    properties: {client.rack: r, socket.timeout.ms: 7000}\n");
    assert_eq!(more.properties["socket.timeout.ms"].expose(), "7000");
    let several = load("sourceConfig: {kafka: {address: 'a:1, b:2'}}").unwrap().source.kafka.unwrap();
    assert_eq!(several.address, "a:1,b:2");
}

#[test]
fn what_kafka_does_not_take() {
    let login = "saslUsername: u, saslPassword: s3cret";
    for (text, says) in [
        ("address: a", "cdc.yaml:2: `sourceConfig.kafka.address`: brokers look like host:9092"),
        ("address: 'u:s3cret@a:1'", "cdc.yaml:2: `sourceConfig.kafka.address`: brokers look like"),
        ("address: 'kafka://a:1'", "cdc.yaml:2: `sourceConfig.kafka.address`: brokers look like"),
        (
            "saslUsername: u",
            "cdc.yaml:2: `sourceConfig.kafka.saslUsername`: it has no effect without sourceConfig.kafka.address",
        ),
        ("tls: {clientKeyPassword: s3cret}", "cdc.yaml:2: `sourceConfig.kafka.tls`: it has no effect without"),
        ("properties: {a: s3cret}", "cdc.yaml:2: `sourceConfig.kafka.properties`: it has no effect without"),
        (
            "address: a:1, saslUsername: u",
            "cdc.yaml:2: `sourceConfig.kafka.saslUsername`: saslUsername and saslPassword go",
        ),
        ("address: a:1, saslPassword: s3cret", "cdc.yaml:2: `sourceConfig.kafka.saslPassword`: saslUsername and"),
        ("address: a:1, saslMechanisms: PLAIN", "cdc.yaml:2: `sourceConfig.kafka.saslMechanisms`: it has no effect"),
        (
            &format!("address: a:1, {login}, saslMechanisms: PLAN"),
            "cdc.yaml:2: `sourceConfig.kafka.saslMechanisms`: `PLAN`",
        ),
        (
            &format!("address: a:1, {login}, securityProtocol: SSL"),
            "cdc.yaml:2: `sourceConfig.kafka.securityProtocol`: SSL has",
        ),
        (
            "address: a:1, securityProtocol: SASL_SSL",
            "cdc.yaml:2: `sourceConfig.kafka.securityProtocol`: SASL_SSL needs",
        ),
        (
            "address: a:1, securityProtocol: PLAINTEXT, tls: {caPemPath: x}",
            "cdc.yaml:2: `sourceConfig.kafka.securityProtocol`",
        ),
        ("address: a:1, tls: {clientPemPath: x}", "cdc.yaml:2: `sourceConfig.kafka.tls`: clientPemPath and"),
        (
            "address: a:1, properties: {no.such: s3cret}",
            "cdc.yaml:2: `sourceConfig.kafka.properties.no.such`: librdkafka has no",
        ),
        (
            "address: a:1, properties: {socket.timeout.ms: s3cret}",
            "cdc.yaml:2: `sourceConfig.kafka.properties.socket.timeout.ms`: l",
        ),
        (
            "address: a:1, properties: {sasl.password: s3cret}",
            "cdc.yaml:2: `sourceConfig.kafka.properties.sasl.password`: set source",
        ),
        (
            "address: a:1, properties: {auto.offset.reset: earliest}",
            "cdc.yaml:2: `sourceConfig.kafka.properties.auto.offset.reset`",
        ),
    ] {
        let message = error(&format!("sourceConfig:\n  kafka: {{{text}}}"));
        assert!(message.starts_with(says), "{text} gave {message}");
        assert!(!message.contains("s3cret"), "{message}");
    }
}

#[test]
fn where_kafkas_password_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, "from-file\n").unwrap();
    let path = folder.path().join("cdc.yaml");
    let kafka =
        format!("{{address: 'a:1', saslUsername: u, saslPassword: inline, saslPasswordFile: {}}}", file.display());
    fs::write(&path, format!("sourceConfig: {{kafka: {kafka}}}")).unwrap();
    let password = |env: Option<&str>| {
        let variable = |name: &str| env.filter(|_| name == KAFKA_PASSWORD_VARIABLE).map(str::to_owned);
        Config::load(Some(&path), variable).unwrap().source.kafka.unwrap().login.unwrap().password
    };
    assert_eq!(password(Some("from-env")).expose(), "from-env");
    assert_eq!(password(None).expose(), "from-file");
}
