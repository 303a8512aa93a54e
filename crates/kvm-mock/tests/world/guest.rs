//! Guests: they obey when it is time, act by themselves, and speak on a serial line.

use std::time::Duration;

use futures_util::StreamExt as _;
use kvm_core::{ConsoleAccess, ErrorKind, Existing, HypervisorExt as _, PowerAction, VmChange, VmState};
use kvm_mock::{GuestAction, Mock};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{document, manual_clock, paused_clock, running, state, what};

#[tokio::test]
async fn a_guest_obeys_when_the_clock_says_so() {
    let clock = manual_clock();
    let host = Mock::empty(clock.clone()).unwrap().host();
    let id = running(&host).await;
    host.hypervisor.power(&id, PowerAction::Shutdown).await.unwrap();
    clock.advance(Duration::from_millis(1999));
    assert_eq!(state(&host, &id).await, VmState::Running);
    clock.advance(Duration::from_millis(1));
    assert_eq!(state(&host, &id).await, VmState::Off);
}

#[tokio::test]
async fn a_paused_guest_does_not_age() {
    let clock = manual_clock();
    let host = Mock::empty(clock.clone()).unwrap().host();
    let id = running(&host).await;
    host.hypervisor.power(&id, PowerAction::Shutdown).await.unwrap();
    host.hypervisor.power(&id, PowerAction::Suspend).await.unwrap();
    clock.advance(Duration::from_secs(3600));
    assert_eq!(state(&host, &id).await, VmState::Paused);
    host.hypervisor.power(&id, PowerAction::Resume).await.unwrap();
    clock.advance(Duration::from_secs(2));
    assert_eq!(state(&host, &id).await, VmState::Off);
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_does_not_listen_runs_into_the_timeout() {
    let clock = paused_clock();
    let mock = Mock::empty(clock.clone()).unwrap();
    let host = mock.host();
    let id = running(&host).await;
    mock.set_obedience(&id, None).unwrap();
    let answer = host.hypervisor.shutdown_and_wait(&id, Duration::from_secs(60), &*clock).await;
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(state(&host, &id).await, VmState::Running);
}

#[tokio::test]
async fn a_held_shutdown_begins_and_ends_with_release() {
    let mock = Mock::empty(manual_clock()).unwrap();
    let host = mock.host();
    let id = running(&host).await;
    let mut events = host.hypervisor.events().await.unwrap();
    mock.hold(PowerAction::Shutdown);
    host.hypervisor.power(&id, PowerAction::Shutdown).await.unwrap();
    assert_eq!(state(&host, &id).await, VmState::ShuttingDown);
    let again = host.hypervisor.power(&id, PowerAction::Shutdown).await;
    assert_eq!(again.unwrap_err().kind(), ErrorKind::InvalidState);
    mock.release().unwrap();
    assert_eq!(state(&host, &id).await, VmState::Off);
    let heard: Vec<_> = (&mut events).take(2).map(what).collect().await;
    assert_eq!(heard, [VmChange::ShutDown, VmChange::Stopped]);
}

#[tokio::test]
async fn a_guest_that_acts_by_itself_is_heard() {
    let mock = Mock::empty(manual_clock()).unwrap();
    let host = mock.host();
    let mut document = document("a");
    document.on_crash = Some(kvm_xml::domain::CrashAction::Preserve);
    let id = host.hypervisor.define(&document, Existing::Reject).await.unwrap();
    let start = async || host.hypervisor.power(&id, PowerAction::Start).await.unwrap();
    let stop = async || host.hypervisor.power(&id, PowerAction::PowerOff).await.unwrap();
    for (action, heard, becomes) in [
        (GuestAction::Crash, VmChange::Crashed, VmState::Crashed),
        (GuestAction::IoError, VmChange::SuspendedOnIoError, VmState::Paused),
        (GuestAction::SuspendToMemory, VmChange::PmSuspended, VmState::PmSuspended),
        (GuestAction::Reboot, VmChange::Rebooted, VmState::Running),
    ] {
        start().await;
        let mut events = host.hypervisor.events().await.unwrap();
        mock.act(&id, action).unwrap();
        assert_eq!(events.next().await.map(what), Some(heard));
        assert_eq!(state(&host, &id).await, becomes);
        stop().await;
    }
    assert_eq!(mock.act(&id, GuestAction::Crash).unwrap_err().kind(), ErrorKind::InvalidState);
}

#[tokio::test(start_paused = true)]
async fn a_serial_line_carries_the_boot_and_a_shell() {
    let clock = paused_clock();
    let host = Mock::empty(clock.clone()).unwrap().host();
    let id = host.hypervisor.define(&document("a"), Existing::Reject).await.unwrap();
    host.hypervisor.power(&id, PowerAction::StartPaused).await.unwrap();
    let console = host.hypervisor.console().unwrap();
    let mut line = console.open_serial(&id, ConsoleAccess::Exclusive).await.unwrap();
    host.hypervisor.power(&id, PowerAction::Resume).await.unwrap();
    let boot = read_until(&mut line, "~# ").await;
    assert!(boot.contains("Linux version") && boot.contains("a is up"), "{boot}");

    line.write_all(b"echo hello world\r").await.unwrap();
    assert_eq!(read_until(&mut line, "~# ").await, "echo hello world\r\nhello world\r\nroot@a:~# ");

    // Bytes from before are not repeated to the next one.
    drop(line);
    let mut line = console.open_serial(&id, ConsoleAccess::Exclusive).await.unwrap();
    line.write_all(b"\x08poweroxx\x7f\x7fff\n").await.unwrap();
    let rest = read_until(&mut line, "\r\nPowering off.\r\n").await;
    assert!(rest.starts_with("poweroxx"), "{rest}");
    assert_eq!(line.read(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(state(&host, &id).await, VmState::Off);
}

async fn read_until(line: &mut Box<dyn kvm_core::ByteStream>, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let mut bytes = [0; 256];
        let count = line.read(&mut bytes).await.unwrap();
        assert!(count > 0, "it ended after {:?}", String::from_utf8_lossy(&text));
        text.extend(&bytes[..count]);
    }
    String::from_utf8(text).unwrap()
}
