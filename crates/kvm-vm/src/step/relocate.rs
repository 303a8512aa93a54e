//! Moving the image of a machine that is off.

use std::time::Duration;

use async_trait::async_trait;
use kvm_core::op::{Already, Probe, Step, StepContext};
use kvm_core::{Device, DiskPath, Error, ErrorKind, Impact, Progress, Result, View, VolumeInfo};
use kvm_xml::StorageVolume;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::block_job::{Place, Subject, at};
use super::{CopyVolume, to_json};
use crate::chain::normal;
use crate::spec::VolumeRef;
use crate::volume::{content, resource};

/// How long a host may take to bring a copy from its memory to its disk.
const FLUSH: Duration = Duration::from_secs(600);

/// Makes a complete copy of a disk's image while nobody writes to it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CopyImage {
    pub(crate) disk: Subject,
    pub(crate) copy: CopyVolume,
}

impl CopyImage {
    pub(crate) const NAME: &'static str = "copy-image";
}

#[async_trait]
impl Step for CopyImage {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        self.copy.title()
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        self.copy.already()
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        self.copy.probe(cx).await
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        self.disk.check_off(cx).await?;
        self.copy.apply(cx).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        self.copy.undo(cx).await
    }
}

/// Configures a machine that is off to use the copy of its disk's image, if that proves to be one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UseImage {
    pub(crate) disk: Subject,
    pub(crate) original: VolumeRef,
    pub(crate) from: DiskPath,
    pub(crate) copy: VolumeRef,
    pub(crate) to: Place,
}

impl UseImage {
    pub(crate) const NAME: &'static str = "use-image";

    /// A host that says that it has copied may be wrong, and an operation that was interrupted goes on much later.
    async fn verify(&self, cx: &StepContext<'_>) -> Result<()> {
        let find = async |at: &VolumeRef| cx.host.storage.find_volume(&at.pool, &at.volume).await;
        let (original, copy) = (find(&self.original).await?, find(&self.copy).await?);
        if let Some(why) = difference(&original, &copy, &self.to) {
            return Err(Error::new(ErrorKind::Corrupt, format!("the host's copy {why}")).on(resource(&self.copy)));
        }
        let document = async |at: &VolumeRef| content(cx.host)?.definition(&at.pool, &at.volume).await;
        if is_older(&document(&self.copy).await?, &document(&self.original).await?) {
            return Err(Error::new(ErrorKind::InvalidState, "the original was written to after it was copied")
                .on(resource(&self.original)));
        }
        Ok(())
    }

    /// Sees to it that the copy survives a power cut before the original goes.
    async fn flush(&self, cx: &StepContext<'_>) {
        let mut argv = vec!["sync", "--", self.to.path.as_str()];
        argv.extend(self.to.path.as_path().parent().and_then(|directory| directory.to_str()));
        let why = match cx.host.transport.run(&argv, FLUSH).await {
            Ok(output) if output.success() => return,
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(e) => e.to_string(),
        };
        let message = format!(
            "the copy {} is complete, but it is not known whether it would survive a power cut in the next minute: {}",
            self.to.path,
            kvm_core::text::printable(&why)
        );
        cx.reporter.report(&Progress::Warning { message });
    }
}

/// In what a copy is not what it should be.
fn difference(original: &VolumeInfo, copy: &VolumeInfo, to: &Place) -> Option<String> {
    if copy.path.as_ref() != Some(&to.path) {
        Some(format!("is not at {}", to.path))
    } else if copy.capacity < original.capacity {
        Some(format!("has {} instead of {}", copy.capacity, original.capacity))
    } else if copy.format.as_ref().is_some_and(|format| *format != to.format) {
        Some(format!("is not {}", to.format))
    } else {
        copy.backing.as_ref().map(|below| format!("lies upon {below}"))
    }
}

/// Whether a copy is older than what it is a copy of, as far as the host says when files were written to.
pub(super) fn is_older(copy: &StorageVolume, original: &StorageVolume) -> bool {
    // Seconds and nanoseconds, which are nine digits where there are any.
    let written = |volume: &StorageVolume| {
        let time = volume.target.as_ref()?.timestamps.as_ref()?.mtime.as_ref()?;
        let (seconds, fraction) = time.as_str().split_once('.').unwrap_or((time.as_str(), ""));
        Some((seconds.parse::<u64>().ok()?, format!("{fraction:0<9}")))
    };
    written(copy).zip(written(original)).is_some_and(|(copy, original)| copy < original)
}

#[async_trait]
impl Step for UseImage {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("use {} as {} of {}", self.to.path, self.disk.device, self.disk.name)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let seen = self.disk.see(cx, View::CONFIG).await?;
        let is_there = seen.image.as_deref() == Some(&*normal(self.to.path.as_str()));
        Ok(if is_there { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        // What a guest wrote since the copy was made would stay behind.
        self.disk.check_off(cx).await?;
        let seen = self.disk.see(cx, View::CONFIG).await?;
        if seen.image.as_deref() != Some(&*normal(self.from.as_str())) {
            let message = format!("{} of VM {} has another image by now", self.disk.device, self.disk.name);
            return Err(Error::new(ErrorKind::InvalidState, message).on(self.disk.vm()));
        }
        self.verify(cx).await?;
        self.flush(cx).await;
        let disk = Device::Disk(Box::new(at(seen.disk, &self.to)?));
        crate::device::facet(cx.host)?.update(&self.disk.id, &disk, Impact::Config).await
    }

    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Err(Error::internal("a machine that went over to another image does not go back"))
    }
}

impl Subject {
    /// Refuses to touch the image of a machine that somebody has started since the plan.
    async fn check_off(&self, cx: &StepContext<'_>) -> Result<()> {
        let vm = cx.host.hypervisor.find(&self.id.into()).await?;
        if !vm.state.is_active() && !vm.has_saved_state {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InvalidState, format!("VM {} is {} by now", self.name, vm.state))
            .on(self.vm())
            .with_detail("its disk moves while it runs, too: ask again"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvm_core::Bytes;
    use kvm_xml::Document as _;

    #[test]
    fn a_copy_is_complete_as_large_and_of_the_wanted_form() {
        let volume = |format: &str, size: u64, backing: Option<&str>| VolumeInfo {
            pool: "fast".parse().unwrap(),
            name: "a".parse().unwrap(),
            path: Some(DiskPath::parse("/fast/a").unwrap()),
            address: None,
            format: Some(format.into()),
            capacity: Bytes::new(size),
            allocation: Bytes::ZERO,
            backing: backing.map(|path| DiskPath::parse(path).unwrap()),
        };
        let to = Place { path: DiskPath::parse("/fast/a").unwrap(), format: "qcow2".into(), is_block: false };
        let original = volume("raw", 4096, Some("/base"));
        let wrong = |copy: VolumeInfo| difference(&original, &copy, &to).is_some();
        assert!(!wrong(volume("qcow2", 4096, None)) && !wrong(volume("qcow2", 8192, None)));
        assert!(wrong(volume("raw", 4096, None)), "of another form");
        assert!(wrong(volume("qcow2", 512, None)), "cut off");
        assert!(wrong(volume("qcow2", 4096, Some("/base"))), "not complete");
        let elsewhere = Place { path: DiskPath::parse("/fast/b").unwrap(), ..to.clone() };
        assert!(difference(&original, &volume("qcow2", 4096, None), &elsewhere).is_some());
    }

    #[test]
    fn a_copy_is_not_used_when_its_original_changed_later() {
        let written = |mtime: &str| {
            let xml = format!("<volume><target><timestamps><mtime>{mtime}</mtime></timestamps></target></volume>");
            StorageVolume::from_xml(&xml).unwrap()
        };
        assert!(is_older(&written("1700000000.000000005"), &written("1700000001.000000004")));
        assert!(is_older(&written("1700000000.000000004"), &written("1700000000.000000005")));
        assert!(!is_older(&written("1700000001.000000004"), &written("1700000000.000000005")));
        assert!(!is_older(&StorageVolume::default(), &written("1700000000.000000005")), "unknown");
    }
}
