//! Where the repository is and what cargo says about it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::program;

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// One package of the workspace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Package {
    /// What its manifest asks for, by real name (not by the name it is renamed to).
    pub(crate) dependencies: Vec<Dependency>,
    /// Whether there is anything to switch on or off.
    pub(crate) has_features: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// For what a dependency is needed. Ordered from the strongest to the weakest need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Normal,
    Optional,
    Build,
    Tests,
}

/// Reads the packages of the workspace by name from `cargo metadata`.
///
/// # Errors
/// When cargo fails, for example because a manifest is broken, or answers what is not understood.
pub(crate) fn packages(root: &Path) -> io::Result<BTreeMap<String, Package>> {
    let arguments = ["metadata", "--format-version", "1", "--no-deps"];
    parse(&program::cargo_stdout(root, &arguments)?)
}

/// Where cargo puts what it builds.
///
/// # Errors
/// As [`packages`].
pub(crate) fn target_directory(root: &Path) -> io::Result<PathBuf> {
    let arguments = ["metadata", "--format-version", "1", "--no-deps"];
    let metadata: Value = serde_json::from_slice(&program::cargo_stdout(root, &arguments)?)?;
    text(&metadata, "target_directory").map(PathBuf::from)
}

fn parse(metadata: &[u8]) -> io::Result<BTreeMap<String, Package>> {
    let metadata: Value = serde_json::from_slice(metadata)?;
    let mut packages = BTreeMap::new();
    for package in list(&metadata, "packages")? {
        let dependencies = list(package, "dependencies")?
            .iter()
            .map(|dependency| Ok(Dependency { name: text(dependency, "name")?, kind: kind(dependency) }))
            .collect::<io::Result<_>>()?;
        let features = package["features"].as_object();
        packages.insert(
            text(package, "name")?,
            Package {
                dependencies,
                has_features: features.is_some_and(|features| features.keys().any(|name| name != "default")),
            },
        );
    }
    Ok(packages)
}

fn kind(dependency: &Value) -> Kind {
    match dependency["kind"].as_str() {
        Some("dev") => Kind::Tests,
        Some("build") => Kind::Build,
        _ if dependency["optional"] == true => Kind::Optional,
        _ => Kind::Normal,
    }
}

fn list<'a>(value: &'a Value, key: &str) -> io::Result<&'a Vec<Value>> {
    value[key].as_array().ok_or_else(|| strange(key))
}

fn text(value: &Value, key: &str) -> io::Result<String> {
    let text = value[key].as_str().ok_or_else(|| strange(key))?;
    Ok(text.to_owned())
}

fn strange(key: &str) -> io::Error {
    io::Error::other(format!("cargo metadata without a usable `{key}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_dependency_is_told_apart() {
        let metadata = br#"{"packages": [{
            "name": "a",
            "features": {"default": [], "x": []},
            "dependencies": [
                {"name": "n", "kind": null, "optional": false},
                {"name": "o", "kind": null, "optional": true},
                {"name": "b", "kind": "build", "optional": false},
                {"name": "t", "kind": "dev", "optional": false}
            ]
        }]}"#;
        let packages = parse(metadata).expect("well-formed");
        let kinds: Vec<Kind> = packages["a"].dependencies.iter().map(|d| d.kind).collect();
        assert_eq!(kinds, [Kind::Normal, Kind::Optional, Kind::Build, Kind::Tests]);
        assert!(packages["a"].has_features);
    }

    #[test]
    fn metadata_without_packages_is_an_error() {
        assert!(parse(b"{}").is_err());
    }
}
