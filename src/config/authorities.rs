/*!
The certificate authorities that the system trusts.

A released program contains an OpenSSL of its own, which searches a folder that no system fills (/usr/local/ssl). So the
places where systems keep their authorities are listed here.
*/

use std::fs::File;
use std::path::{Path, PathBuf};

/// The PEM files in which systems keep all authorities.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The PEM file of all authorities that the system trusts. `None` if there is none, or if OpenSSL finds them by itself.
pub fn system_authorities() -> Option<PathBuf> {
    let named = |variable| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let file = named("SSL_CERT_FILE");
    // Every build finds a folder named by the environment, and no file must override it.
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
    fn the_first_file_that_exists() {
        let mine = || Some(PathBuf::from("/mine.pem"));
        assert_eq!(choose(mine(), |_| true), mine(), "the environment comes first");
        assert_eq!(choose(mine(), |path| path.starts_with("/etc")), Some(BUNDLES[0].into()));
        assert_eq!(choose(None, |path| path.starts_with("/etc/pki")), Some(BUNDLES[1].into()));
        assert_eq!(choose(None, |path| path.ends_with("cert.pem")), Some(BUNDLES[4].into()));
        assert_eq!(choose(None, |_| false), None);
    }
}
