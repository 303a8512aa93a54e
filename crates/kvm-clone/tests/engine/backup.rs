//! Backups: a whole point of a machine in a store, or nothing at all.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use kvm_clone::{
    BackupPlan, BackupSpec, Base, Compress, Parallel, PointId, PointRef, StoreDir, Verdict, Watch, WhileRunning,
    backup_point, backups, plan_backup, plan_backup_delete, plan_backup_prune, verify_backup,
};
use kvm_core::op::template::{Scenario, check};
use kvm_core::op::{Catalogue, Pace, Plan};
use kvm_core::{Bandwidth, Bytes, Clock as _, Consistency, ErrorKind, Host, PowerAction, Result, Silent, VmState};
use kvm_mock::{Fault, FileInfo, Method, Mock};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::support::{Pair, WRITTEN, picture, said};

/// A directory of the other host.
pub(crate) const STORE: &str = "/srv";
/// When the tests' clock begins.
pub(crate) const FIRST: &str = "2030-01-01T00-00-00Z";

pub(crate) fn store() -> StoreDir {
    STORE.parse().unwrap()
}

pub(crate) fn spec() -> BackupSpec {
    BackupSpec {
        base: Base::Newest,
        running: WhileRunning::Snapshot,
        limit: Bandwidth::UNLIMITED,
        compression: Compress::Auto,
        parallel: Parallel::default(),
        track: kvm_clone::Track::No,
        sums: false,
        tool: "test 1".to_owned(),
    }
}

pub(crate) fn point(text: &str) -> PointRef {
    text.parse().unwrap()
}

impl Pair {
    pub(crate) async fn plan_backup(&self, vm: &str, spec: &BackupSpec) -> Result<BackupPlan> {
        plan_backup(&self.here, &self.there, &store(), &self.vm(vm).await, spec, &self.cx(), &*self.clock).await
    }

    /// Makes a backup; how its images stand to each other, and upon what it was made.
    pub(crate) async fn back_up(&self, vm: &str) -> (Consistency, Option<PointId>) {
        let BackupPlan { plan, consistency, based_on, .. } = self.plan_backup(vm, &spec()).await.unwrap();
        self.run_at(plan, &self.here).await.unwrap();
        (consistency, based_on)
    }

    pub(crate) async fn verdicts(&self, of: &str) -> Result<BTreeMap<String, String>> {
        let cancel = CancellationToken::new();
        let watch =
            Watch { reporter: &Silent, title: "", clock: &*self.clock, cancel: &cancel, pace: &Pace::default() };
        let (_, _, verdicts) = verify_backup(&self.there, &store(), &point(of), watch).await?;
        let word = |verdict: Verdict| match verdict {
            Verdict::Matches => "matches".to_owned(),
            Verdict::Differs(why) => {
                format!("differs: {}", why.split([' ', ',']).take(3).collect::<Vec<_>>().join(" "))
            }
            Verdict::Unknown(e) => format!("unknown: {}", e.kind()),
        };
        Ok(verdicts.into_iter().map(|it| (it.file.file, word(it.verdict))).collect())
    }

    async fn both(&self) -> String {
        picture(&self.here, &self.source).await.unwrap() + &picture(&self.there, &self.target).await.unwrap()
    }

    pub(crate) async fn start(&self, vm: &str) -> Result<()> {
        self.here.hypervisor.power(&self.vm(vm).await.id, PowerAction::Start).await
    }
}

fn in_store(mock: &Mock) -> BTreeMap<String, FileInfo> {
    mock.files().unwrap().into_iter().filter(|(path, _)| path.starts_with(STORE)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_off_is_backed_up_whole() {
    let pair = Pair::with_helpers().await.unwrap();
    let before = picture(&pair.here, &pair.source).await.unwrap();
    let backup = pair.plan_backup("web", &spec()).await.unwrap();
    let shown = backup.plan.to_string();
    let (title, lines) = shown.split_once('\n').unwrap();
    assert!(title.starts_with("back up web of mock:") && title.ends_with(" to /srv on mock:///empty"), "{title}");
    assert_eq!(
        lines,
        "  store   disk    vda                       /images/web.qcow2: qcow2, 20 GiB, 10 MiB on disk\n  \
         store   disk    vdb                       /images/data.raw: raw, 1 GiB, 4 MiB on disk\n  \
         create  backup  web/2030-01-01T00-00-00Z  the VM is off, everything is sent",
    );
    pair.run_at(backup.plan, &pair.here).await.unwrap();
    let files = in_store(&pair.target);
    let names: Vec<_> = files.keys().map(|path| path.trim_start_matches("/srv/web/2030-01-01T00-00-00Z/")).collect();
    assert_eq!(names, ["domain.xml", "manifest.json", "vda.qcow2", "vdb.raw"]);
    assert!(files.values().all(|file| file.mode == 0o600));
    let stored = pair.target.read_at("/srv/web/2030-01-01T00-00-00Z/vdb.raw", WRITTEN.0, WRITTEN.1.len()).unwrap();
    assert_eq!(stored, WRITTEN.1);
    let (id, manifest) = backup_point(&pair.there, &store(), &point("web")).await.unwrap();
    assert_eq!((id.to_string().as_str(), manifest.consistency, manifest.based_on), (FIRST, Consistency::Off, None));
    assert_eq!((manifest.vm.as_str(), manifest.uuid), ("web", pair.vm("web").await.id));
    assert_eq!(manifest.disks[1].virtual_size, Bytes::from_gib(1));
    assert!(pair.verdicts("web").await.unwrap().values().all(|verdict| verdict == "matches"));
    assert_eq!(picture(&pair.here, &pair.source).await.unwrap(), before, "the machine is as it was");
    pair.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn a_point_has_sums_where_they_are_asked_for_and_they_go_with_it() {
    let pair = Pair::with_helpers().await.unwrap();
    let plan = pair.plan_backup("web", &BackupSpec { sums: true, ..spec() }).await.unwrap().plan;
    pair.run_at(plan, &pair.here).await.unwrap();
    let place = format!("{STORE}/web/{FIRST}/SHA256SUMS");
    let length = usize::try_from(in_store(&pair.target)[&place].length.get()).unwrap();
    let sums = String::from_utf8(pair.target.read_at(&place, 0, length).unwrap()).unwrap();
    let (digests, names): (Vec<_>, Vec<_>) = sums.lines().map(|line| line.split_once("  ").unwrap()).unzip();
    assert_eq!(names, ["domain.xml", "vda.qcow2", "vdb.raw", "manifest.json"]);
    assert!(digests.iter().all(|digest| digest.len() == 64), "{sums}");
    let (_, plan) = plan_backup_delete(&pair.there, &store(), &point("web")).await.unwrap();
    pair.run_at(plan, &pair.there).await.unwrap();
    assert!(in_store(&pair.target).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_runs_is_held_for_its_backup_and_goes_on_as_before() {
    let pair = Pair::with_helpers().await.unwrap();
    pair.start("web").await.unwrap();
    let before: Vec<_> = pair.source.files().unwrap().into_keys().collect();
    let (consistency, _) = pair.back_up("web").await;
    assert_ne!(consistency, Consistency::Off);
    let web = pair.vm("web").await;
    assert_eq!(web.state, VmState::Running);
    assert_eq!(pair.here.hypervisor.snapshots().unwrap().list(&web.id).await.unwrap(), []);
    assert_eq!(pair.source.files().unwrap().into_keys().collect::<Vec<_>>(), before);
    let (_, manifest) = backup_point(&pair.there, &store(), &point("web")).await.unwrap();
    assert_eq!(manifest.consistency, consistency);
    let refused = BackupSpec { running: WhileRunning::Refuse, ..spec() };
    assert_eq!(pair.plan_backup("web", &refused).await.unwrap_err().kind(), ErrorKind::InvalidState);
}

#[tokio::test(start_paused = true)]
async fn the_next_backup_is_made_upon_the_last_one_and_needs_it_no_more() {
    let pair = Pair::with_helpers().await.unwrap();
    pair.back_up("web").await;
    let (place, changed) = (("/images/data.raw", 8 << 20), b"what it wrote later");
    pair.source.write_at(place.0, place.1, changed).unwrap();
    pair.clock.sleep(Duration::from_secs(3600)).await;
    pair.target.forget_calls();
    let (_, based_on) = pair.back_up("web").await;
    assert_eq!(based_on.unwrap().to_string(), FIRST);
    let blocks = pair.target.calls().iter().filter(|call| call.subject == "block").count();
    // The document and the manifest are written as well.
    assert_eq!(blocks, 3, "one leaf of one image");
    let all = backups(&pair.there, &store(), None).await.unwrap();
    assert_eq!(all.len(), 2);
    let (_, plan) = plan_backup_delete(&pair.there, &store(), &point(&format!("web/{FIRST}"))).await.unwrap();
    pair.run_at(plan, &pair.there).await.unwrap();
    let left = backups(&pair.there, &store(), None).await.unwrap();
    assert_eq!(left.iter().map(|it| it.point.to_string()).collect::<Vec<_>>(), ["2030-01-01T01-00-00Z"]);
    assert!(pair.verdicts("web").await.unwrap().values().all(|verdict| verdict == "matches"));
    let file = "/srv/web/2030-01-01T01-00-00Z/vdb.raw";
    for (offset, bytes) in [WRITTEN, (place.1, &changed[..])] {
        assert_eq!(pair.target.read_at(file, offset, bytes.len()).unwrap(), bytes);
    }
    let whole = pair.plan_backup("web", &BackupSpec { base: Base::Nothing, ..spec() }).await.unwrap();
    // The clock stands still.
    assert_eq!((whole.based_on, whole.point.to_string().as_str()), (None, "2030-01-01T01-00-01Z"));
}

#[tokio::test(start_paused = true)]
async fn an_overlay_becomes_whole_and_variables_go_along() {
    let pair = Pair::with_helpers().await.unwrap();
    let before = pair.source.files().unwrap();
    pair.back_up("top").await;
    assert_eq!(pair.source.files().unwrap(), before, "nothing stays on the source");
    assert_eq!(pair.verdicts("top").await.unwrap().len(), 2);
    let id = pair.vm("modest").await.id;
    pair.start("modest").await.unwrap();
    pair.here.hypervisor.power(&id, PowerAction::PowerOff).await.unwrap();
    pair.back_up("modest").await;
    let verdicts = pair.verdicts("modest").await.unwrap();
    assert_eq!(verdicts.get("nvram.fd").map(String::as_str), Some("matches"), "{verdicts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_flipped_byte_a_missing_and_an_unreadable_file_are_three_answers() {
    let pair = Pair::with_helpers().await.unwrap();
    pair.back_up("web").await;
    let at = |file: &str| format!("/srv/web/{FIRST}/{file}");
    pair.target.write_at(&at("vdb.raw"), WRITTEN.0, b"W").unwrap();
    pair.there.transport.remove_file(Path::new(&at("vda.qcow2"))).await.unwrap();
    let found = pair.verdicts("web").await.unwrap();
    assert_eq!(found["domain.xml"], "matches");
    assert_eq!(found["vda.qcow2"], "differs: it is missing");
    assert_eq!(found["vdb.raw"], "differs: its digest is");
    let calls = || pair.target.calls().iter().filter(|call| call.method == Method::Helper).count();
    pair.target.forget_calls();
    pair.verdicts("web").await.unwrap();
    // The last three calls are the scans.
    pair.target.inject(Fault::nth(calls() as u64 - 2, ErrorKind::Denied));
    assert_eq!(pair.verdicts("web").await.unwrap()["domain.xml"], "unknown: denied");
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_a_stranger_wrote_is_refused_and_shown_as_such() {
    let pair = Pair::with_helpers().await.unwrap();
    pair.back_up("web").await;
    let path = format!("/srv/web/{FIRST}/manifest.json");
    let bytes = pair.there.transport.read_file(Path::new(&path), Bytes::from_mib(1)).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    for (from, to, field) in [
        ("\"vdb.raw\"", "\"../../../etc/shadow\"", "disks[1].file"),
        ("\"vda.qcow2\"", "\"/etc/shadow\"", "disks[0].file"),
        ("\"version\": 1", "\"version\": 2", "version"),
        ("\"tool\": \"test 1\"", "\"tool\": \"test 2\"", "seal"),
    ] {
        pair.there.transport.write_file(Path::new(&path), text.replace(from, to).as_bytes(), 0o600).await.unwrap();
        let error = backup_point(&pair.there, &store(), &point("web")).await.unwrap_err();
        assert!(said(&error).contains(&format!("[field {field}]")), "{}", said(&error));
        assert!(pair.verdicts("web").await.is_err());
        assert!(plan_backup_delete(&pair.there, &store(), &point("web")).await.is_err());
        let listed = backups(&pair.there, &store(), None).await.unwrap();
        assert!(listed.len() == 1 && listed[0].manifest.is_err());
    }
    // The next backup is not made upon it.
    pair.clock.sleep(Duration::from_secs(1)).await;
    assert_eq!(pair.back_up("web").await.1, None);
    // One that is whole and another point's.
    let other = "/srv/web/2030-01-01T00-00-01Z/manifest.json";
    let bytes = pair.there.transport.read_file(Path::new(other), Bytes::from_mib(1)).await.unwrap();
    pair.there.transport.write_file(Path::new(&path), &bytes, 0o600).await.unwrap();
    let error = backup_point(&pair.there, &store(), &point(&format!("web/{FIRST}"))).await.unwrap_err();
    assert!(said(&error).contains("[field point]"), "{}", said(&error));
}

#[tokio::test(start_paused = true)]
async fn only_what_is_ours_is_deleted() {
    let pair = Pair::with_helpers().await.unwrap();
    pair.back_up("web").await;
    let notes = format!("/srv/web/{FIRST}/notes.txt");
    pair.there.transport.write_file(Path::new(&notes), b"mine", 0o600).await.unwrap();
    let refused = plan_backup_delete(&pair.there, &store(), &point("web")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidState);
    pair.there.transport.remove_file(Path::new(&notes)).await.unwrap();
    pair.there.transport.write_file(Path::new("/srv/web/readme"), b"mine", 0o600).await.unwrap();
    let (_, plan) = plan_backup_delete(&pair.there, &store(), &point("web")).await.unwrap();
    pair.run_at(plan, &pair.there).await.unwrap();
    assert_eq!(in_store(&pair.target).into_keys().collect::<Vec<_>>(), ["/srv/web/readme"]);
}

#[tokio::test(start_paused = true)]
async fn the_newest_points_stay_and_those_that_nobody_can_read() {
    let pair = Pair::with_helpers().await.unwrap();
    for _ in 0..5 {
        pair.back_up("web").await;
        pair.clock.sleep(Duration::from_secs(60)).await;
    }
    let at = |minute: u32| format!("2030-01-01T00-0{minute}-00Z");
    for damaged in [0, 4] {
        let path = format!("/srv/web/{}/manifest.json", at(damaged));
        pair.there.transport.write_file(Path::new(&path), b"{}", 0o600).await.unwrap();
    }
    let web = "web".parse().unwrap();
    let keep = |count| NonZeroUsize::new(count).unwrap();
    assert!(plan_backup_prune(&pair.there, &store(), &web, keep(3)).await.unwrap().is_none());
    let plan = plan_backup_prune(&pair.there, &store(), &web, keep(1)).await.unwrap().unwrap();
    assert_eq!((plan.steps.len(), plan.reversible), (4, 2), "{plan}");
    pair.run_at(plan, &pair.there).await.unwrap();
    let left = backups(&pair.there, &store(), None).await.unwrap();
    assert_eq!(left.iter().map(|it| it.point.to_string()).collect::<Vec<_>>(), [0, 3, 4].map(at));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_backed_up_is_refused_before_anything_is_written() {
    let pair = Pair::with_helpers().await.unwrap();
    let before = pair.both().await;
    for (vm, begins) in [("saved", "invalid_state [VM saved]"), ("kept", "invalid_state [VM kept]")] {
        let error = pair.plan_backup(vm, &spec()).await.unwrap_err();
        assert!(said(&error).starts_with(begins), "{}", said(&error));
    }
    let nowhere = "/srv/nowhere".parse().unwrap();
    let web = pair.vm("web").await;
    let plan = plan_backup(&pair.here, &pair.there, &nowhere, &web, &spec(), &pair.cx(), &*pair.clock).await;
    assert_eq!(plan.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(backups(&pair.there, &nowhere, None).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(backup_point(&pair.there, &store(), &point("web")).await.unwrap_err().kind(), ErrorKind::NotFound);
    pair.target.run_helper(false).unwrap();
    assert_eq!(pair.plan_backup("web", &spec()).await.unwrap_err().kind(), ErrorKind::Unsupported);
    pair.target.run_helper(true).unwrap();
    assert_eq!(pair.both().await, before);
}

#[tokio::test(start_paused = true)]
async fn whichever_request_fails_there_is_a_whole_point_or_none_and_nothing_is_left() {
    let pair = Pair::with_helpers().await.unwrap();
    pair.target.forget_calls();
    let plan = pair.plan_backup("web", &spec()).await.unwrap().plan;
    let planned = pair.target.calls().len() as u64;
    pair.run_at(plan, &pair.here).await.unwrap();
    let requests = pair.target.calls().len() as u64 - planned;
    assert!(requests > 40, "{requests}");
    for request in 1..=requests {
        let pair = Pair::with_helpers().await.unwrap();
        let before = pair.both().await;
        let plan = pair.plan_backup("web", &spec()).await.unwrap().plan;
        pair.target.inject(Fault::nth(request, ErrorKind::NoSpace));
        let ended = pair.run_at(plan, &pair.here).await;
        match ended {
            Ok(()) => assert!(pair.verdicts("web").await.unwrap().values().all(|it| it == "matches"), "{request}"),
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::NoSpace, "{request}: {}", said(&e));
                assert_eq!(pair.both().await, before, "request {request}");
            }
        }
        pair.assert_nothing_open().await;
    }
}

/// A change of a store, whose every step is made to fail.
struct Storing {
    vm: &'static str,
    is_running: bool,
    /// What is done beforehand.
    is_deleted: bool,
    pair: Mutex<Option<Pair>>,
}

#[async_trait]
impl Scenario for Storing {
    async fn begin(&self) -> Result<(Host, Plan)> {
        let pair = Pair::with_helpers().await?;
        if self.is_running {
            pair.start(self.vm).await?;
        }
        let (host, plan) = match self.is_deleted {
            true => {
                pair.back_up(self.vm).await;
                (pair.there.clone(), plan_backup_delete(&pair.there, &store(), &point(self.vm)).await?.1)
            }
            false => (pair.here.clone(), pair.plan_backup(self.vm, &spec()).await?.plan),
        };
        *self.pair.lock().await = Some(pair);
        Ok((host, plan))
    }

    async fn inventory(&self, _: &Host) -> Result<String> {
        let pair = self.pair.lock().await;
        Ok(pair.as_ref().unwrap().both().await)
    }

    fn catalogue(&self) -> Catalogue {
        self.pair.try_lock().unwrap().as_ref().unwrap().catalogue()
    }
}

#[tokio::test(start_paused = true)]
async fn storing_and_deleting_survive_a_failure_at_every_step() {
    for (vm, is_running, is_deleted, steps) in
        [("web", false, false, 6), ("top", false, false, 5), ("web", true, false, 8), ("web", false, true, 2)]
    {
        let scenario = Storing { vm, is_running, is_deleted, pair: Mutex::new(None) };
        assert_eq!(check(&scenario).await.unwrap().steps, steps, "{vm} {is_running} {is_deleted}");
    }
}
