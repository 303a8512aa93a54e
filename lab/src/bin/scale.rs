//! How long a list and a measurement of many machines take, and how much of that is ours.
//!
//! `scale [MACHINES] [ROUNDS]`: 150 and 15 if left out. Run it in release, on a lab that nobody else uses. It makes the
//! machines (paused, each with a disk and a network device), asks for all of them again and again, and deletes them.
//!
//! Each round asks for the list, for the statistics, and for the JSON of both. What libvirt's two bulk calls took of
//! that is told by the backend's own trace; the difference is what the library adds.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a measuring program prints")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kvm_core::{Hypervisor as _, VmFilter};
use kvm_lab::{Kvmctl, LabHost};
use kvm_libvirt::{Config, Libvirt};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// Machines that are made at a time.
const AT_A_TIME: usize = 4;
/// What the library may add, for 150 machines.
const GOAL: Duration = Duration::from_millis(20);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let mut number = |default: usize| args.next().map_or(Ok(default), |n| n.parse());
    let (machines, rounds) = (number(150)?, number(15)?);
    tracing_subscriber::registry().with(BulkCalls).init();
    kvm_lab::on_a_host_within(Duration::from_secs(3600), async |host| {
        let begin = Instant::now();
        make(host, machines).await;
        println!("{machines} machines made in {:.0} s; {rounds} rounds", begin.elapsed().as_secs_f64());
        measure(&*host.libvirt(Config::default()).await, machines, rounds).await;
        println!("deleting them");
    });
    Ok(())
}

async fn make(host: &LabHost, machines: usize) {
    let names: Vec<String> = (0..machines).map(|_| host.unique("scale")).collect();
    let kvmctl = host.kvmctl();
    for some in names.chunks(AT_A_TIME) {
        futures_util::future::join_all(some.iter().map(|name| make_one(&kvmctl, name))).await;
    }
}

async fn make_one(kvmctl: &Kvmctl, name: &str) {
    let machine = ["--disk", "1M", "--memory", "32M", "--vcpus", "1", "--network", "default", "--graphics", "none"];
    kvmctl.ok(&[&["vm", "create", name, "--start-paused"], &machine[..]].concat()).await;
}

async fn measure(libvirt: &Libvirt, machines: usize, rounds: usize) {
    let (mut totals, mut calls, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    // The first round only warms caches.
    for round in 0..=rounds {
        BULK_NANOS.store(0, Ordering::Relaxed);
        let begin = Instant::now();
        let list = libvirt.list(&VmFilter::all()).await.unwrap_or_else(|e| panic!("{e:?}"));
        let stats = libvirt.stats(&VmFilter::all()).await.unwrap_or_else(|e| panic!("{e:?}"));
        let text = serde_json::to_string(&(&list, &stats)).unwrap_or_else(|e| panic!("{e}"));
        let total = begin.elapsed();
        assert!(list.len() >= machines && stats.len() == list.len() && text.len() > machines * 100);
        let bulk = Duration::from_nanos(BULK_NANOS.load(Ordering::Relaxed));
        assert!(bulk > Duration::ZERO, "the backend told of no bulk call");
        if round > 0 {
            totals.push(total);
            calls.push(bulk);
            ours.push(total - bulk);
        }
    }
    let difference = median(&mut ours);
    println!(
        "total {:.1?}, the two bulk calls {:.1?}, difference {difference:.1?}",
        median(&mut totals),
        median(&mut calls)
    );
    let verdict = if difference <= GOAL { "met" } else { "missed" };
    println!("the goal of {GOAL:?} for 150 machines is {verdict}");
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// What the bulk calls took since it was last set to zero.
static BULK_NANOS: AtomicU64 = AtomicU64::new(0);

/// Adds up the backend's traces of its bulk calls.
struct BulkCalls;

impl<S: tracing::Subscriber> Layer<S> for BulkCalls {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        event.record(&mut Nanos);
    }
}

struct Nanos;

impl Visit for Nanos {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "bulk_call_nanos" {
            BULK_NANOS.fetch_add(value, Ordering::Relaxed);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}
