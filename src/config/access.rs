//! How Git servers are reached: names of files, never their contents.

use std::path::PathBuf;

/// How to reach a repository. The files are read again at every poll.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitAccess {
    /// Folder with `username` and `password`, or `token` (sent as a bearer token); for SSH `ssh-privatekey` or `identity`,
    /// `known_hosts`, and the passphrase in `password`.
    pub credentials: Option<PathBuf>,
    /// PEM bundle of the authorities to trust; the system's are not read when it is given.
    pub ca_file: Option<PathBuf>,
    /// Keys of SSH hosts, instead of `known_hosts` in the credentials folder.
    pub known_hosts: Option<PathBuf>,
}
