//! Kernels that are loaded directly.

use kvm_core::Result;

use crate::place::{Image, Places};
use crate::spec::KernelSpec;

/// Finds the images of a kernel; they are subject to the same rules as disks.
pub(super) async fn resolve(kernel: Option<&KernelSpec>, places: &Places<'_>) -> Result<Vec<Image>> {
    let mut images = Vec::new();
    let paths: Vec<_> = kernel.iter().flat_map(|k| [Some(&k.kernel), k.initrd.as_ref()]).flatten().collect();
    for path in paths {
        images.push(places.at(path).await?);
    }
    Ok(images)
}
