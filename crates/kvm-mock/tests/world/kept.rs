//! Worlds that are kept in a file, for the next process and those beside.

use futures_util::StreamExt as _;
use kvm_core::{ErrorKind, Existing, MockWorld, PowerAction, VmChange, VmFilter, VmState};
use kvm_mock::Mock;

use crate::{document, manual_clock, named, state, what};

#[tokio::test]
async fn a_kept_world_is_the_same_for_the_next_process_and_for_one_beside() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Mock::open(&MockWorld::Demo, Some(dir.path()), manual_clock()).unwrap();
    let (first, beside) = (open().host(), open().host());
    let web = named(&first, "web-03").await;
    let mut events = beside.hypervisor.events().await.unwrap();
    first.hypervisor.power(&web.id, PowerAction::Start).await.unwrap();
    assert_eq!(state(&beside, &web.id).await, VmState::Running);
    assert_eq!(events.next().await.map(what), Some(VmChange::Resumed));
    assert_eq!(events.next().await.map(what), Some(VmChange::Started));
    beside.hypervisor.power(&web.id, PowerAction::PowerOff).await.unwrap();
    assert_eq!(state(&first, &web.id).await, VmState::Off);
    drop((first, beside));
    assert_eq!(state(&open().host(), &web.id).await, VmState::Off);
    assert_eq!(state(&open().host(), &named(&open().host(), "win11").await.id).await, VmState::Saved);
}

#[tokio::test]
async fn two_handles_of_a_kept_world_lose_none_of_each_others_changes() {
    let dir = tempfile::tempdir().unwrap();
    let threads: Vec<_> = (0..4u8)
        .map(|worker| {
            let dir = dir.path().to_owned();
            std::thread::spawn(move || {
                let mock = Mock::open(&MockWorld::Empty, Some(&dir), manual_clock()).unwrap();
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async {
                    for n in 0..20u8 {
                        let mut document = document(&format!("vm-{worker}-{n}"));
                        document.uuid = Some(uuid::Uuid::from_u128((u128::from(worker) << 64) | (u128::from(n) + 1)));
                        mock.host().hypervisor.define(&document, Existing::Reject).await.unwrap();
                    }
                });
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let host = Mock::open(&MockWorld::Empty, Some(dir.path()), manual_clock()).unwrap().host();
    assert_eq!(host.hypervisor.list(&VmFilter::all()).await.unwrap().len(), 80);
}

#[test]
fn a_damaged_state_file_is_corrupt_and_one_of_another_version_is_unsupported() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Mock::open(&MockWorld::Empty, Some(dir.path()), manual_clock());
    open().unwrap();
    let file = dir.path().join("mock/empty.json");
    let text = std::fs::read_to_string(&file).unwrap();
    for (damaged, kind) in [
        (text[..text.len() - 1].to_owned(), ErrorKind::Corrupt),
        (String::new(), ErrorKind::Corrupt),
        (text.replacen("\"format\":1", "\"format\":2", 1), ErrorKind::Unsupported),
    ] {
        std::fs::write(&file, damaged).unwrap();
        assert_eq!(open().unwrap_err().kind(), kind);
    }
    std::fs::remove_file(&file).unwrap();
    open().unwrap();
}
