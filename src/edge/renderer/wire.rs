//! Question and answer as bytes: JSON over HTTP on a socket between two processes of one program.
//!
//! Enters: a [`RenderJob`]. Leaves: its bytes, the same for the same job, hence its key; and back.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::model::{Digest, HelmJob, HelmSource, Parameter, RemoteChart, RenderJob, RenderOutput, Tool};

/// Where questions go.
pub(super) const PATH: &str = "/v1/render";

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Question {
    tool: String,
    path: String,
    /// Contents by path, in base64.
    files: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    helm: Option<Helm>,
    /// Whether some of the files were encrypted in Git.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_secret: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Helm {
    release_name: String,
    namespace: String,
    values_files: Vec<String>,
    values: Option<String>,
    /// Name, value, and whether it is text.
    parameters: Vec<(String, String, bool)>,
    chart: Option<Chart>,
    skips_crds: bool,
    kube_version: Option<String>,
    api_versions: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Chart {
    repository: String,
    name: String,
    version: String,
    digest: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    second: Option<String>,
}

/// A job as bytes.
pub(super) fn question(job: &RenderJob) -> Bytes {
    let files = job.files.iter().map(|(path, bytes)| (path.clone(), BASE64_STANDARD.encode(bytes))).collect();
    let helm = job.helm.as_ref().map(|helm| Helm {
        release_name: helm.release_name.clone(),
        namespace: helm.namespace.clone(),
        values_files: helm.source.values_files.clone(),
        values: helm.source.values.clone(),
        parameters: helm.source.parameters.iter().map(|it| (it.name.clone(), it.value.clone(), it.is_text)).collect(),
        chart: helm.source.chart.as_ref().map(|chart| Chart {
            repository: chart.repository.clone(),
            name: chart.name.clone(),
            version: chart.version.clone(),
            digest: chart.digest.clone(),
        }),
        skips_crds: helm.source.skips_crds,
        kube_version: helm.kube_version.clone(),
        api_versions: helm.api_versions.clone(),
    });
    let question =
        Question { tool: job.tool.name().to_owned(), path: job.path.clone(), files, helm, is_secret: job.is_secret };
    serde_json::to_vec(&question).expect("texts and lists of them are JSON").into()
}

/// What a question is known by: everything that its answer depends on is in it.
pub(super) fn key(question: &[u8]) -> Digest {
    Digest(Sha256::digest(question).into())
}

/// Reads a question; the error says what is wrong with it.
pub(super) fn job(bytes: &[u8]) -> Result<RenderJob, String> {
    let question: Question = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let tool = [Tool::Kustomize, Tool::Helm].into_iter().find(|tool| tool.name() == question.tool);
    let tool = tool.ok_or("the tool is unknown to this renderer")?;
    let files = question.files.into_iter().map(|(path, text)| {
        let bytes = BASE64_STANDARD.decode(text).map_err(|_| format!("{path} is not in base64"))?;
        Ok((path, bytes))
    });
    let helm = question.helm.map(|helm| HelmJob {
        release_name: helm.release_name,
        namespace: helm.namespace,
        source: HelmSource {
            release_name: None,
            values_files: helm.values_files,
            values: helm.values,
            parameters: helm
                .parameters
                .into_iter()
                .map(|(name, value, is_text)| Parameter { name, value, is_text })
                .collect(),
            chart: helm.chart.map(|chart| RemoteChart {
                repository: chart.repository,
                name: chart.name,
                version: chart.version,
                digest: chart.digest,
            }),
            skips_crds: helm.skips_crds,
            // The agent's own business.
            keeps_random: false,
        },
        kube_version: helm.kube_version,
        api_versions: helm.api_versions,
    });
    let (path, is_secret) = (question.path, question.is_secret);
    Ok(RenderJob { tool, path, files: files.collect::<Result<_, String>>()?, helm, is_secret })
}

/// An answer as bytes.
pub(super) fn answer(output: &RenderOutput) -> Result<Bytes, String> {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| "what it printed is not UTF-8");
    let second = output.second.as_deref().map(text).transpose()?;
    let answer = Answer { text: text(&output.text)?, second };
    Ok(serde_json::to_vec(&answer).expect("texts are JSON").into())
}

/// Reads an answer.
pub(super) fn output(bytes: &[u8]) -> Result<RenderOutput, serde_json::Error> {
    let answer: Answer = serde_json::from_slice(bytes)?;
    Ok(RenderOutput { text: answer.text.into_bytes(), second: answer.second.map(String::into_bytes) })
}
