//! File systems that a guest has mounted.

use kvm_core::{Bytes, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::bounded::{Few, count};
use super::{Agent, SLOW};

/// A file system that a guest has mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileSystem {
    /// Where it is mounted.
    pub mount_point: String,
    /// `ext4`, `NTFS`…
    pub kind: String,
    /// The guest's name of its device.
    pub name: String,
    /// What is used, where the guest says so.
    #[serde(rename = "used_bytes")]
    pub used: Option<Bytes>,
    /// How much it holds, where the guest says so.
    #[serde(rename = "total_bytes")]
    pub total: Option<Bytes>,
    /// The devices below it, by the guest's names.
    pub disks: Vec<String>,
}

/// What a file system gave back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trimmed {
    /// Where it is mounted.
    pub mount_point: String,
    /// What it gave back, where the guest says so.
    #[serde(rename = "trimmed_bytes")]
    pub trimmed: Option<Bytes>,
    /// Why it did not, in the guest's words.
    pub error: Option<String>,
}

impl Agent {
    /// Lists the file systems that are mounted, sorted by where.
    pub async fn file_systems(&self) -> Result<Vec<FileSystem>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Form {
            name: String,
            mountpoint: String,
            r#type: String,
            #[serde(default, deserialize_with = "count")]
            used_bytes: Option<u64>,
            #[serde(default, deserialize_with = "count")]
            total_bytes: Option<u64>,
            #[serde(default)]
            disk: Few<Disk, 256>,
        }
        #[derive(Deserialize)]
        struct Disk {
            dev: Option<String>,
        }
        let all: Few<Form, 1024> = self.ask("guest-get-fsinfo", &(), SLOW).await?;
        let file_system = |form: Form| {
            // A part that is larger than the whole says nothing about either.
            let sizes = form.used_bytes.zip(form.total_bytes).filter(|(used, total)| used <= total);
            FileSystem {
                mount_point: form.mountpoint,
                kind: form.r#type,
                name: form.name,
                used: sizes.map(|(used, _)| Bytes::new(used)),
                total: sizes.map(|(_, total)| Bytes::new(total)),
                disks: form.disk.0.into_iter().filter_map(|disk| disk.dev).collect(),
            }
        };
        let mut all: Vec<_> = all.0.into_iter().map(file_system).collect();
        all.sort_by(|a, b| a.mount_point.cmp(&b.mount_point));
        Ok(all)
    }

    /// Has the guest give back the space of all file systems that is not used, so that thin images can shrink.
    pub async fn trim(&self) -> Result<Vec<Trimmed>> {
        #[derive(Deserialize)]
        struct Form {
            paths: Few<Path, 1024>,
        }
        #[derive(Deserialize)]
        struct Path {
            path: String,
            #[serde(default, deserialize_with = "count")]
            trimmed: Option<u64>,
            error: Option<String>,
        }
        let Form { paths } = self.ask("guest-fstrim", &json!({ "minimum": 0 }), SLOW).await?;
        let trimmed =
            |path: Path| Trimmed { mount_point: path.path, trimmed: path.trimmed.map(Bytes::new), error: path.error };
        Ok(paths.0.into_iter().map(trimmed).collect())
    }
}
