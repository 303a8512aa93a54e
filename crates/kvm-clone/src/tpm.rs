//! The state of an emulated TPM: where it lies, and whether it can go along with a machine or into a backup.

use std::path::Path;

use kvm_core::op::PlanLine;
use kvm_core::{
    Capabilities, DiskPath, Error, ErrorKind, Feature, Host, Resource, Result, Scope, Target, VmId, VmState, VmSummary,
};
use kvm_wire::FileRef;
use kvm_xml::Domain;
use kvm_xml::domain::{TpmBackend, TpmBackendType, TpmBackendVersion, TpmSourceType};
use kvm_xml::rewrite::{Rewritten, Warning};

use crate::spec::{CloneSpec, TpmState};
use crate::step::{CopyTpm, Directory, TPM_MOST, TpmPlace};
use crate::survey::{Survey, has};
use crate::transfer::{Session, file};
use crate::work::Work;

/// Where libvirt keeps the states of a host's own machines, by their uuids.
const STATES: &str = "/var/lib/libvirt/swtpm";
/// As libvirt makes the directories on the way: swtpm, which is another user, only passes through.
const PASSED: u32 = 0o711;
/// As it makes the last one, which it gives to swtpm when the machine starts, with all that is in it.
const PRIVATE: u32 = 0o700;

/// The state of a machine's TPM here, and where it belongs there.
#[derive(Clone, Debug)]
pub(crate) struct TpmFiles {
    pub(crate) from: DiskPath,
    pub(crate) to: DiskPath,
    /// A machine that never started has none yet.
    pub(crate) is_there: bool,
}

/// `InvalidState` when the state of the machine's TPM is to be copied and may be written to.
pub(crate) fn check_still(vm: &VmSummary, document: &Domain, spec: &CloneSpec) -> Result<()> {
    let is_still = vm.state == VmState::Off && !vm.has_saved_state;
    if spec.tpm == TpmState::Fresh || is_still || emulated(document).is_none() {
        return Ok(());
    }
    let state = if vm.has_saved_state { VmState::Saved } else { vm.state };
    Err(Error::new(ErrorKind::InvalidState, format!("VM {} is {state}, and the state of its TPM is in use", vm.name))
        .on(Resource::Vm(vm.name.as_str().to_owned()))
        .with_detail("shut it down first, or have the clone start with an empty TPM: without --copy-tpm"))
}

impl Work<'_> {
    /// Has the state of the TPM go along to the clone, where that is asked for.
    pub(crate) async fn tpm_of_clone(&mut self, vm: &VmSummary, clone: &mut Rewritten) -> Result<()> {
        let (TpmState::Copy, Some(id)) = (self.spec.tpm, clone.domain.uuid) else { return Ok(()) };
        let files = self.tpm(vm, (&clone.domain, id.into())).await?;
        if !files.is_some_and(|files| files.is_there) {
            clone.warnings.retain(|warning| !matches!(warning, Warning::SameTpm { .. }));
        }
        Ok(())
    }

    /// Has the state of the TPM go along to the machine of this document; `None` where there is no emulated TPM.
    pub(crate) async fn tpm(&mut self, vm: &VmSummary, copy: (&Domain, VmId)) -> Result<Option<TpmFiles>> {
        let (Some(old), Some(new)) = (emulated(&self.survey.document), emulated(copy.0)) else { return Ok(None) };
        let Survey { source, target, here, there, .. } = self.survey;
        check_emulator(there)?;
        let from = place(&here.target, &vm.id, old)?;
        let to = place(&there.target, &copy.1, new)?;
        let (from, state) = (from.file()?, to.file()?);
        let files = TpmFiles { is_there: has(source, from.as_str()).await?, from, to: state };
        if !files.is_there {
            let note = "its TPM has no state yet, and starts empty";
            self.lines.push(PlanLine::new("note", "domain", vm.name.as_str()).note(note));
            return Ok(Some(files));
        }
        let directories = to.missing(target, &there.target, Own::IsNew).await?;
        self.lines.push(PlanLine::new("copy", "tpm", files.from.as_str()).note(format!("to {}", files.to)));
        self.steps.push(Box::new(CopyTpm {
            ends: self.ends.clone(),
            id: vm.id,
            name: vm.name.clone(),
            from: files.from.clone(),
            place: TpmPlace { to: files.to.clone(), directories },
        }));
        Ok(Some(files))
    }
}

/// What of a machine's TPM can be stored.
pub(crate) enum ToStore {
    /// The file of its state.
    State(DiskPath),
    /// Nothing, and why.
    Nothing(String),
}

/// Looks for the state of a machine's TPM on its host; `None` where the machine has no TPM. Where it cannot be had the
/// machine is backed up without it.
pub(crate) async fn to_store(
    session: &mut Session,
    target: &str,
    id: &VmId,
    document: &Domain,
) -> Result<Option<ToStore>> {
    let without = |why: &str| Ok(Some(ToStore::Nothing(format!("{why}: none of it is in the backup"))));
    if document.devices.iter().all(|devices| devices.tpm.is_empty()) {
        return Ok(None);
    }
    let Some(backend) = emulated(document) else { return without("its TPM is not emulated by its host") };
    let path = match place(target, id, backend).and_then(|place| place.file()) {
        Ok(path) => path,
        Err(e) => return without(e.message()),
    };
    match session.stat(&file(&path)).await {
        Ok(Some(state)) if state.length <= TPM_MOST => Ok(Some(ToStore::State(path))),
        Ok(Some(state)) => without(&format!("the state of its TPM has {}, {TPM_MOST} are allowed", state.length)),
        Ok(None) => without("its TPM has no state yet"),
        // Without a conversation nothing more can be asked.
        Err(e) if matches!(e.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) => Err(e),
        Err(e) => without(&format!("the state of its TPM cannot be read ({e})")),
    }
}

/// `Unsupported` when a host cannot emulate TPMs.
pub(crate) fn check_emulator(there: &Capabilities) -> Result<()> {
    match there.features.contains(&Feature::Tpm) {
        true => Ok(()),
        false => Err(refused(format!("{} has no TPM emulator", there.target)).with_detail("install it there: swtpm")),
    }
}

/// What stands behind the emulated TPM; a machine has one at most.
pub(crate) fn emulated(document: &Domain) -> Option<&TpmBackend> {
    let tpms = document.devices.iter().flat_map(|devices| &devices.tpm);
    tpms.filter_map(|tpm| tpm.backend.as_ref()).find(|backend| backend.r#type == Some(TpmBackendType::Emulator))
}

/// Where the state of one TPM lies.
pub(crate) struct Place {
    /// The directories that are the machine's alone, the outermost first.
    own: Vec<Directory>,
    /// In which those are.
    above: String,
    name: &'static str,
}

/// Where the state of a machine's TPM lies on this host. `Unsupported` where nobody here can put one.
pub(crate) fn place(target: &str, id: &VmId, backend: &TpmBackend) -> Result<Place> {
    let is_old = backend.version == Some(TpmBackendVersion::V1_2);
    let name = if is_old { "tpm-00.permall" } else { "tpm2-00.permall" };
    let named = backend.source.as_ref().and_then(|source| Some((source.r#type?, source.path.as_deref()?)));
    match named {
        Some((TpmSourceType::Dir, path)) => {
            let path = DiskPath::adopt(path.trim_end_matches('/'))?;
            let above = path.as_path().parent().and_then(Path::to_str).unwrap_or("/").to_owned();
            Ok(Place { own: vec![Directory { path, mode: PRIVATE, is_for_all: false }], above, name })
        }
        // libvirt leaves it to whoever made the file that swtpm may write to it.
        Some((_, path)) => Err(refused(format!("the state of its TPM in {path} is not copied"))
            .with_detail("only what lies in a directory is: <source type='dir'>, or libvirt's own place")),
        None if is_of_session(target) => Err(refused("the state of a TPM is not copied in a session".to_owned())
            .with_detail("name its directory in the document: <source type='dir' path=…>")),
        None => {
            let own = format!("{STATES}/{id}");
            let last = format!("{own}/{}", if is_old { "tpm1.2" } else { "tpm2" });
            let directory =
                |path: &str, mode| Ok::<_, Error>(Directory { path: DiskPath::adopt(path)?, mode, is_for_all: false });
            let own = vec![directory(&own, PASSED)?, directory(&last, PRIVATE)?];
            Ok(Place { own, above: STATES.to_owned(), name })
        }
    }
}

impl Place {
    pub(crate) fn file(&self) -> Result<DiskPath> {
        let last = self.own.last().map(|last| last.path.as_str()).unwrap_or_default();
        DiskPath::adopt(&format!("{last}/{}", self.name))
    }

    /// The directories that have to be made. `AlreadyExists` when one of the machine's own is there, and it is new.
    pub(crate) async fn missing(self, target: &Host, shown: &str, own: Own) -> Result<Vec<Directory>> {
        let mut session = Session::open(&*target.transport).await.map_err(|e| match e.kind() {
            ErrorKind::Unsupported => {
                refused(format!("{} takes no TPM state without a helper", shown)).with_detail(e.message().to_owned())
            }
            _ => e,
        })?;
        let mut is_there = async |directory: FileRef| match session.list(directory).await {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        };
        let mut missing = Vec::new();
        for directory in self.own {
            match is_there(file(&directory.path)).await? {
                true if own == Own::IsNew => {
                    let path = &directory.path;
                    return Err(Error::new(ErrorKind::AlreadyExists, format!("{shown} has TPM state at {path}"))
                        .on(Resource::File(path.as_str().to_owned()))
                        .with_detail("a machine of this uuid was there before: remove its state if nobody needs it"));
                }
                true => {}
                false => missing.push(directory),
            }
        }
        let above = DiskPath::adopt(&self.above)?;
        // There may be a link on the way to it.
        let is_ready = is_there(FileRef::new(&self.above, "")).await?;
        session.give_back(&*target.transport).await;
        match (is_ready, self.above == STATES) {
            (true, _) => {}
            // libvirt makes it with the first TPM.
            (false, true) => missing.insert(0, Directory { path: above, mode: PASSED, is_for_all: true }),
            (false, false) => {
                return Err(Error::new(ErrorKind::NotFound, format!("{} has no directory {above}", shown))
                    .on(Resource::File(self.above))
                    .with_detail("make it there: the document has the state of the TPM below it"));
            }
        }
        Ok(missing)
    }
}

/// Whether directories of a machine's own may be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Own {
    /// No: it is new there.
    IsNew,
    /// Yes, without a state in them: the machine is there.
    MayBeThere,
}

fn is_of_session(target: &str) -> bool {
    matches!(Target::parse(target), Ok(Target::Qemu { scope: Scope::Session, .. }))
}

fn refused(why: String) -> Error {
    Error::new(ErrorKind::Unsupported, why).on(Resource::Field("devices.tpm".into()))
}
