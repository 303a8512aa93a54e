//! Machines that are in other images than their documents say, because their hypervisor died on a snapshot.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;

use kvm_core::op::{Direction, OpId, RunContext, Store as _};
use kvm_core::{DiskPath, ErrorKind, Overlay, PowerAction, Progress, Reporter, View};
use kvm_mock::{Fault, Method};
use kvm_vm::{SnapshotScope, plan_snapshot, snapshots};
use tokio_util::sync::CancellationToken;

use super::{AtStep, delete, external, names, pair};
use crate::support::{Bench, context, said};

/// `pair` once its hypervisor has died on a snapshot `a`, after the machine had gone over to the overlays: an open operation, and
/// what the guest wrote since.
async fn stray_pair(bench: &Bench) -> OpId {
    pair(bench).await;
    bench.run(delete(bench, "solo", "a", SnapshotScope::This).await.unwrap()).await.unwrap();
    let vm = bench.vm("solo").await;
    let plan = plan_snapshot(&bench.host, &vm, &external("a")).await.unwrap();
    bench.mock.inject(Fault::next(Method::CreateSnapshot, ErrorKind::Unavailable));
    let cancel = CancellationToken::new();
    let reporter = AtStep("take snapshot", || bench.mock.disconnect().unwrap());
    bench
        .executor()
        .run(plan, RunContext { host: &bench.host, reporter: &reporter, cancel: &cancel })
        .await
        .unwrap_err();
    bench.mock.reconnect().unwrap();
    for disk in ["vda", "vdb"] {
        let path = DiskPath::parse(&format!("/images/solo-{disk}.a.qcow2")).unwrap();
        bench.mock.stray(&vm.id, &Overlay { disk: disk.parse().unwrap(), path }).unwrap();
        bench.mock.write_at(&format!("/images/solo-{disk}.a.qcow2"), 2 << 20, b"since").unwrap();
    }
    bench.host.transport.write_file(Path::new("/images/solo.a.mem"), b"half", 0o600).await.unwrap();
    bench.store.unfinished().await.unwrap()[0].header.id.clone()
}

/// The images at the bottom hold what the guest wrote, and it goes on in images that the documents name.
async fn assert_nothing_is_lost(bench: &Bench) {
    for (image, word) in [("free", "vda"), ("two", "vdb")] {
        for (offset, word) in [(1 << 20, word), (2 << 20, "since")] {
            let read = bench.mock.read_at(&format!("/images/{image}.qcow2"), offset, word.len()).unwrap();
            assert_eq!(read, word.as_bytes(), "{image}");
        }
    }
    let id = bench.vm("solo").await.id;
    let document = bench.host.hypervisor.definition(&id, View::LIVE).await.unwrap();
    let named = document.devices.unwrap().disk.into_iter().filter_map(|disk| disk.source?.file);
    let mut images: BTreeSet<_> = named.map(|file| DiskPath::parse(&file).unwrap()).collect();
    images.extend(["/images/free.qcow2", "/images/two.qcow2"].map(|path| DiskPath::parse(path).unwrap()));
    assert_eq!(snapshots(&bench.host).unwrap().open_images(&id).await.unwrap().all, images);
}

#[tokio::test(start_paused = true)]
async fn a_machine_in_overlays_that_nobody_knows_of_comes_back_with_all_that_it_wrote() {
    for direction in [Direction::Forward, Direction::Back] {
        let bench = Bench::new();
        let id = stray_pair(&bench).await;
        bench.mock.inject(Fault::next(Method::OpenImages, ErrorKind::Busy));
        bench.executor().finish(&id, direction, context(&bench.host, &CancellationToken::new())).await.unwrap();
        assert_nothing_is_lost(&bench).await;
        let files = bench.mock.files().unwrap();
        let is_there = |file: &str| files.contains_key(&format!("/images/{file}"));
        let taken = direction == Direction::Forward;
        assert_eq!(names(&bench, "solo").await, if taken { vec!["a*"] } else { vec![] });
        for file in ["solo-vda.a.qcow2", "solo-vdb.a.qcow2", "solo.a.mem"] {
            assert_eq!(is_there(file), taken, "{file}");
        }
        bench.assert_nothing_open().await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_whichever_call_fails_while_a_machine_is_brought_back() {
    for direction in [Direction::Forward, Direction::Back] {
        for nth in 1.. {
            let bench = Bench::new();
            let id = stray_pair(&bench).await;
            bench.mock.inject(Fault::nth(nth, ErrorKind::Internal));
            let cancel = CancellationToken::new();
            let finish = async || bench.executor().finish(&id, direction, context(&bench.host, &cancel)).await;
            bench.mock.forget_calls();
            let ended = finish().await;
            if (bench.mock.calls().len() as u64) < nth {
                assert!(nth > 20, "{nth} calls are too few");
                break;
            }
            if ended.is_err() {
                let again = bench.executor().finish(&id, Direction::Back, context(&bench.host, &cancel)).await;
                // Where it was taken back after all, nothing is left to do.
                assert!(again.is_ok() || bench.store.unfinished().await.unwrap().is_empty(), "{nth}: {again:?}");
            }
            assert_nothing_is_lost(&bench).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_cannot_be_brought_back_must_not_be_powered_off_and_the_error_says_so() {
    let bench = Bench::new();
    let id = stray_pair(&bench).await;
    bench.mock.inject(Fault::next(Method::LeaveOverlay, ErrorKind::InvalidState));
    let cancel = CancellationToken::new();
    let finish = async || bench.executor().finish(&id, Direction::Back, context(&bench.host, &cancel)).await;
    let said = said(&finish().await.unwrap_err());
    for word in [
        "invalid_state [VM solo]",
        "solo has /images/solo-vda.a.qcow2 open",
        "let the VM run until",
        "edit the definition",
    ] {
        assert!(said.contains(word), "{said}");
    }
    finish().await.unwrap();
    assert_nothing_is_lost(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn overlays_that_a_machine_was_powered_off_in_stay_with_what_they_hold() {
    let bench = Bench::new();
    let id = stray_pair(&bench).await;
    let vm = bench.vm("solo").await.id;
    for action in [PowerAction::PowerOff, PowerAction::Start] {
        bench.host.hypervisor.power(&vm, action).await.unwrap();
    }
    bench.executor().finish(&id, Direction::Back, context(&bench.host, &CancellationToken::new())).await.unwrap();
    for disk in ["vda", "vdb"] {
        let overlay = format!("/images/solo-{disk}.a.qcow2");
        assert_eq!(bench.mock.read_at(&overlay, 2 << 20, 5).unwrap(), b"since");
    }
    assert!(bench.mock.files().unwrap().contains_key("/images/solo.a.mem"));
}

/// `pair` once its hypervisor has died on the deletion of its snapshot, after the first disk had gone back to the image
/// below, and what the guest wrote since.
async fn half_merged_pair(bench: &Bench) {
    pair(bench).await;
    let vm = bench.vm("solo").await;
    let path = DiskPath::parse("/images/solo-vda.a.qcow2").unwrap();
    bench.mock.leave_unnoticed(&vm.id, &Overlay { disk: "vda".parse().unwrap(), path }).unwrap();
    bench.mock.write_at("/images/free.qcow2", 2 << 20, b"since").unwrap();
}

#[derive(Debug, Default)]
struct Warned(Mutex<Vec<String>>);

impl Reporter for Warned {
    fn report(&self, progress: &Progress) {
        if let Progress::Warning { message } = progress {
            self.0.lock().unwrap().push(message.clone());
        }
    }
}

/// Both disks hold what was written to them, and the next start finds it.
async fn assert_merged(bench: &Bench) {
    for (image, offset, word) in [("free", 1 << 20, &b"vda"[..]), ("free", 2 << 20, b"since"), ("two", 1 << 20, b"vdb")]
    {
        let read = bench.mock.read_at(&format!("/images/{image}.qcow2"), offset, word.len()).unwrap();
        assert_eq!(read, word, "{image}");
    }
    let vm = bench.vm("solo").await.id;
    let document = bench.host.hypervisor.definition(&vm, View::CONFIG).await.unwrap();
    let named: Vec<_> = document.devices.unwrap().disk.into_iter().filter_map(|disk| disk.source?.file).collect();
    assert_eq!(named, ["/images/free.qcow2", "/images/two.qcow2"]);
    let opened = snapshots(&bench.host).unwrap().open_images(&vm).await.unwrap();
    assert_eq!(opened.all.iter().map(DiskPath::as_str).collect::<Vec<_>>(), named);
    assert!(!bench.mock.files().unwrap().keys().any(|file| file.contains(".a.")));
    assert!(names(bench, "solo").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_merge_that_its_hypervisor_did_not_notice_is_written_down_and_the_others_are_done() {
    let bench = Bench::new();
    half_merged_pair(&bench).await;
    let plan = delete(&bench, "solo", "a", SnapshotScope::This).await.unwrap();
    let (warned, cancel) = (Warned::default(), CancellationToken::new());
    bench.executor().run(plan, RunContext { host: &bench.host, reporter: &warned, cancel: &cancel }).await.unwrap();
    let warned = warned.0.into_inner().unwrap();
    assert!(warned[0].starts_with("disk vda of solo is shown in /images/solo-vda.a.qcow2 until"), "{warned:?}");
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert_merged(&bench).await;
    bench.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn a_merge_is_completed_whichever_call_fails_meanwhile() {
    for nth in 1.. {
        let bench = Bench::new();
        half_merged_pair(&bench).await;
        let plan = delete(&bench, "solo", "a", SnapshotScope::This).await.unwrap();
        bench.mock.inject(Fault::nth(nth, ErrorKind::Internal));
        bench.mock.forget_calls();
        let ended = bench.run(plan).await;
        if (bench.mock.calls().len() as u64) < nth {
            assert!(nth > 15, "{nth} calls are too few");
            break;
        }
        if ended.is_err() {
            for open in bench.store.unfinished().await.unwrap() {
                let cancel = CancellationToken::new();
                let cx = context(&bench.host, &cancel);
                bench.executor().finish(&open.header.id, Direction::Forward, cx).await.unwrap();
            }
            if !names(&bench, "solo").await.is_empty() {
                bench.run(delete(&bench, "solo", "a", SnapshotScope::This).await.unwrap()).await.unwrap();
            }
        }
        assert_merged(&bench).await;
    }
}
