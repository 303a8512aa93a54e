//! The file store: owners that live and die, torn lines, locks.

use std::fs::{self, OpenOptions};
use std::io::Write as _;

use kvm_core::op::{
    Entry, FileStore, Header, LockKey, MemoryStore, OpId, OpStatus, Owner, PlanLine, Record, StepRecord, Store,
};
use kvm_core::{Capabilities, ErrorKind, SeededEntropy, VmId};

fn capabilities() -> Capabilities {
    Capabilities {
        target: "mock:///a place with / and ?".into(),
        host_uuid: None,
        host_name: "here".into(),
        driver: "mock".into(),
        hypervisor_version: None,
        library_version: None,
        arch: None,
        cpus: None,
        memory: None,
        guests: vec![],
        numa: vec![],
        runs_as: None,
        features: Default::default(),
    }
}

fn key() -> LockKey {
    LockKey { host: capabilities().host_key(), vm: VmId::parse("8fbf2b8e-3b3c-4b1e-9a51-000000000001").unwrap() }
}

fn entry(record: Record) -> Entry {
    Entry { at: "2026-01-02T03:04:05Z".parse().unwrap(), record }
}

fn first(id: &OpId) -> Entry {
    entry(Record::Opened(Box::new(Header {
        version: 1,
        id: id.clone(),
        kind: "vm.create".into(),
        title: "create web".into(),
        target: "mock:///demo".into(),
        locks: vec![key()],
        lines: vec![PlanLine::new("create", "volume", "default/web.qcow2")],
        steps: vec![StepRecord {
            name: "define".into(),
            title: "define web".into(),
            data: serde_json::json!({"x": 1}),
        }],
        reversible: 1,
        owner: Owner { user: "me".into(), pid: 1 },
    })))
}

fn id(seed: u64) -> OpId {
    OpId::random(&SeededEntropy::new(seed))
}

/// Both stores keep the same promises.
async fn for_each_store(check: impl AsyncFn(&dyn Store)) {
    let dir = tempfile::tempdir().unwrap();
    check(&FileStore::open(dir.path()).unwrap()).await;
    check(&MemoryStore::new()).await;
}

#[tokio::test]
async fn a_journal_is_running_while_owned_and_interrupted_after() {
    for_each_store(async |store| {
        let id = id(1);
        let mut journal = store.create(first(&id)).await.unwrap();
        journal.append(&entry(Record::Intent { step: 0 })).await.unwrap();
        assert_eq!(store.view(&id).await.unwrap().status, OpStatus::Running);
        assert_eq!(store.take_over(&id).await.unwrap_err().kind(), ErrorKind::Busy);
        drop(journal);
        assert_eq!(store.view(&id).await.unwrap().status, OpStatus::Interrupted);
        let (view, journal) = store.take_over(&id).await.unwrap();
        assert_eq!(
            view.header,
            match first(&id).record {
                Record::Opened(h) => *h,
                _ => unreachable!(),
            }
        );
        assert_eq!(store.unfinished().await.unwrap()[0].status, OpStatus::Running);
        drop(journal);
    })
    .await;
}

#[tokio::test]
async fn a_finished_journal_moves_and_stays_readable() {
    for_each_store(async |store| {
        let id = id(2);
        let mut journal = store.create(first(&id)).await.unwrap();
        store.request_cancel(&id).await.unwrap();
        assert!(store.cancel_requested(&id).await.unwrap());
        journal.append(&entry(Record::Closed { status: OpStatus::Succeeded, error: None })).await.unwrap();
        journal.finish().await.unwrap();
        assert!(store.unfinished().await.unwrap().is_empty());
        assert_eq!(store.finished().await.unwrap().len(), 1);
        assert_eq!(store.view(&id).await.unwrap().status, OpStatus::Succeeded);
        assert!(!store.cancel_requested(&id).await.unwrap());
        assert_eq!(store.request_cancel(&id).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(store.create(first(&id)).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    })
    .await;
}

#[tokio::test]
async fn a_journal_with_its_last_line_is_finished_although_its_owner_died_before_filing_it() {
    for_each_store(async |store| {
        let id = id(5);
        let mut journal = store.create(first(&id)).await.unwrap();
        journal.append(&entry(Record::Closed { status: OpStatus::Undone, error: None })).await.unwrap();
        drop(journal);
        assert!(store.unfinished().await.unwrap().is_empty());
        assert_eq!(store.finished().await.unwrap()[0].status, OpStatus::Undone);
    })
    .await;
}

#[tokio::test]
async fn a_lock_is_busy_for_others_and_free_after_its_guard() {
    for_each_store(async |store| {
        let guard = store.lock(&key(), &id(3)).await.unwrap();
        let busy = store.lock(&key(), &id(4)).await.unwrap_err();
        assert_eq!(busy.kind(), ErrorKind::Busy);
        assert!(busy.detail().unwrap().contains(id(3).as_str()), "{busy:?}");
        drop(guard);
        store.lock(&key(), &id(4)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_unknown_operation_is_not_found() {
    for_each_store(async |store| {
        assert_eq!(store.view(&id(9)).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(store.take_over(&id(9)).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(store.request_cancel(&id(9)).await.unwrap_err().kind(), ErrorKind::NotFound);
    })
    .await;
}

#[tokio::test]
async fn a_torn_last_line_counts_as_never_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::open(dir.path()).unwrap();
    let id = id(5);
    drop(store.create(first(&id)).await.unwrap());
    let path = dir.path().join(format!("operations/{id}.jsonl"));
    let whole = fs::read(&path).unwrap();
    for torn in ["{", "{\"at\":\"2026-01-02T03:04:05Z\",\"record\":\"intent\",\"step\":0}"] {
        OpenOptions::new().append(true).open(&path).unwrap().write_all(torn.as_bytes()).unwrap();
        let (view, mut journal) = store.take_over(&id).await.unwrap();
        assert_eq!(view.steps, [kvm_core::op::StepState::Pending]);
        journal.append(&entry(Record::Skipped { step: 0 })).await.unwrap();
        drop(journal);
        assert_eq!(store.view(&id).await.unwrap().steps, [kvm_core::op::StepState::Skipped]);
        fs::write(&path, &whole).unwrap();
    }
}

#[tokio::test]
async fn a_journal_of_a_newer_version_is_refused_and_a_broken_one_is_corrupt() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::open(dir.path()).unwrap();
    let id = id(6);
    drop(store.create(first(&id)).await.unwrap());
    let path = dir.path().join(format!("operations/{id}.jsonl"));
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"version\":1", "\"version\":2")).unwrap();
    assert_eq!(store.view(&id).await.unwrap_err().kind(), ErrorKind::Unsupported);
    fs::write(&path, format!("{text}not json\n")).unwrap();
    assert_eq!(store.view(&id).await.unwrap_err().kind(), ErrorKind::Corrupt);
    fs::write(&path, format!("{text}{{\"at\":\"2026-01-02T03:04:05Z\",\"record\":\"done\",\"step\":7}}\n")).unwrap();
    assert_eq!(store.view(&id).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn what_the_store_makes_is_readable_by_its_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::open(dir.path().join("new/state")).unwrap();
    drop(store.create(first(&id(7))).await.unwrap());
    let _lock = store.lock(&key(), &id(7)).await.unwrap();
    for entry in walk(&dir.path().join("new")) {
        let mode = fs::metadata(&entry).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", entry.display());
    }
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![dir.to_owned()];
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found
}
