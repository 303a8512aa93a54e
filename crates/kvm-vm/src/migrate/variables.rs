//! The file of UEFI variables, which the hypervisor leaves at the source: it might be the very file that the
//! destination uses.

use kvm_core::{Bytes, DefinitionPlace, DiskPath, ErrorKind, MigrationMode, Result};
use kvm_xml::domain::Nvram;

use super::Subject;

/// The file at the source, and what becomes of it.
#[derive(Debug)]
pub(super) struct Variables {
    pub(super) path: DiskPath,
    /// Why it stays; `None` when it has proved to be another one than the destination's.
    pub(super) kept: Option<String>,
}

/// Looks whether the destination has the file, too. One that is there cannot be told from the source's own.
///
/// `None` when no file is left over: the machine has none, or its definition stays and needs it. When only a definition
/// moves the file stays as the one place where the variables are, which the check of the firmware says.
pub(super) async fn check(subject: &Subject<'_>) -> Result<Option<Variables>> {
    if subject.mode == MigrationMode::Offline || subject.options.definition == DefinitionPlace::Source {
        return Ok(None);
    }
    let os = subject.document.os.as_ref();
    let Some(path) = os.and_then(|os| os.nvram.as_ref()).and_then(file) else { return Ok(None) };
    let path = DiskPath::adopt(path)?;
    let none = Bytes::ZERO;
    let here = subject.source.transport.read_part(path.as_path(), 0, none).await;
    let kept = match here {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => Some(format!("nobody here can look at it: {}", e.message())),
        Ok(_) => match subject.destination.transport.read_part(path.as_path(), 0, none).await {
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => Some(format!("nobody here can see whether it is the destination's own: {}", e.message())),
            Ok(_) => Some("the destination has that file already: it may be the same one".to_owned()),
        },
    };
    Ok(Some(Variables { path, kept }))
}

/// The file that holds the variables, if a file does.
fn file(nvram: &Nvram) -> Option<&str> {
    let source = nvram.source.as_ref().and_then(|source| source.file.as_deref());
    source.or(nvram.value.as_deref()).map(str::trim).filter(|path| !path.is_empty())
}
