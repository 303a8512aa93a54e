//! Deleting among random disk graphs: shared images, chains of overlays, odd spellings, other pools.

use std::collections::BTreeSet;

use kvm_core::{Autostart, Bytes};
use kvm_vm::{DeleteOptions, Running, Volumes, inventory, plan_delete};
use kvm_xml::{Document as _, StoragePool, StorageVolume};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::Bench;

/// An image: in which pool, and on which earlier one it is an overlay.
#[derive(Clone, Debug)]
struct Image {
    pool: usize,
    below: Option<usize>,
}

/// A disk: of which image, how its document says so, and whether it can write.
#[derive(Clone, Debug)]
struct Disk {
    image: usize,
    spelling: usize,
    readonly: bool,
}

#[derive(Clone, Debug)]
struct Graph {
    images: Vec<Image>,
    machines: Vec<Vec<Disk>>,
}

const POOLS: [&str; 2] = ["one", "two"];

impl Graph {
    fn path(&self, image: usize) -> String {
        format!("/{}/{image}.qcow2", POOLS[self.images[image].pool])
    }

    fn source(&self, disk: &Disk) -> (&'static str, String) {
        let path = self.path(disk.image);
        match disk.spelling {
            0 => ("file", format!("file='{path}'")),
            1 => ("file", format!("file='/{path}'")),
            2 => ("file", format!("file='{}'", path.replacen('/', "/./", 1))),
            3 => ("block", format!("dev='{path}'")),
            _ => {
                let pool = POOLS[self.images[disk.image].pool];
                ("volume", format!("pool='{pool}' volume='{}.qcow2'", disk.image))
            }
        }
    }

    async fn build(&self, bench: &Bench) {
        for pool in POOLS {
            let xml = format!("<pool type='dir'><name>{pool}</name><target><path>/{pool}</path></target></pool>");
            bench.host.storage.create_pool(&StoragePool::from_xml(&xml).unwrap(), Autostart::On).await.unwrap();
        }
        for (i, image) in self.images.iter().enumerate() {
            let below = image.below.map_or(String::new(), |b| {
                format!("<backingStore><path>{}</path><format type='qcow2'/></backingStore>", self.path(b))
            });
            let xml = format!(
                "<volume><name>{i}.qcow2</name><capacity>1048576</capacity>\
                 <target><format type='qcow2'/></target>{below}</volume>"
            );
            let pool = POOLS[image.pool].parse().unwrap();
            bench.host.storage.create_volume(&pool, &StorageVolume::from_xml(&xml).unwrap()).await.unwrap();
        }
        for (i, disks) in self.machines.iter().enumerate() {
            let disks: String = disks
                .iter()
                .enumerate()
                .map(|(d, disk)| {
                    let (kind, source) = self.source(disk);
                    let readonly = if disk.readonly { "<readonly/>" } else { "" };
                    let letter = char::from(b'a' + u8::try_from(d).unwrap());
                    format!("<disk type='{kind}'><source {source}/><target dev='vd{letter}'/>{readonly}</disk>")
                })
                .collect();
            let xml = format!(
                "<domain type='kvm'><name>vm-{i}</name><uuid>8fbf2b8e-3b3c-4b1e-9a51-00000000000{i}</uuid>\
                 <memory>1048576</memory><vcpu>1</vcpu><os><type arch='x86_64'>hvm</type></os>\
                 <devices>{disks}</devices></domain>"
            );
            bench.mock.plant(&xml).unwrap();
        }
    }

    /// The image and all below it.
    fn chain(&self, image: usize) -> Vec<usize> {
        std::iter::successors(Some(image), |i| self.images[*i].below).collect()
    }
}

fn graphs() -> impl Strategy<Value = Graph> {
    (2..9_usize).prop_flat_map(|count| {
        let image = |i: usize| {
            let below = if i == 0 { Just(None).boxed() } else { proptest::option::of(0..i).boxed() };
            (0..POOLS.len(), below).prop_map(|(pool, below)| Image { pool, below })
        };
        let images: Vec<_> = (0..count).map(image).collect();
        let disk = (0..count, 0..5_usize, proptest::bool::weighted(0.2)).prop_map(|(image, spelling, readonly)| Disk {
            image,
            spelling,
            readonly,
        });
        let machine = proptest::collection::vec(disk, 0..4);
        (images, proptest::collection::vec(machine, 2..5)).prop_map(|(images, machines)| Graph { images, machines })
    })
}

async fn deleting_loses_nothing(graph: Graph) {
    let bench = Bench::empty();
    graph.build(&bench).await;
    let before = inventory(&bench.host).await.unwrap();
    let options = DeleteOptions { volumes: Volumes::Delete, running: Running::Refuse };
    let plan = plan_delete(&bench.host, &bench.vm("vm-0").await, &options).await.unwrap();
    let planned: BTreeSet<_> = plan
        .lines
        .iter()
        .filter(|line| line.action == "remove" && line.kind == "volume")
        .map(|line| line.name.clone())
        .collect();
    bench.run(plan).await.unwrap();
    bench.assert_nothing_open().await;
    let after = inventory(&bench.host).await.unwrap();
    let gone: BTreeSet<_> = before.volumes.keys().filter(|v| !after.volumes.contains_key(*v)).cloned().collect();
    assert_eq!(gone, planned, "what the plan says is what goes");

    let name = |image: usize| format!("{}/{image}.qcow2", POOLS[graph.images[image].pool]);
    for disk in graph.machines[1..].iter().flatten() {
        for image in graph.chain(disk.image) {
            assert!(!gone.contains(&name(image)), "{image} is used by another machine");
        }
    }
    for (i, image) in graph.images.iter().enumerate() {
        if let Some(below) = image.below {
            assert!(!gone.contains(&name(below)), "{below} is below {i}");
        }
    }
    for disk in graph.machines[0].iter().filter(|disk| disk.readonly) {
        assert!(!gone.contains(&name(disk.image)), "{} was read-only", disk.image);
    }
    // And nothing is kept without a reason: what the machine alone wrote to is gone.
    for disk in &graph.machines[0] {
        let others = graph.machines[1..].iter().flatten().any(|d| d.image == disk.image);
        let below = graph.images.iter().any(|i| i.below == Some(disk.image));
        let readonly = graph.machines[0].iter().any(|d| d.image == disk.image && d.readonly);
        assert_eq!(gone.contains(&name(disk.image)), !(others || below || readonly), "{}", disk.image);
    }
    assert!(after.machines.len() + 1 == before.machines.len());
    assert!(after.volumes.values().all(|v| v.capacity == Bytes::MIB));
}

#[test]
fn deleting_among_random_graphs_loses_nothing_that_is_used() {
    let mut runner = TestRunner::new(Config { cases: 500, failure_persistence: None, ..Config::default() });
    let run = |graph: Graph| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(deleting_loses_nothing(graph));
        Ok(())
    };
    runner.run(&graphs(), run).unwrap();
}
