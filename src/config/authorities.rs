/*!
The authorities that the system trusts.

A released program has an OpenSSL of its own, which looks for them where nobody has put any (/usr/local/ssl). So it is told where systems
keep them.
*/

use std::fs::File;
use std::path::{Path, PathBuf};

/// Where systems keep all of them in one PEM file.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The PEM file of all authorities that the system trusts. `None`: there is none, or OpenSSL finds them by itself.
pub fn system_authorities() -> Option<PathBuf> {
    let named = |variable| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let file = named("SSL_CERT_FILE");
    // A folder named by the environment is found in any build, and no file must take its place.
    if file.is_none() && named("SSL_CERT_DIR").is_some() {
        return None;
    }
    choose(file, |path| File::open(path).is_ok())
}

fn choose(named: Option<PathBuf>, can_be_read: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    named.into_iter().chain(BUNDLES.map(PathBuf::from)).find(|path| can_be_read(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_there() {
        let mine = || Some(PathBuf::from("/mine.pem"));
        assert_eq!(choose(mine(), |_| true), mine(), "what the environment names counts first");
        assert_eq!(choose(mine(), |path| path.starts_with("/etc")), Some(BUNDLES[0].into()));
        assert_eq!(choose(None, |path| path.starts_with("/etc/pki")), Some(BUNDLES[1].into()));
        assert_eq!(choose(None, |path| path.ends_with("cert.pem")), Some(BUNDLES[4].into()));
        assert_eq!(choose(None, |_| false), None);
    }
}
