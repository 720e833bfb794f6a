//! One job: its files in a private folder, one run of the official program (two for Helm), the folder gone.
//!
//! Enters: a [`RenderJob`] and where the programs are. Leaves: what was printed. A program gets an empty environment, a
//! home of its own, no terminal and a deadline; it prints no more than a limit.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::{OUTPUT_BYTES_MAX, chart};
use crate::model::{HelmJob, RenderJob, RenderOutput, Tool};
use crate::world::RenderFault;

/// What one run may take. The slowest charts in use take two seconds.
const RUN_DEADLINE: Duration = Duration::from_secs(45);
/// What is read of what a program complains about.
const COMPLAINT_BYTES_MAX: usize = 64 << 10;
/// What is passed on of it: the end, where programs say what stopped them.
const COMPLAINT_SHOWN: usize = 1500;

/// Where the official programs are, and what they need to fetch charts.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `kustomize`.
    pub kustomize: PathBuf,
    /// `helm`.
    pub helm: PathBuf,
    /// Folder for private folders and fetched charts.
    pub work: PathBuf,
    /// Docker's `config.json` with the logins of chart registries.
    pub registry_config: Option<PathBuf>,
    /// Folder with a folder for each host of a chart repository, which holds the files `username` and `password`.
    pub repository_credentials: Option<PathBuf>,
    /// PEM bundle to trust when charts are fetched.
    pub ca_file: Option<PathBuf>,
    /// Registries that are spoken to without TLS, as `host:port`.
    pub plain_http: Vec<String>,
    /// Variables for fetching charts alone, such as those that name proxies.
    pub environment: BTreeMap<String, String>,
}

/// Renders.
///
/// # Errors
/// When the program is missing, refuses, or takes too long.
pub async fn run(programs: &Programs, job: &RenderJob) -> Result<RenderOutput, RenderFault> {
    let place = Place::new(programs, job)?;
    match (&job.tool, &job.helm) {
        (Tool::Kustomize, _) => {
            let folder = place.tree().join(&job.path);
            let text = place.run(&programs.kustomize, &[OsString::from("build"), folder.into()]).await?;
            Ok(RenderOutput { text, second: None })
        }
        (Tool::Helm, Some(helm)) => {
            let arguments = template(programs, &place, job, helm).await?;
            let text = place.run(&programs.helm, &arguments).await?;
            // A chart that draws random values, or reads the clock, shows itself by giving something else.
            let second = place.run(&programs.helm, &arguments).await?;
            Ok(RenderOutput { second: (second != text).then_some(second), text })
        }
        (Tool::Helm, None) | (Tool::Plain, _) => Err(RenderFault::Refused("there is nothing to run for it".to_owned())),
    }
}

/// The arguments of `helm template`.
async fn template(
    programs: &Programs,
    place: &Place,
    job: &RenderJob,
    helm: &HelmJob,
) -> Result<Vec<OsString>, RenderFault> {
    let source = &helm.source;
    let chart = match &source.chart {
        Some(chart) => chart::fetch(programs, place, chart).await?,
        None => place.tree().join(&job.path),
    };
    let mut arguments: Vec<OsString> = vec!["template".into(), helm.release_name.clone().into(), chart.into()];
    let mut add = |flag: &str, value: OsString| arguments.extend([flag.into(), value]);
    add("--namespace", helm.namespace.clone().into());
    if let Some(version) = &helm.kube_version {
        add("--kube-version", version.into());
    }
    if !helm.api_versions.is_empty() {
        add("--api-versions", helm.api_versions.join(",").into());
    }
    for file in &source.values_files {
        add("--values", place.tree().join(file).into());
    }
    if let Some(values) = &source.values {
        let file = place.folder.path().join("values.json");
        std::fs::write(&file, values).map_err(|error| broken(&error))?;
        add("--values", file.into());
    }
    for parameter in &source.parameters {
        let (name, value) = (&parameter.name, &parameter.value);
        match (parameter.is_text, value.starts_with('{')) {
            (true, _) => add("--set-literal", format!("{name}={value}").into()),
            // A list, as `--set` writes it.
            (false, true) => add("--set", format!("{name}={value}").into()),
            (false, false) => {
                let escaped = value.replace('\\', "\\\\").replace(',', "\\,");
                add("--set", format!("{name}={escaped}").into());
            }
        }
    }
    // Tests are for people who ask for them.
    arguments.push("--skip-tests".into());
    arguments.push(if source.skips_crds { "--skip-crds".into() } else { "--include-crds".into() });
    Ok(arguments)
}

/// A private folder for one job.
pub(super) struct Place {
    folder: TempDir,
}

impl Place {
    fn new(programs: &Programs, job: &RenderJob) -> Result<Self, RenderFault> {
        std::fs::create_dir_all(&programs.work).map_err(|error| broken(&error))?;
        // Only its owner may enter it.
        let folder = tempfile::Builder::new().prefix("job-").tempdir_in(&programs.work);
        let place = Self { folder: folder.map_err(|error| broken(&error))? };
        std::fs::create_dir(place.home()).map_err(|error| broken(&error))?;
        for (path, bytes) in &job.files {
            let path = place.tree().join(plain(path).and_then(named)?);
            let parent = path.parent().unwrap_or(place.folder.path());
            std::fs::create_dir_all(parent)
                .and_then(|()| std::fs::write(&path, bytes))
                .map_err(|error| broken(&error))?;
        }
        let source = job.helm.iter().flat_map(|helm| &helm.source.values_files);
        source.chain([&job.path]).try_for_each(|path| plain(path).map(drop))?;
        Ok(place)
    }

    /// Where the files are, as in the repository.
    pub(super) fn tree(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    /// The home of programs.
    pub(super) fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// Runs a program with an empty environment.
    async fn run(&self, program: &Path, arguments: &[OsString]) -> Result<Vec<u8>, RenderFault> {
        self.run_in(program, arguments, &BTreeMap::new()).await
    }

    /// Runs a program and returns what it prints.
    pub(super) async fn run_in(
        &self,
        program: &Path,
        arguments: &[OsString],
        environment: &BTreeMap<String, String>,
    ) -> Result<Vec<u8>, RenderFault> {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let spawned = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(environment)
            .env("HOME", self.home())
            .env("TMPDIR", self.home())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = spawned.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => RenderFault::Unavailable(format!(
                "the renderer has no program {}: install it there, or name it in --{name}",
                program.display()
            )),
            _ => RenderFault::Unavailable(format!("the renderer cannot run {name}: {error}")),
        })?;
        let (out, complaint) = (child.stdout.take(), child.stderr.take());
        let all = async {
            let (out, complaint) =
                futures::future::join(read(out, OUTPUT_BYTES_MAX), read(complaint, COMPLAINT_BYTES_MAX)).await;
            // What goes on printing past its limit is not waited for.
            if out.len() > OUTPUT_BYTES_MAX || complaint.len() > COMPLAINT_BYTES_MAX {
                drop(child.start_kill());
            }
            (child.wait().await, out, complaint)
        };
        let Ok((status, out, complaint)) = tokio::time::timeout(RUN_DEADLINE, all).await else {
            return Err(RenderFault::Refused(format!("{name} did not end within {} s", RUN_DEADLINE.as_secs())));
        };
        let status = status.map_err(|error| broken(&error))?;
        if out.len() > OUTPUT_BYTES_MAX {
            return Err(RenderFault::Refused(format!("{name} prints more than {OUTPUT_BYTES_MAX} bytes")));
        }
        if status.success() { Ok(out) } else { Err(RenderFault::Refused(self.complaint(&name, &complaint))) }
    }

    /// What a program says of itself, without the folder that it ran in.
    fn complaint(&self, name: &str, complaint: &[u8]) -> String {
        let text = String::from_utf8_lossy(complaint);
        let folder = self.folder.path().display().to_string();
        let text = text.replace(&format!("{folder}/tree/"), "").replace(&folder, ".");
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let text: String = lines.join("; ").chars().filter(|character| !character.is_control()).collect();
        let skipped = text.chars().count().saturating_sub(COMPLAINT_SHOWN);
        let end: String = text.chars().skip(skipped).collect();
        if end.is_empty() { format!("{name} ended without a word") } else { end }
    }
}

/// A path that stays below the folder that it is joined to.
fn plain(path: &str) -> Result<&Path, RenderFault> {
    let is_plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if is_plain && !path.contains('\0') {
        Ok(Path::new(path))
    } else {
        Err(RenderFault::Refused(format!("`{}` is no path inside the repository", path.escape_debug())))
    }
}

/// A path that names something in its folder.
fn named(path: &Path) -> Result<&Path, RenderFault> {
    if path.as_os_str().is_empty() {
        Err(RenderFault::Refused("`` is no path inside the repository".to_owned()))
    } else {
        Ok(path)
    }
}

/// Reads to the end, or one byte past a limit.
async fn read(from: Option<impl AsyncRead + Unpin>, bytes_max: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        // What was read before an error is all that there is.
        drop(from.take(bytes_max as u64 + 1).read_to_end(&mut bytes).await);
    }
    bytes
}

pub(super) fn broken(error: &std::io::Error) -> RenderFault {
    RenderFault::Unavailable(format!("the renderer's folder cannot be used: {error}"))
}
