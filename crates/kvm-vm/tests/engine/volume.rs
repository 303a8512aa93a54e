//! Volumes that come, go, are copied and change.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use kvm_core::op::template::{Scenario, check};
use kvm_core::op::{Catalogue, Direction, Plan, RunContext, Store as _};
use kvm_core::{
    Bytes, Error, ErrorKind, Existing, Holes, Host, Piece, Progress, Reporter, Resize, Result, SeededEntropy,
    WipePattern,
};
use kvm_mock::{Fault, Method, Mock};
use kvm_vm::{
    Download, ImageCheck, InUse, Sharing, Upload, Verify, VolumeCopy, VolumeFormat, VolumeRef, plan_download,
    plan_upload, plan_volume_copy, resize_volume, volume_uses, wipe_volume,
};
use kvm_xml::Document as _;
use tokio_util::sync::CancellationToken;

use crate::support::{Bench, catalogue, said};

fn volume(text: &str) -> VolumeRef {
    text.parse().unwrap()
}

/// Three mebibytes: data, a hole, data that ends in the middle of a block.
fn content() -> Vec<u8> {
    let mut bytes = vec![0; 3 << 20];
    bytes[..70_000].fill(7);
    bytes.truncate((3 << 20) - 1000);
    let end = bytes.len();
    bytes[end - 5000..].fill(9);
    bytes
}

/// A file with holes where the content has zeros.
fn sparse_file(dir: &Path) -> PathBuf {
    use std::os::unix::fs::FileExt as _;
    let (path, bytes) = (dir.join("image.raw"), content());
    let file = fs::File::create(&path).unwrap();
    file.write_all_at(&bytes[..70_000], 0).unwrap();
    file.write_all_at(&bytes[bytes.len() - 5000..], bytes.len() as u64 - 5000).unwrap();
    path
}

fn upload(to: &str, file: &Path) -> Upload {
    Upload {
        volume: volume(to),
        file: file.to_owned(),
        existing: Existing::Reject,
        holes: Holes::Keep,
        verify: Verify::ReadBack,
        check: ImageCheck::Complete,
    }
}

fn download(from: &str, file: &Path) -> Download {
    Download {
        volume: volume(from),
        file: file.to_owned(),
        existing: Existing::Reject,
        holes: Holes::Keep,
        verify: Verify::ReadBack,
        in_use: InUse::Refuse,
    }
}

fn copy(from: &str, to: &str) -> VolumeCopy {
    VolumeCopy { from: volume(from), to: volume(to), format: None, size: None, sharing: Sharing::Auto }
}

async fn run_upload(bench: &Bench, wanted: &Upload) -> Result<()> {
    bench.run(plan_upload(&bench.host, wanted).await?).await
}

async fn run_download(bench: &Bench, wanted: &Download) -> Result<()> {
    bench.run(plan_download(&bench.host, wanted, &SeededEntropy::new(5)).await?).await
}

async fn run_copy(bench: &Bench, wanted: &VolumeCopy) -> Result<()> {
    bench.run(plan_volume_copy(&bench.host, wanted).await?).await
}

fn listing(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(start_paused = true)]
async fn a_file_goes_up_and_comes_down_again_with_its_holes() {
    let (bench, dir) = (Bench::new(), tempfile::tempdir().unwrap());
    let file = sparse_file(dir.path());
    let plan = plan_upload(&bench.host, &upload("default/new.raw", &file)).await.unwrap();
    let shown = plan.to_string();
    assert!(shown.contains("create  volume  default/new.raw"), "{shown}");
    assert_eq!(plan.reversible, 2);
    bench.run(plan).await.unwrap();
    let about = bench.host.storage.find_volume(&"default".parse().unwrap(), &"new.raw".parse().unwrap()).await.unwrap();
    assert_eq!((about.capacity.get(), about.format.as_deref()), (content().len() as u64, Some("raw")));
    assert!(about.allocation < Bytes::from_mib(1), "{about:?}");

    let back = dir.path().join("back.raw");
    run_download(&bench, &download("default/new.raw", &back)).await.unwrap();
    assert!(fs::read(&back).unwrap() == content());
    use std::os::unix::fs::MetadataExt as _;
    assert!(fs::metadata(&back).unwrap().blocks() * 512 < 1 << 20);
    assert_eq!(listing(dir.path()), ["back.raw", "image.raw"]);
    bench.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn zeros_are_sent_where_holes_are_not_wanted() {
    let (bench, dir) = (Bench::new(), tempfile::tempdir().unwrap());
    let file = sparse_file(dir.path());
    run_upload(&bench, &Upload { holes: Holes::Fill, ..upload("default/new.raw", &file) }).await.unwrap();
    assert_eq!(bench.mock.files().unwrap()["/images/new.raw"].allocated.get(), content().len() as u64);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_uploaded_is_refused_before_anything_is_made() {
    let (bench, dir) = (Bench::new(), tempfile::tempdir().unwrap());
    let before = bench.picture().await;
    let (file, big) = (sparse_file(dir.path()), dir.path().join("big"));
    let refused = async |wanted: Upload| plan_upload(&bench.host, &wanted).await.unwrap_err().kind();
    assert_eq!(refused(upload("default/free.qcow2", &file)).await, ErrorKind::AlreadyExists);
    assert_eq!(refused(upload("nowhere/a", &file)).await, ErrorKind::NotFound);
    assert_eq!(refused(upload("archive/a", &file)).await, ErrorKind::InvalidState);
    assert_eq!(refused(upload("default/a", &dir.path().join("absent"))).await, ErrorKind::NotFound);
    assert_eq!(refused(upload("default/a", dir.path())).await, ErrorKind::InvalidInput);
    fs::File::create(&big).unwrap().set_len(1 << 40).unwrap();
    // All of it is a hole, so there is room for it, unless the hole is to be filled.
    plan_upload(&bench.host, &upload("default/a", &big)).await.unwrap();
    // Upon a host's file: the host would read it for whoever made the image.
    let (overlay, mut header) = (dir.path().join("overlay"), vec![0_u8; 1 << 16]);
    header[..4].copy_from_slice(b"QFI\xfb");
    header[4..8].copy_from_slice(&3_u32.to_be_bytes());
    header[8..16].copy_from_slice(&1024_u64.to_be_bytes());
    header[16..20].copy_from_slice(&11_u32.to_be_bytes());
    header[20..24].copy_from_slice(&16_u32.to_be_bytes());
    header[24..32].copy_from_slice(&(1_u64 << 30).to_be_bytes());
    header[100..104].copy_from_slice(&104_u32.to_be_bytes());
    header[1024..1035].copy_from_slice(b"/etc/shadow");
    fs::write(&overlay, header).unwrap();
    let e = plan_upload(&bench.host, &upload("default/a", &overlay)).await.unwrap_err();
    assert!(matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::Corrupt), "{}", said(&e));
    let unchecked = Upload { check: ImageCheck::None, ..upload("default/a", &overlay) };
    plan_upload(&bench.host, &unchecked).await.unwrap();
    assert_eq!(bench.picture().await, before);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let (bench, dir) = (Bench::new(), tempfile::tempdir().unwrap());
    let file = sparse_file(dir.path());
    let before = bench.picture().await;
    // Each call from the first to the last in turn: there is one that does not come any more.
    let mut broken = 1;
    loop {
        let plan = plan_upload(&bench.host, &upload("default/new.raw", &file)).await.unwrap();
        bench.mock.forget_calls();
        bench.mock.inject(Fault::nth(broken, ErrorKind::Unavailable));
        let ended = bench.run(plan).await;
        if (bench.mock.calls().len() as u64) < broken {
            break ended.unwrap();
        }
        // A pool that cannot look again at what it has is no reason to fail.
        if let Err(e) = ended {
            assert_eq!(e.kind(), ErrorKind::Unavailable, "{}", said(&e));
            assert_eq!(bench.picture().await, before, "call {broken}");
        } else {
            bench.host.storage.delete_volume(&"default".parse().unwrap(), &"new.raw".parse().unwrap()).await.unwrap();
        }
        broken += 1;
    }
    assert!(broken > 8, "{broken}");
    bench.assert_nothing_open().await;
}

/// Cancels as soon as something has been moved.
#[derive(Debug)]
struct CancelWhenMoved(CancellationToken);

impl Reporter for CancelWhenMoved {
    fn report(&self, progress: &Progress) {
        if matches!(progress, Progress::Moved { .. }) {
            self.0.cancel();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_transfer_that_is_cancelled_leaves_nothing() {
    let (bench, dir) = (Bench::new(), tempfile::tempdir().unwrap());
    let file = sparse_file(dir.path());
    run_upload(&bench, &upload("default/there.raw", &file)).await.unwrap();
    let before = (bench.picture().await, listing(dir.path()));
    let back = dir.path().join("back.raw");
    for plan in [
        plan_upload(&bench.host, &upload("default/new.raw", &file)).await.unwrap(),
        plan_download(&bench.host, &download("default/there.raw", &back), &SeededEntropy::new(5)).await.unwrap(),
    ] {
        let cancel = CancellationToken::new();
        let reporter = CancelWhenMoved(cancel.clone());
        let cx = RunContext { host: &bench.host, reporter: &reporter, cancel: &cancel };
        let e = bench.executor().run(plan, cx).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Cancelled, "{}", said(&e));
        assert_eq!((bench.picture().await, listing(dir.path())), before);
    }
    bench.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn a_volume_gives_way_only_when_nobody_needs_it() {
    let (bench, dir) = (Bench::new(), tempfile::tempdir().unwrap());
    let file = sparse_file(dir.path());
    let replace = |to: &str| Upload { existing: Existing::Replace, ..upload(to, &file) };
    for (to, why) in [("default/build-01.qcow2", "active"), ("default/base.qcow2", "backing file")] {
        let e = plan_upload(&bench.host, &replace(to)).await.unwrap_err();
        assert!(e.kind() == ErrorKind::InvalidState && said(&e).contains(why), "{}", said(&e));
    }
    // A machine that is off gets another disk under the same name.
    let plan = plan_upload(&bench.host, &replace("default/db.qcow2")).await.unwrap();
    assert_eq!(plan.reversible, 0, "there is no way back");
    bench.run(plan).await.unwrap();
    let (about, uses) = volume_uses(&bench.host, &volume("default/db.qcow2")).await.unwrap();
    assert_eq!((about.format.as_deref(), uses.as_deref()), (Some("raw"), Some("used by db")));
    // Where there is none, replacing is making.
    run_upload(&bench, &replace("default/new.raw")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_file_is_replaced_only_when_it_gives_way_and_only_by_a_whole_one() {
    let (bench, dir) = (Bench::new(), tempfile::tempdir().unwrap());
    let file = sparse_file(dir.path());
    run_upload(&bench, &upload("default/new.raw", &file)).await.unwrap();
    let old = dir.path().join("old");
    fs::write(&old, "old").unwrap();
    let e = plan_download(&bench.host, &download("default/new.raw", &old), &SeededEntropy::new(5)).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::AlreadyExists);
    let replace = Download { existing: Existing::Replace, ..download("default/new.raw", &old) };
    bench.mock.inject(Fault::next(Method::DownloadVolume, ErrorKind::Unavailable));
    assert_eq!(run_download(&bench, &replace).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!((fs::read(&old).unwrap(), listing(dir.path()).len()), (b"old".to_vec(), 2));
    run_download(&bench, &replace).await.unwrap();
    assert!(fs::read(&old).unwrap() == content());
}

#[tokio::test(start_paused = true)]
async fn what_a_machine_works_on_is_read_only_when_told_so() {
    let (bench, dir) = (Bench::new(), tempfile::tempdir().unwrap());
    let wanted = download("default/build-01-data.img", &dir.path().join("a"));
    let plan = async |wanted: &Download| plan_download(&bench.host, wanted, &SeededEntropy::new(5)).await;
    assert_eq!(plan(&wanted).await.unwrap_err().kind(), ErrorKind::InvalidState);
    plan(&Download { in_use: InUse::Allow, ..wanted }).await.unwrap();
    // Nobody writes to a medium.
    plan(&download("iso/debian.iso", &dir.path().join("a"))).await.unwrap();
    let shown = plan(&download("default/db.qcow2", &dir.path().join("a"))).await.unwrap().to_string();
    assert!(shown.contains("leave     backing file  /images/base.qcow2"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn copies_are_complete_and_in_the_wanted_format() {
    let (bench, dir) = (Bench::new(), tempfile::tempdir().unwrap());
    let file = sparse_file(dir.path());
    run_upload(&bench, &upload("default/a.raw", &file)).await.unwrap();
    let qcow2 = VolumeCopy { format: Some(VolumeFormat::Qcow2), ..copy("default/a.raw", "iso/a.qcow2") };
    run_copy(&bench, &qcow2).await.unwrap();
    let raw = VolumeCopy { format: Some(VolumeFormat::Raw), ..copy("iso/a.qcow2", "default/again.raw") };
    run_copy(&bench, &raw).await.unwrap();
    run_copy(&bench, &copy("default/again.raw", "default/third.raw")).await.unwrap();
    let back = dir.path().join("back.raw");
    run_download(&bench, &download("default/third.raw", &back)).await.unwrap();
    let mut wanted = content();
    wanted.resize(fs::metadata(&back).unwrap().len() as usize, 0);
    assert!(fs::read(&back).unwrap() == wanted);

    // An overlay's copy lies upon nothing.
    run_copy(&bench, &copy("default/db.qcow2", "default/db-2.qcow2")).await.unwrap();
    let pool = "default".parse().unwrap();
    let about = bench.host.storage.find_volume(&pool, &"db-2.qcow2".parse().unwrap()).await.unwrap();
    assert_eq!((about.capacity, about.backing), (Bytes::from_gib(40), None));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_copied_is_refused_before_anything_is_made() {
    let bench = Bench::new();
    let before = bench.picture().await;
    let refused = async |wanted: VolumeCopy| plan_volume_copy(&bench.host, &wanted).await.unwrap_err().kind();
    assert_eq!(refused(copy("default/absent", "default/a")).await, ErrorKind::NotFound);
    assert_eq!(refused(copy("default/free.qcow2", "default/db.qcow2")).await, ErrorKind::AlreadyExists);
    assert_eq!(refused(copy("default/build-01.qcow2", "default/a")).await, ErrorKind::InvalidState);
    assert_eq!(refused(copy("default/free.qcow2", "archive/a")).await, ErrorKind::InvalidState);
    let small = VolumeCopy { size: Some(Bytes::GIB), ..copy("default/free.qcow2", "default/a") };
    assert_eq!(refused(small).await, ErrorKind::InvalidInput);
    let shared = VolumeCopy { sharing: Sharing::Always, ..copy("default/free.qcow2", "default/a") };
    assert_eq!(run_copy(&bench, &shared).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(bench.picture().await, before);
}

#[tokio::test(start_paused = true)]
async fn sizes_and_content_change_only_where_it_hurts_nobody() {
    let bench = Bench::new();
    let (free, base, busy) =
        (volume("default/free.qcow2"), volume("default/base.qcow2"), volume("default/build-01.qcow2"));
    let grown = resize_volume(&bench.host, &free, Bytes::from_gib(9), Resize::Grow).await.unwrap();
    assert_eq!(grown, Bytes::from_gib(5));
    let kind = |e: Result<Bytes>| e.unwrap_err().kind();
    assert_eq!(kind(resize_volume(&bench.host, &free, Bytes::GIB, Resize::Grow).await), ErrorKind::InvalidInput);
    resize_volume(&bench.host, &free, Bytes::GIB, Resize::Shrink).await.unwrap();
    assert_eq!(kind(resize_volume(&bench.host, &base, Bytes::GIB, Resize::Shrink).await), ErrorKind::InvalidState);
    assert_eq!(
        kind(resize_volume(&bench.host, &busy, Bytes::from_gib(99), Resize::Grow).await),
        ErrorKind::InvalidState
    );
    for volume in [&base, &busy] {
        let e = wipe_volume(&bench.host, volume, WipePattern::Zero).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidState);
    }
    wipe_volume(&bench.host, &free, WipePattern::Zero).await.unwrap();
    let (about, _) = volume_uses(&bench.host, &free).await.unwrap();
    assert_eq!(about.format.as_deref(), Some("raw"));
    let content = bench.host.storage.content().unwrap();
    let mut reader = content.download(&free.pool, &free.volume, Holes::Keep).await.unwrap();
    while let Some(piece) = reader.next().await.unwrap() {
        assert!(!matches!(piece, Piece::Data(data) if data.iter().any(|byte| *byte != 0)));
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_does_not_go_on_with_another_file() {
    let (bench, dir) = (Bench::new(), tempfile::tempdir().unwrap());
    let file = sparse_file(dir.path());
    let before = bench.picture().await;
    let plan = plan_upload(&bench.host, &upload("default/new.raw", &file)).await.unwrap();
    fs::write(&file, "another one").unwrap();
    let e = bench.run(plan).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Corrupt, "{}", said(&e));
    assert_eq!(bench.picture().await, before);
}

#[tokio::test(start_paused = true)]
async fn an_upload_in_place_of_another_volume_goes_forward_only() {
    let (bench, dir) = (Bench::new(), tempfile::tempdir().unwrap());
    let file = sparse_file(dir.path());
    let wanted = Upload { existing: Existing::Replace, ..upload("default/free.qcow2", &file) };
    let plan = plan_upload(&bench.host, &wanted).await.unwrap();
    bench.mock.inject(Fault::next(Method::UploadVolume, ErrorKind::Unavailable));
    bench.run(plan).await.unwrap_err();
    let open = bench.store.unfinished().await.unwrap();
    let [view] = open.as_slice() else { panic!("{open:?}") };
    let cancel = CancellationToken::new();
    let cx = crate::support::context(&bench.host, &cancel);
    bench.executor().finish(&view.header.id, Direction::Forward, cx).await.unwrap();
    let back = dir.path().join("back.raw");
    run_download(&bench, &download("default/free.qcow2", &back)).await.unwrap();
    assert!(fs::read(&back).unwrap() == content());
}

/// A transfer or a copy, with the host and a directory of this machine in the picture.
struct Template {
    kind: Kind,
    world: Mutex<Option<(Mock, Arc<tempfile::TempDir>)>>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Upload,
    Replace,
    Download(Existing),
    Copy,
}

#[async_trait]
impl Scenario for Template {
    async fn begin(&self) -> Result<(Host, Plan)> {
        let (bench, dir) = (Bench::new(), Arc::new(tempfile::tempdir().unwrap()));
        let file = sparse_file(dir.path());
        let plan = match self.kind {
            Kind::Upload => plan_upload(&bench.host, &upload("default/new.raw", &file)).await?,
            Kind::Replace => {
                let wanted = Upload { existing: Existing::Replace, ..upload("default/free.qcow2", &file) };
                plan_upload(&bench.host, &wanted).await?
            }
            Kind::Download(existing) => {
                let document = format!(
                    "<volume><name>there.raw</name><capacity>{}</capacity><allocation>0</allocation></volume>",
                    content().len()
                );
                let document = kvm_xml::StorageVolume::from_xml(&document).unwrap();
                bench.host.storage.create_volume(&"default".parse()?, &document).await?;
                bench.mock.write_at("/images/there.raw", 0, &content())?;
                let to = dir.path().join("back.raw");
                if existing == Existing::Replace {
                    fs::write(&to, "old").unwrap();
                }
                let wanted = Download { existing, ..download("default/there.raw", &to) };
                plan_download(&bench.host, &wanted, &SeededEntropy::new(5)).await?
            }
            Kind::Copy => plan_volume_copy(&bench.host, &copy("default/free.qcow2", "default/new.qcow2")).await?,
        };
        *self.world.lock().unwrap() = Some((bench.mock.clone(), dir));
        Ok((bench.host, plan))
    }

    async fn inventory(&self, host: &Host) -> Result<String> {
        let (mock, dir) = self.world.lock().unwrap().clone().unwrap();
        let mut picture = crate::support::picture(host, &mock).await?;
        for name in listing(dir.path()) {
            let bytes = fs::read(dir.path().join(&name)).map_err(|e| Error::internal("unread").with_source(e))?;
            picture += &format!("\n{name} {} {}", bytes.len(), bytes == content());
        }
        Ok(picture)
    }

    fn catalogue(&self) -> Catalogue {
        catalogue()
    }
}

#[tokio::test(start_paused = true)]
async fn every_transfer_ends_before_or_after_whatever_fails_at_whatever_step() {
    for (kind, steps) in [
        (Kind::Upload, 2),
        (Kind::Replace, 3),
        (Kind::Download(Existing::Reject), 2),
        (Kind::Download(Existing::Replace), 2),
        (Kind::Copy, 1),
    ] {
        let coverage = check(&Template { kind, world: Mutex::new(None) }).await;
        assert_eq!(coverage.unwrap_or_else(|e| panic!("{kind:?}: {e:?}")).steps, steps, "{kind:?}");
    }
}
