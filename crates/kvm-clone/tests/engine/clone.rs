//! Clones: another machine with the same content, or nothing at all.

use async_trait::async_trait;
use kvm_clone::{CloneSpec, WhileRunning};
use kvm_core::op::template::{Scenario, check};
use kvm_core::op::{Catalogue, Plan};
use kvm_core::{DeviceRef, ErrorKind, Host, Impact, PowerAction, Result, View, VmState};
use kvm_mock::{Fault, Method, Mock};
use kvm_vm::Start;
use tokio::sync::Mutex;

use crate::support::{Pair, WRITTEN, picture, said};

const CLONE: &str = "/var/lib/images/web-clone.qcow2";
const DATA: &str = "/var/lib/images/web-clone-data.raw";

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_off_gets_a_clone_on_another_host() {
    let pair = Pair::new().await.unwrap();
    let before = picture(&pair.here, &pair.source).await.unwrap();
    let clone = pair.plan("web", &CloneSpec::default()).await.unwrap();
    let shown = clone.plan.to_string();
    let (title, lines) = shown.split_once('\n').unwrap();
    assert!(title.starts_with("clone web from mock:") && title.ends_with(" to web-clone on mock:///empty"), "{title}");
    assert_eq!(
        lines,
        "  use      libvirt                              to carry the images, which is slower: a simulated host runs no helper\n  \
         copy     volume   local/web.qcow2             qcow2, 20 GiB, 10 MiB on disk\n  \
         create   volume   default/web-clone.qcow2\n  \
         copy     volume   local/data.raw              raw, 1 GiB, 4 MiB on disk\n  \
         create   volume   default/web-clone-data.raw\n  \
         note     domain   web-clone                   the copy does not start with its host\n  \
         define   domain   web-clone                   2 vCPUs, 1 GiB\n  \
         connect  network  default",
    );
    pair.run(clone.plan).await.unwrap();
    for path in [CLONE, DATA] {
        assert_eq!(pair.target.read_at(path, WRITTEN.0, WRITTEN.1.len()).unwrap(), WRITTEN.1, "{path}");
    }
    let twin = kvm_vm::resolve(&pair.there, "web-clone").await.unwrap();
    assert_eq!((twin.id, twin.state, twin.autostart), (clone.id, VmState::Off, Some(false)));
    let document = pair.there.hypervisor.definition(&twin.id, View::CONFIG).await.unwrap();
    let (original, mac) = (pair.vm("web").await, &document.devices.unwrap().interface[0].mac);
    assert_ne!(twin.id, original.id);
    assert_ne!(mac.as_ref().unwrap().address.unwrap().to_string(), "52:54:00:00:00:01");
    assert_eq!(picture(&pair.here, &pair.source).await.unwrap(), before, "the original is as it was");
    pair.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn a_clone_on_the_same_host_lies_beside_the_original() {
    let pair = Pair::new().await.unwrap();
    let spec = CloneSpec { name: Some("twin".parse().unwrap()), start: Start::Yes, ..CloneSpec::default() };
    let clone = pair.plan_here("web", &spec).await.unwrap();
    pair.run_at(clone.plan, &pair.here).await.unwrap();
    let twin = kvm_vm::resolve(&pair.here, "twin").await.unwrap();
    assert_eq!(twin.state, VmState::Running);
    assert_eq!(pair.source.read_at("/images/twin-data.raw", WRITTEN.0, WRITTEN.1.len()).unwrap(), WRITTEN.1);
    // The next one takes other names.
    let clone = pair.plan_here("web", &CloneSpec::default()).await.unwrap();
    pair.run_at(clone.plan, &pair.here).await.unwrap();
    let again = pair.plan_here("web", &CloneSpec::default()).await.unwrap();
    assert_eq!(again.name.as_str(), "web-clone1");
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_runs_is_held_for_the_copy_and_goes_on_as_before() {
    let pair = Pair::new().await.unwrap();
    let web = pair.vm("web").await;
    pair.here.hypervisor.power(&web.id, PowerAction::Start).await.unwrap();
    let before = pair.source.files().unwrap();
    let clone = pair.plan("web", &CloneSpec::default()).await.unwrap();
    assert!(clone.plan.to_string().contains("  hold     moment   web "), "{}", clone.plan);
    pair.run(clone.plan).await.unwrap();
    assert_eq!(pair.target.read_at(CLONE, WRITTEN.0, WRITTEN.1.len()).unwrap(), WRITTEN.1);
    assert_eq!(pair.vm("web").await.state, VmState::Running);
    let left = pair.here.hypervisor.snapshots().unwrap().list(&web.id).await.unwrap();
    assert_eq!(left, []);
    let paths = |files: &std::collections::BTreeMap<String, _>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(paths(&pair.source.files().unwrap()), paths(&before));
    let refused = CloneSpec { running: WhileRunning::Refuse, ..CloneSpec::default() };
    assert_eq!(pair.plan("web", &refused).await.unwrap_err().kind(), ErrorKind::InvalidState);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_runs_with_other_disks_than_it_is_configured_with_is_not_copied() {
    let pair = Pair::new().await.unwrap();
    let web = pair.vm("web").await;
    pair.here.hypervisor.power(&web.id, PowerAction::Start).await.unwrap();
    let disk = DeviceRef::Disk("vdb".parse().unwrap());
    pair.here.hypervisor.devices().unwrap().detach(&web.id, &disk, Impact::Config).await.unwrap();
    let said = said(&pair.plan("web", &CloneSpec::default()).await.unwrap_err());
    assert!(said.starts_with("invalid_state [VM web]: VM web runs with another vdb than"), "{said}");
    pair.here.hypervisor.power(&web.id, PowerAction::PowerOff).await.unwrap();
    pair.plan("web", &CloneSpec::default()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_overlay_becomes_whole() {
    let pair = Pair::new().await.unwrap();
    let before = pair.source.files().unwrap();
    let clone = pair.plan("top", &CloneSpec::default()).await.unwrap();
    pair.run(clone.plan).await.unwrap();
    let path = "/var/lib/images/top-clone.qcow2".parse().unwrap();
    let volume = pair.there.storage.volume_at(&path).await.unwrap();
    assert_eq!(volume.backing, None);
    assert_eq!(pair.source.files().unwrap(), before, "nothing stays on the source");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_work_is_refused_before_anything_is_written() {
    let pair = Pair::new().await.unwrap();
    let before = (picture(&pair.here, &pair.source).await.unwrap(), picture(&pair.there, &pair.target).await.unwrap());
    let refused = async |vm: &str, spec: CloneSpec| said(&pair.plan(vm, &spec).await.unwrap_err());
    let plain = CloneSpec::default;
    let cases = [
        ("lan", plain(), "not_found [field devices.interface[52:54:00:00:00:02].source.network]"),
        ("saved", plain(), "invalid_state [VM saved]"),
        ("kept", plain(), "invalid_state [VM kept]: VM kept is at snapshot one, which is internal"),
        ("web", CloneSpec { pool: Some("nowhere".parse().unwrap()), ..plain() }, "not_found [pool nowhere]"),
    ];
    for (vm, spec, begins) in cases {
        let said = refused(vm, spec).await;
        assert!(said.starts_with(begins), "{vm}: {said}");
    }
    let mapped = CloneSpec { uplinks: vec!["lan=default".parse().unwrap()], ..plain() };
    pair.plan("lan", &mapped).await.unwrap();
    let after = (picture(&pair.here, &pair.source).await.unwrap(), picture(&pair.there, &pair.target).await.unwrap());
    assert_eq!(after, before);
}

#[tokio::test(start_paused = true)]
async fn uefi_variables_go_along_under_the_new_name() {
    let pair = Pair::new().await.unwrap();
    let id = pair.vm("modest").await.id;
    pair.here.hypervisor.power(&id, PowerAction::Start).await.unwrap();
    pair.here.hypervisor.power(&id, PowerAction::PowerOff).await.unwrap();
    let clone = pair.plan("modest", &CloneSpec::default()).await.unwrap();
    pair.run(clone.plan).await.unwrap();
    let files = pair.target.files().unwrap();
    assert!(files.keys().any(|path| path.ends_with("/modest-clone_VARS.fd")), "{files:?}");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_fails_leaves_no_half_clone() {
    for (method, on_target) in [(Method::UploadVolume, true), (Method::DownloadVolume, false), (Method::Define, true)] {
        let pair = Pair::new().await.unwrap();
        let plan = pair.plan("web", &CloneSpec::default()).await.unwrap().plan;
        let before =
            (picture(&pair.here, &pair.source).await.unwrap(), picture(&pair.there, &pair.target).await.unwrap());
        if on_target { &pair.target } else { &pair.source }.inject(Fault::next(method, ErrorKind::Unavailable));
        assert_eq!(pair.run(plan).await.unwrap_err().kind(), ErrorKind::Unavailable, "{method}");
        let after =
            (picture(&pair.here, &pair.source).await.unwrap(), picture(&pair.there, &pair.target).await.unwrap());
        assert_eq!(after, before, "{method}");
        pair.assert_nothing_open().await;
    }
}

/// A copy of one machine, whose every step is made to fail.
struct Cloning {
    vm: &'static str,
    is_running: bool,
    pair: Mutex<Option<Pair>>,
}

impl Cloning {
    fn of(vm: &'static str, is_running: bool) -> Self {
        Self { vm, is_running, pair: Mutex::new(None) }
    }
}

#[async_trait]
impl Scenario for Cloning {
    async fn begin(&self) -> Result<(Host, Plan)> {
        let pair = Pair::new().await?;
        if self.is_running {
            pair.here.hypervisor.power(&pair.vm(self.vm).await.id, PowerAction::Start).await?;
        }
        let plan = pair.plan(self.vm, &CloneSpec::default()).await?.plan;
        let host = pair.there.clone();
        *self.pair.lock().await = Some(pair);
        Ok((host, plan))
    }

    async fn inventory(&self, _: &Host) -> Result<String> {
        let pair = self.pair.lock().await;
        let pair = pair.as_ref().unwrap();
        let mocks: [(&Host, &Mock); 2] = [(&pair.here, &pair.source), (&pair.there, &pair.target)];
        let mut all = String::new();
        for (host, mock) in mocks {
            all += &picture(host, mock).await?;
        }
        Ok(all)
    }

    fn catalogue(&self) -> Catalogue {
        self.pair.try_lock().unwrap().as_ref().unwrap().catalogue()
    }
}

#[tokio::test(start_paused = true)]
async fn a_clone_survives_a_failure_at_every_step() {
    assert_eq!(check(&Cloning::of("web", false)).await.unwrap().steps, 5);
}

#[tokio::test(start_paused = true)]
async fn a_clone_of_an_overlay_survives_a_failure_at_every_step() {
    assert_eq!(check(&Cloning::of("top", false)).await.unwrap().steps, 3);
}

#[tokio::test(start_paused = true)]
async fn a_clone_of_a_machine_that_runs_survives_a_failure_at_every_step() {
    assert_eq!(check(&Cloning::of("web", true)).await.unwrap().steps, 7);
}
