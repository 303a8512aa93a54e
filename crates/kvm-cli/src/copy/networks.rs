//! `--network-config`: a file that says what the target calls the VM's networks and bridges.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kvm_clone::UplinkMap;
use kvm_core::{Error, ErrorKind, NetworkName, Resource, Result};
use serde::Deserialize;

use crate::text;

/// The file: YAML, and so JSON as well.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Names at the source, and what is meant there.
    networks: BTreeMap<String, String>,
}

/// Reads the file; none means that all names are the same. `InvalidInput` naming the file, and the name in it that is none.
pub(super) async fn read(path: Option<&PathBuf>) -> Result<Vec<UplinkMap>> {
    match path {
        None => Ok(Vec::new()),
        Some(path) => parse(&text::read_user_file(path).await?, path),
    }
}

fn parse(text: &str, path: &Path) -> Result<Vec<UplinkMap>> {
    let shown = path.display().to_string();
    let refuse = |why: String| {
        Error::new(ErrorKind::InvalidInput, format!("{shown}: {why}"))
            .on(Resource::File(shown.clone()))
            .with_detail("it says what the target calls each network, such as\nnetworks: {lan: default, br0: br1}")
    };
    // First into a tree, whose errors are those of the syntax alone; then the keys, whose errors name them.
    let tree: serde_json::Value =
        serde_saphyr::from_str(text).map_err(|e| refuse("is not valid YAML or JSON".to_owned()).with_source(e))?;
    let file: File = serde_json::from_value(tree).map_err(|e| refuse(e.to_string()))?;
    let map = |(from, to): (String, String)| {
        // Both are names of networks or of bridges; the stricter is asked of what is new.
        NetworkName::adopt(&from)?;
        Ok(UplinkMap { from, to: NetworkName::parse(&to)?.as_str().to_owned() })
    };
    let maps: Result<Vec<_>> = file.networks.into_iter().map(map).collect();
    maps.map_err(|e| e.with_note(&shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Vec<UplinkMap>> {
        parse(text, Path::new("nets.yaml"))
    }

    #[test]
    fn a_file_maps_names_as_yaml_or_json() {
        let map = |from: &str, to: &str| UplinkMap { from: from.into(), to: to.into() };
        let expected = [map("br0", "br1"), map("lan", "default")];
        assert_eq!(of("networks:\n  lan: default\n  br0: br1\n").unwrap(), expected);
        assert_eq!(of(r#"{"networks": {"lan": "default", "br0": "br1"}}"#).unwrap(), expected);
        assert!(of("networks: {}").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_such_file_is_refused_by_name() {
        for text in
            ["", "networks: [a]", "macs: {}", "networks: {lan: default}\nmore: 1", "networks: {lan: 'a/b'}", "\u{1b}["]
        {
            let e = of(text).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::InvalidInput, "{text}");
            assert!(format!("{e} {:?}", e.detail()).contains("nets.yaml"), "{text}: {e} {:?}", e.detail());
        }
    }
}
