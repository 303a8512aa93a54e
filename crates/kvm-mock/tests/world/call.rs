//! Calls that are held, fail, take long or lose their answer, and what is heard beside them.

use std::time::Duration;

use futures_util::StreamExt as _;
use kvm_core::{
    Autostart, Clock, ErrorKind, Event, Existing, Keep, NetworkName, NetworksExt as _, PowerAction, VmChange, VmFilter,
    VmRef, VmState,
};
use kvm_mock::{Fault, GuestAction, Method, Mock};
use kvm_xml::Document as _;

use crate::{document, manual_clock, paused_clock, running, state, what};

#[tokio::test]
async fn a_held_call_does_not_return_until_release() {
    let mock = Mock::empty(manual_clock()).unwrap();
    let host = mock.host();
    let id = running(&host).await;
    mock.hold(PowerAction::PowerOff);
    let hypervisor = host.hypervisor.clone();
    let call = tokio::spawn(async move { hypervisor.power(&id, PowerAction::PowerOff).await });
    tokio::task::yield_now().await;
    assert!(!call.is_finished());
    assert_eq!(state(&host, &id).await, VmState::Running);
    mock.release().unwrap();
    call.await.unwrap().unwrap();
    assert_eq!(state(&host, &id).await, VmState::Off);
}

#[tokio::test]
async fn a_call_that_is_to_fail_does_nothing_or_loses_its_answer() {
    let mock = Mock::empty(manual_clock()).unwrap();
    let host = mock.host();
    let define = async || host.hypervisor.define(&document("a"), Existing::Reject).await;
    mock.fail_next(Method::Define, ErrorKind::NoSpace);
    assert_eq!(define().await.unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(host.hypervisor.list(&VmFilter::all()).await.unwrap(), []);

    mock.inject(Fault::nth(1, ErrorKind::Timeout).after_effect());
    assert_eq!(define().await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(host.hypervisor.list(&VmFilter::all()).await.unwrap().len(), 1);

    let made: Vec<_> = mock.calls().into_iter().map(|call| (call.method, call.subject)).collect();
    let call = |method, subject: &str| (method, subject.to_owned());
    let (define, list) = (call(Method::Define, "a"), call(Method::List, ""));
    assert_eq!(made, [define.clone(), list.clone(), define, list]);
}

#[tokio::test(start_paused = true)]
async fn every_call_takes_as_long_as_it_is_told() {
    let clock = paused_clock();
    let mock = Mock::demo(clock.clone()).unwrap();
    let before = clock.now();
    mock.set_latency(Duration::from_millis(250));
    mock.host().hypervisor.list(&VmFilter::all()).await.unwrap();
    mock.host().storage.pools().await.unwrap();
    assert_eq!(clock.now().duration_since(before).as_millis(), 500);
}

#[tokio::test]
async fn a_network_that_does_not_start_stays_undefined() {
    let mock = Mock::empty(manual_clock()).unwrap();
    let networks = mock.host().networks;
    let document = kvm_xml::Network::from_xml("<network><name>lab</name></network>").unwrap();
    for method in [Method::StartNetwork, Method::SetNetworkAutostart] {
        mock.inject(Fault::next(method, ErrorKind::Busy));
        assert_eq!(networks.create(&document, Autostart::On).await.unwrap_err().kind(), ErrorKind::Busy);
        assert_eq!(networks.list().await.unwrap(), []);
    }
    networks.create(&document, Autostart::On).await.unwrap();
    let network = networks.find(&NetworkName::parse("lab").unwrap()).await.unwrap();
    assert!(network.active && network.autostart && network.persistent, "{network:?}");
}

#[tokio::test(start_paused = true)]
async fn events_wake_a_subscriber_without_a_call() {
    let mock = Mock::empty(paused_clock()).unwrap();
    let host = mock.host();
    let id = running(&host).await;
    let mut events = host.hypervisor.events().await.unwrap();
    host.hypervisor.power(&id, PowerAction::Reboot).await.unwrap();
    // It reboots before its agent was up, which then comes up once.
    let heard: Vec<_> = (&mut events).take(2).map(what).collect().await;
    assert_eq!(heard, [VmChange::Rebooted, VmChange::AgentConnected]);
}

#[tokio::test]
async fn a_stream_ends_with_its_host_and_not_before() {
    let mock = Mock::empty(manual_clock()).unwrap();
    let host = mock.host();
    let mut events = host.hypervisor.events().await.unwrap();
    let id = running(&host).await;
    drop((host, mock));
    let rest: Vec<_> = events.by_ref().collect().await;
    assert!(rest.len() <= 3, "{id} {rest:?}");
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn a_subscriber_that_is_too_slow_is_told_how_much_it_missed() {
    let mock = Mock::empty(manual_clock()).unwrap();
    let host = mock.host();
    let mut events = host.hypervisor.events().await.unwrap();
    for _ in 0..1000 {
        let id = host.hypervisor.define(&document("a"), Existing::Reject).await.unwrap();
        host.hypervisor.undefine(&id, Keep::NOTHING).await.unwrap();
    }
    assert_eq!(events.next().await, Some(Event::Lagged { missed: 2000 - 512 }));
    assert_eq!(events.next().await.map(what), Some(VmChange::Defined));
}

#[tokio::test]
async fn a_lost_connection_hides_what_happens_until_it_is_back() {
    let mock = Mock::empty(manual_clock()).unwrap();
    let host = mock.host();
    let id = running(&host).await;
    let mut events = host.hypervisor.events().await.unwrap();
    mock.disconnect().unwrap();
    assert_eq!(host.hypervisor.find(&VmRef::Id(id)).await.unwrap_err().kind(), ErrorKind::Unavailable);
    mock.act(&id, GuestAction::ShutDown).unwrap();
    mock.reconnect().unwrap();
    assert_eq!(state(&host, &id).await, VmState::Off);
    assert_eq!(events.next().await, Some(Event::Disconnected));
    assert_eq!(events.next().await, Some(Event::Resynced));
}
