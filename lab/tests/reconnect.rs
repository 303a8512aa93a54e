//! libvirtd dies or hangs, and whoever uses the library or follows events goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use kvm_core::{
    ErrorKind, Event, EventStream, Hypervisor as _, PowerAction, VmChange, VmFilter, VmId, VmRef, VmSummary,
};
use kvm_lab::{LabHost, Own, eventually, on_a_host, within};
use kvm_libvirt::{Config, Keepalive, Libvirt};
use rustix::process::Signal;

/// How often libvirtd is killed.
const CYCLES: usize = 50;
/// Cycles after which everything that is opened once is open.
const WARM: usize = 5;
/// After libvirtd's return, events come again within this time.
const EVENTS: Duration = Duration::from_secs(5);
/// After libvirtd's return, the list is right within this time.
const LIST: Duration = Duration::from_secs(10);

/// Two machines, one paused and one off, so that there is something to list.
async fn make_two(host: &LabHost) -> [String; 2] {
    let names = [host.unique("paused"), host.unique("off")];
    let kvmctl = host.kvmctl();
    let small = ["--memory", "64M", "--network", "none", "--graphics", "none"];
    kvmctl.ok(&[&["vm", "create", &names[0], "--start-paused"], &small[..]].concat()).await;
    kvmctl.ok(&[&["vm", "create", &names[1]], &small[..]].concat()).await;
    names
}

/// Waits for the next event that `wanted` likes.
async fn next(events: &mut EventStream, limit: Duration, what: &str, wanted: impl Fn(&Event) -> bool) {
    let search = async {
        while let Some(event) = events.next().await {
            if wanted(&event) {
                return;
            }
        }
        panic!("the stream of events ended while waiting for {what}");
    };
    within(limit, what, search).await;
}

async fn list(libvirt: &Libvirt) -> Option<Vec<VmSummary>> {
    libvirt.list(&VmFilter::all()).await.ok()
}

#[test]
fn fifty_deaths_of_libvirtd_leave_events_lists_threads_and_descriptors_as_they_were() {
    on_a_host(async |host| {
        let [paused, _] = make_two(host).await;
        // One thread from the first call on: of several, the last may start late, which looks like a leak.
        let libvirt = host.libvirt(Config { workers: 1, ..Config::default() }).await;
        let mut events = libvirt.events().await.unwrap();
        let expected = list(&libvirt).await.unwrap();
        let mut warm = None;
        for cycle in 1..=CYCLES {
            host.fault(&["kill", "libvirtd"]).await;
            next(&mut events, EVENTS, "the loss of the connection", |e| *e == Event::Disconnected).await;
            host.fault(&["start", "libvirtd"]).await;
            let returned = Instant::now();
            next(&mut events, EVENTS, "the return of the connection", |e| *e == Event::Resynced).await;
            // Seen by libvirt's own client as well, so the event is libvirt's and not one that we remember.
            host.virsh(&["desc", &paused, "--live", &format!("cycle {cycle}")]).await;
            let told =
                |e: &Event| matches!(e, Event::Vm(e) if e.name.as_str() == paused && e.what == VmChange::NotesChanged);
            next(&mut events, EVENTS.saturating_sub(returned.elapsed()), "a new event", told).await;
            let same = async || (list(&libvirt).await.as_ref() == Some(&expected)).then_some(());
            eventually(LIST.saturating_sub(returned.elapsed()), "the list that was there before", same).await;
            if cycle == WARM {
                warm = Some(Own::count());
            }
        }
        let warm = warm.unwrap();
        // Threads that have nothing to do any more need a moment to end.
        let no_more = async || Own::count().is_at_most(warm).then_some(());
        let what =
            format!("as few threads and descriptors as after the first deaths: {warm:?}, now {:?}", Own::count());
        eventually(Duration::from_secs(30), &what, no_more).await;
    });
}

#[test]
fn a_hanging_libvirtd_costs_a_call_its_deadline_and_no_more() {
    on_a_host(async |host| {
        let [paused, off] = make_two(host).await;
        let deadline = Duration::from_secs(2);
        let config = Config {
            call_deadline: deadline,
            job_deadline: deadline,
            // Silence is to be found by the deadlines of the calls, not by the connection's own.
            keepalive: Keepalive { interval: Duration::from_secs(60), count: 5 },
            ..Config::default()
        };
        let libvirt = host.libvirt(config).await;
        let id = async |name: &str| -> VmId { libvirt.find(&VmRef::Name(name.parse().unwrap())).await.unwrap().id };
        let (paused, off) = (id(&paused).await, id(&off).await);
        let before = list(&libvirt).await.unwrap();

        host.fault(&["stop", "libvirtd"]).await;
        let begin = Instant::now();
        let calls: [_; 3] = [
            tokio::spawn({
                let l = Arc::clone(&libvirt);
                async move { l.list(&VmFilter::all()).await.map(drop) }
            }),
            tokio::spawn({
                let l = Arc::clone(&libvirt);
                async move { l.stats(&VmFilter::all()).await.map(drop) }
            }),
            tokio::spawn({
                let l = Arc::clone(&libvirt);
                async move { l.power(&off, PowerAction::Start).await }
            }),
        ];
        for call in calls {
            let e = call.await.unwrap().unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Timeout, "{e:?}");
        }
        let took = begin.elapsed();
        assert!((deadline..deadline * 2).contains(&took), "the calls ended after {took:?}");

        host.fault(&["cont", "libvirtd"]).await;
        // What was asked may happen now, since nobody takes it back: the machine that was to start is left out.
        let others = |vms: Vec<VmSummary>| vms.into_iter().filter(|vm| vm.id != off).collect::<Vec<_>>();
        let before = others(before);
        let same = async || (list(&libvirt).await.map(others).as_ref() == Some(&before)).then_some(());
        eventually(LIST, "the list that was there before", same).await;
        libvirt.power(&paused, PowerAction::Resume).await.unwrap();
    });
}

#[test]
fn who_follows_events_is_told_of_the_gap_and_sees_what_comes_after_it() {
    on_a_host(async |host| {
        let [paused, _] = make_two(host).await;
        let kvmctl = host.kvmctl();
        let mut events = kvmctl.start(&["events", "--follow", "-o", "json"]);
        let says = |text: &'static str| move |line: &str| line.contains(text);
        // Whether it listens yet is seen by what it hears.
        let heard = async {
            for round in 1.. {
                host.virsh(&["desc", &paused, "--live", &format!("round {round}")]).await;
                if tokio::time::timeout(Duration::from_secs(1), events.line("notes", says("notes-changed")))
                    .await
                    .is_ok()
                {
                    return;
                }
            }
        };
        within(Duration::from_secs(30), "a first event", heard).await;

        host.fault(&["kill", "libvirtd"]).await;
        within(EVENTS, "word of the loss", events.line("loss", says("\"disconnected\""))).await;
        host.fault(&["start", "libvirtd"]).await;
        let returned = Instant::now();
        within(EVENTS, "word of the return", events.line("return", says("\"resynced\""))).await;
        host.kvmctl().ok(&["vm", "resume", &paused]).await;
        let left = EVENTS.saturating_sub(returned.elapsed());
        let line = within(left, "a new event", events.line("resumed", says("\"resumed\""))).await;
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["name"], paused.as_str(), "{line}");

        events.signal(Signal::INT);
        let ended = events.ended().await;
        assert!(!ended.stderr.contains("panicked"), "{ended}");
    });
}
