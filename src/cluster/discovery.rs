//! Discovers kinds that are not built in.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::client::Client;
use super::error::ApiError;
use super::kind::Kind;

#[derive(Deserialize)]
struct Groups {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    name: String,
    preferred_version: Version,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct Resources {
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    name: String,
    #[serde(default)]
    singular_name: String,
    kind: String,
    namespaced: bool,
    #[serde(default)]
    short_names: Vec<String>,
}

/// Returns the kind with this name: kind, plural, singular or abbreviation, with or without `.group`. `None` if the API has
/// no such kind.
pub(super) async fn discover(client: &mut Client, name: &str) -> Result<Option<Kind>, ApiError> {
    let name = name.to_ascii_lowercase();
    let (short, group) = name.split_once('.').map_or((name.as_str(), None), |(a, b)| (a, Some(b)));
    if group.is_none()
        && let Some(found) = find(client, "/api/v1", "", "v1", short).await?
    {
        return Ok(Some(found));
    }
    let groups: Groups = read(client, "/apis").await?;
    for Group { name, preferred_version: Version { version } } in groups.groups {
        if group.is_some_and(|group| group != name) {
            continue;
        }
        match find(client, &format!("/apis/{name}/{version}"), &name, &version, short).await {
            Ok(Some(found)) => return Ok(Some(found)),
            // Other groups may have the kind even if the server of this group is down.
            Err(error) if group.is_some() || matches!(error, ApiError::Unreachable { .. }) => {
                return Err(error);
            }
            Ok(None) | Err(_) => {}
        }
    }
    Ok(None)
}

async fn find(
    client: &mut Client,
    path: &str,
    group: &str,
    version: &str,
    name: &str,
) -> Result<Option<Kind>, ApiError> {
    let resources: Resources = read(client, path).await?;
    let found = resources.resources.into_iter().find(|resource| {
        // A slash marks a subresource.
        !resource.name.contains('/')
            && (resource.name == name
                || resource.singular_name == name
                || resource.kind.eq_ignore_ascii_case(name)
                || resource.short_names.iter().any(|short| short == name))
    });
    Ok(found.map(|resource| Kind::new(group, version, &resource.name, resource.namespaced)))
}

async fn read<T: DeserializeOwned>(client: &mut Client, path: &str) -> Result<T, ApiError> {
    let body = client.get(path).await?;
    serde_json::from_slice(&body).map_err(|error| client.invalid(&format!("{path}: {error}")))
}
