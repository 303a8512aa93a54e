//! Pools that are made of many things, and taken down.

use std::sync::Mutex;

use async_trait::async_trait;
use kvm_core::op::template::{Scenario, check};
use kvm_core::op::{Catalogue, Plan};
use kvm_core::{Autostart, Build, ErrorKind, Host, Resource, Result};
use kvm_mock::Mock;
use kvm_vm::{PoolData, PoolKind, PoolSpec, SourceAuth, discover_pools, orphans, plan_pool_create, plan_pool_delete};
use kvm_xml::Document as _;

use crate::support::{Bench, catalogue, said};

fn spec(kind: PoolKind, words: &[(&str, &str)]) -> PoolSpec {
    let mut spec = PoolSpec::new("new".parse().unwrap(), kind);
    for (word, value) in words {
        match *word {
            "target" => spec.target = Some(value.parse().unwrap()),
            "device" => spec.devices.push(value.parse().unwrap()),
            "host" => spec.hosts.push(value.parse().unwrap()),
            "dir" => spec.dir = Some(value.parse().unwrap()),
            "name" => spec.source_name = Some(value.parse().unwrap()),
            "format" => spec.format = Some((*value).to_owned()),
            "initiator" => spec.initiator = Some(value.parse().unwrap()),
            _ => {
                let (user, secret) = value.split_once('=').unwrap();
                spec.auth = Some(SourceAuth { user: user.parse().unwrap(), secret: secret.parse().unwrap() });
            }
        }
    }
    spec
}

const IQN: &str = "iqn.2024-01.org.example:storage.disk1";

/// Each kind with the fewest words that do.
fn least() -> Vec<(PoolKind, Vec<(&'static str, &'static str)>)> {
    vec![
        (PoolKind::Dir, vec![("target", "/srv/a")]),
        (PoolKind::Fs, vec![("target", "/srv/a"), ("device", "/dev/sdb1")]),
        (PoolKind::Netfs, vec![("target", "/srv/a"), ("host", "nas"), ("dir", "/export/vm")]),
        (PoolKind::Logical, vec![("name", "vg0")]),
        (PoolKind::Disk, vec![("device", "/dev/disk/by-id/ata-1")]),
        (PoolKind::Iscsi, vec![("host", "san:3260"), ("device", IQN)]),
        (PoolKind::IscsiDirect, vec![("host", "san"), ("device", IQN), ("initiator", "iqn.2024-01.org.example:me")]),
        (PoolKind::Rbd, vec![("host", "mon1"), ("name", "vms")]),
        (PoolKind::Zfs, vec![("name", "tank/vms")]),
    ]
}

#[test]
fn every_kind_has_a_document_that_is_in_order() {
    assert_eq!(least().len(), PoolKind::ALL.len());
    for (kind, words) in least() {
        let document = spec(kind, &words).document().unwrap();
        let xml = document.to_xml();
        assert!(xml.contains(&format!("<pool type='{kind}'>")), "{xml}");
        for (_, value) in &words {
            assert!(xml.contains(value.strip_suffix(":3260").unwrap_or(value)), "{value} in {xml}");
        }
        assert_eq!(document.validate(), [], "{xml}");
    }
}

#[test]
fn every_word_that_is_missing_is_named() {
    for (kind, words) in least() {
        for left_out in 0..words.len() {
            let mut fewer = words.clone();
            let (word, _) = fewer.remove(left_out);
            let e = spec(kind, &fewer).document().unwrap_err();
            let field = e.resource().unwrap().to_string();
            assert!(e.kind() == ErrorKind::InvalidInput && field.contains(word), "{kind} without {word}: {}", said(&e));
        }
    }
}

#[test]
fn words_that_a_kind_does_not_know_are_refused() {
    let all = [
        ("target", "/srv/a"),
        ("device", "/dev/sdb"),
        ("host", "nas"),
        ("dir", "/export"),
        ("name", "vg0"),
        ("format", "ext4"),
        ("initiator", IQN),
        ("auth", "me=secret"),
    ];
    let mut refused = 0;
    for (kind, words) in least() {
        for extra in all.iter().filter(|extra| words.iter().all(|(word, _)| *word != extra.0)) {
            let e = match spec(kind, &[words.as_slice(), &[*extra]].concat()).document() {
                Ok(_) => continue,
                Err(e) => e,
            };
            assert!(matches!(e.resource(), Some(Resource::Field(_))), "{}", said(&e));
            refused += 1;
        }
    }
    assert!(refused > 30, "{refused}");
    for (kind, extra) in [
        (PoolKind::Fs, ("device", "/dev/sdc")),
        (PoolKind::Netfs, ("host", "nas2")),
        (PoolKind::Fs, ("format", "gpt")),
        (PoolKind::Logical, ("device", IQN)),
    ] {
        let words = least().into_iter().find(|(other, _)| *other == kind).unwrap().1;
        assert!(spec(kind, &[words, vec![extra]].concat()).document().is_err(), "{kind} {extra:?}");
    }
    // Files in a directory of the system are no disks.
    for target in ["/etc", "/dev/shm", "/proc/1"] {
        assert!(spec(PoolKind::Dir, &[("target", target)]).document().is_err(), "{target}");
    }
    // As many as there are.
    let rbd = spec(PoolKind::Rbd, &[("host", "a"), ("host", "[::1]:6789"), ("name", "p"), ("auth", "me=ceph")]);
    let xml = rbd.document().unwrap().to_xml();
    assert!(xml.contains("type='ceph'") && xml.contains("port='6789'") && xml.contains("usage='ceph'"), "{xml}");
}

#[test]
fn hostile_words_are_refused() {
    for text in ["", "-rf", "/dev/../etc/shadow", "/dev//sda", "/etc/shadow", "/dev/sd a", "/dev/-a", "iqn.", "iqn.a b"]
    {
        assert!(text.parse::<kvm_vm::SourceDevice>().is_err(), "{text:?}");
    }
    for text in ["", "-vg", "a/../b", "a b", "../x", "$(id)", "a\nb", "/abs"] {
        assert!(text.parse::<kvm_vm::SourceName>().is_err(), "{text:?}");
    }
    for text in ["", "/a/../b", "//a", "/a\nb", "/-o"] {
        assert!(text.parse::<kvm_vm::SourceDir>().is_err(), "{text:?}");
    }
    for text in ["", "-oProxyCommand=x", "nas:0", "nas:99999", "a b", "nas;id"] {
        assert!(text.parse::<kvm_vm::SourceHost>().is_err(), "{text:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_is_deleted_with_its_data_only_when_nobody_needs_it() {
    let bench = Bench::new();
    let pool = |name: &str| name.parse().unwrap();
    let e = plan_pool_delete(&bench.host, &pool("default"), PoolData::Destroy).await.unwrap_err();
    assert!(e.kind() == ErrorKind::InvalidState && said(&e).contains("used by"), "{}", said(&e));
    let e = plan_pool_delete(&bench.host, &pool("default"), PoolData::Keep).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidState);
    let e = plan_pool_delete(&bench.host, &pool("archive"), PoolData::Destroy).await.unwrap_err();
    assert!(said(&e).contains("start it first"), "{}", said(&e));
    let keep = plan_pool_delete(&bench.host, &pool("archive"), PoolData::Keep).await.unwrap();
    assert!(keep.to_string().contains("keep    data        /archive"), "{keep}");
    bench.run(keep).await.unwrap();
    assert_eq!(bench.host.storage.find_pool(&pool("archive")).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn what_nothing_refers_to_is_an_orphan() {
    let bench = Bench::new();
    let found = orphans(&bench.host, None).await.unwrap();
    let names: Vec<_> = found.volumes.iter().map(|volume| volume.name.to_string()).collect();
    assert_eq!(names, ["free.qcow2"]);
    assert_eq!(found.unknown.iter().map(|pool| pool.name.to_string()).collect::<Vec<_>>(), ["archive"]);
    assert_eq!(orphans(&bench.host, Some(&"iso".parse().unwrap())).await.unwrap().volumes, []);
}

#[tokio::test(start_paused = true)]
async fn only_what_hosts_look_for_is_discovered() {
    let bench = Bench::new();
    let nas = "nas".parse().unwrap();
    assert_eq!(discover_pools(&bench.host, PoolKind::Logical, None, None).await.unwrap().len(), 0);
    assert_eq!(discover_pools(&bench.host, PoolKind::Netfs, Some(&nas), None).await.unwrap().len(), 0);
    let kind = async |kind| discover_pools(&bench.host, kind, None, None).await.unwrap_err().kind();
    assert_eq!(kind(PoolKind::Netfs).await, ErrorKind::InvalidInput);
    assert_eq!(kind(PoolKind::Dir).await, ErrorKind::Unsupported);
}

/// A pool that is made, or one that goes with all that is in it.
struct Template {
    delete: bool,
    mock: Mutex<Option<Mock>>,
}

#[async_trait]
impl Scenario for Template {
    async fn begin(&self) -> Result<(Host, Plan)> {
        let bench = Bench::new();
        let wanted = spec(PoolKind::Dir, &[("target", "/srv/new")]);
        let plan = match self.delete {
            false => plan_pool_create(&bench.host, &wanted, Some(Build::Place), Autostart::On).await?,
            true => {
                bench.host.storage.create_pool(&wanted.document()?, Autostart::Off).await?;
                let volume = kvm_vm::VolumeSpec::new("new/a.qcow2".parse()?, kvm_core::Bytes::GIB);
                kvm_vm::create_volume(&bench.host, &volume, &bench.policy).await?;
                let upon = kvm_vm::VolumeSpec {
                    backing: Some(kvm_vm::ImageRef::parse("new/a.qcow2")?),
                    ..kvm_vm::VolumeSpec::new("new/b.qcow2".parse()?, kvm_core::Bytes::GIB)
                };
                kvm_vm::create_volume(&bench.host, &upon, &bench.policy).await?;
                plan_pool_delete(&bench.host, &wanted.name, PoolData::Destroy).await?
            }
        };
        *self.mock.lock().unwrap() = Some(bench.mock.clone());
        Ok((bench.host, plan))
    }

    async fn inventory(&self, host: &Host) -> Result<String> {
        let mock = self.mock.lock().unwrap().clone().unwrap();
        crate::support::picture(host, &mock).await
    }

    fn catalogue(&self) -> Catalogue {
        catalogue()
    }
}

#[tokio::test(start_paused = true)]
async fn every_change_of_pools_ends_before_or_after_whatever_fails_at_whatever_step() {
    for (delete, steps) in [(false, 4), (true, 5)] {
        let coverage = check(&Template { delete, mock: Mutex::new(None) }).await;
        assert_eq!(coverage.unwrap_or_else(|e| panic!("{delete}: {e:?}")).steps, steps);
    }
}
