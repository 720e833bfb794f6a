//! Charts from chart repositories and OCI registries, pinned by the hash of their package. The only thing that a renderer
//! ever fetches.
//!
//! Enters: a [`RemoteChart`]. Leaves: the file of its package, whose hash is the declared one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::tool::{Place, Programs, broken};
use crate::model::RemoteChart;
use crate::world::RenderFault;

/// Larger packages are refused, as Helm itself does after unpacking.
const PACKAGE_BYTES_MAX: u64 = 50 << 20;
/// Packages kept.
const PACKAGES_MAX: usize = 500;

/// Finds the package of a chart, fetching it when it is not kept yet.
pub(super) async fn fetch(programs: &Programs, place: &Place, chart: &RemoteChart) -> Result<PathBuf, RenderFault> {
    let folder = programs.work.join("charts");
    let kept = |digest: &str| folder.join(format!("{}.tgz", digest.replace(':', "-")));
    if let Some(digest) = &chart.digest {
        let path = kept(digest);
        // Checked each time: whoever could write there could render what they like.
        if hash(&path).is_ok_and(|found| found == *digest) {
            return Ok(path);
        }
    }
    let fetched = place.home().join("fetched");
    std::fs::create_dir_all(&fetched).map_err(|error| broken(&error))?;
    place.run_in(&programs.helm, &pull(programs, chart, &fetched), &programs.environment).await?;
    let package = std::fs::read_dir(&fetched)
        .map_err(|error| broken(&error))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "tgz"))
        .ok_or_else(|| RenderFault::Refused(format!("{} {} came without a package", chart.name, chart.version)))?;
    let found = hash(&package).map_err(|error| broken(&error))?;
    let RemoteChart { name, version, .. } = chart;
    match &chart.digest {
        None => Err(RenderFault::Refused(format!(
            "chart {name} {version} is not pinned: write `digest: {found}` into spec.source.helm.chart once you trust that package"
        ))),
        Some(digest) if *digest != found => Err(RenderFault::Refused(format!(
            "chart {name} {version} has digest {found}, and {digest} is declared: somebody published it anew, or the declaration is wrong"
        ))),
        Some(digest) => {
            std::fs::create_dir_all(&folder).map_err(|error| broken(&error))?;
            make_room(&folder);
            let path = kept(digest);
            std::fs::rename(&package, &path).map_err(|error| broken(&error))?;
            Ok(path)
        }
    }
}

/// The arguments of `helm pull`.
fn pull(programs: &Programs, chart: &RemoteChart, folder: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["pull".into()];
    let host = host(&chart.repository);
    if chart.repository.starts_with("oci://") {
        arguments.push(format!("{}/{}", chart.repository, chart.name).into());
        if programs.plain_http.iter().any(|plain| plain == host) {
            arguments.push("--plain-http".into());
        }
        if let Some(config) = &programs.registry_config {
            arguments.extend(["--registry-config".into(), config.into()]);
        }
    } else {
        arguments.extend([chart.name.clone().into(), "--repo".into(), chart.repository.clone().into()]);
        // For this host alone: Helm passes them to no other without being told to.
        let folder = programs.repository_credentials.as_ref().map(|folder| folder.join(host));
        for name in ["username", "password"] {
            if let Some(text) = folder.as_ref().and_then(|folder| std::fs::read_to_string(folder.join(name)).ok()) {
                arguments.extend([format!("--{name}").into(), text.trim_end_matches(['\r', '\n']).into()]);
            }
        }
    }
    if let Some(file) = &programs.ca_file {
        arguments.extend(["--ca-file".into(), file.into()]);
    }
    arguments.extend(["--version".into(), chart.version.clone().into(), "--destination".into(), folder.into()]);
    arguments
}

/// `host:port` of a URL.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// The hash of a package, as registries and indexes write it.
fn hash(path: &Path) -> std::io::Result<String> {
    let bytes = std::fs::metadata(path)?.len();
    if bytes > PACKAGE_BYTES_MAX {
        return Err(std::io::Error::other(format!("the package has {bytes} bytes, more than {PACKAGE_BYTES_MAX}")));
    }
    let hash = Sha256::digest(std::fs::read(path)?);
    Ok(format!("sha256:{}", hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}

/// Removes all packages when there are too many: those in use come back.
fn make_room(folder: &Path) {
    let packages: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    if packages.len() >= PACKAGES_MAX {
        packages.iter().for_each(|package| drop(std::fs::remove_file(package)));
    }
}
