//! The guest agent of a real guest: programs, files, file systems, users, clock.

use std::sync::Arc;
use std::time::Duration;

use kvm_core::{ErrorKind, SystemClock, VmName, VmRef};
use kvm_lab::{eventually, moment_passes, on_a_host, within};
use kvm_vm::guest::{Agent, End, ExecSpec, FreezeState, PasswordForm};

/// A guest boots in seconds, and in half a minute on a busy machine without hardware acceleration.
const BOOT: Duration = Duration::from_secs(180);
/// What a guest does at once, with patience for a busy machine.
const SOON: Duration = Duration::from_secs(60);

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJk8g0rOTBHrFyVGwGMA8fP7nKwIpbN4n2RBYKZKJqgM me@here\n";

#[test]
fn a_guest_does_what_its_agent_is_asked_for() {
    on_a_host(async |host| {
        let before = host.stock().await;
        let (kvmctl, vm) = (host.kvmctl(), host.unique("agent"));
        let disk = format!("volume={}", host.place_boot_disk(&vm).await);
        let machine = ["--memory", "256M", "--vcpus", "2", "--network", "default", "--start"];
        kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk], &machine[..]].concat()).await;
        let answers = async || (kvmctl.run(&["guest", "ping", &vm]).await.code == Some(0)).then_some(());
        eventually(BOOT, "an answer of the agent", answers).await;

        // What it says of itself is what it is.
        let info = kvmctl.json(&["guest", "info", &vm]).await;
        let release = host.exec_in_guest(&vm, &["uname", "-r"]).await.unwrap_or_default();
        assert_eq!(info["os"]["kernel_release"], release.trim(), "{info}");
        assert_eq!(info["file_systems"], "thawed", "{info}");
        assert!(info["agent"]["commands"].as_array().is_some_and(|all| all.len() > 20), "{info}");
        let systems = kvmctl.json(&["guest", "fs", &vm]).await;
        let data = systems.as_array().and_then(|all| all.iter().find(|fs| fs["mount_point"] == "/data"));
        assert_eq!(data.unwrap_or(&systems)["kind"], "ext4", "{systems}");
        let nics = kvmctl.json(&["guest", "interfaces", &vm]).await;
        assert!(nics.to_string().contains("eth0") && nics.to_string().contains("192.168."), "{nics}");

        // A program, with its two streams and its code.
        let ended = kvmctl.run(&["guest", "exec", &vm, "--", "sh", "-c", "echo out; echo err >&2; exit 7"]).await;
        assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(7), "out\n", "err\n"));
        let killed = kvmctl.run(&["-o", "json", "guest", "exec", &vm, "--", "sh", "-c", "kill -9 $$"]).await;
        assert!(killed.code == Some(137) && killed.stdout.contains("\"signal\": 9"), "{killed}");
        let missing = kvmctl.run(&["guest", "exec", &vm, "--", "/no/such/program"]).await;
        assert_eq!(missing.code, Some(5), "{missing}");
        let late = kvmctl.run(&["guest", "exec", &vm, "--timeout", "1s", "--", "sleep", "30"]).await;
        assert_eq!(late.code, Some(8), "{late}");
        // More than an answer may have is refused, and the agent answers as before.
        let much = kvmctl.run(&["guest", "exec", &vm, "--", "head", "-c", "2000000", "/dev/zero"]).await;
        assert_eq!(much.code, Some(10), "{much}");
        kvmctl.ok(&["guest", "ping", &vm]).await;

        // A file in pieces, there and back, the same bytes.
        let content: Vec<u8> = (0..700_001_u32).map(|n| (n % 251) as u8).collect();
        let file = kvmctl.give("content", &content);
        let back = file.with_extension("back");
        let (from, to) = (file.to_string_lossy(), back.to_string_lossy());
        kvmctl.ok(&["guest", "write", &vm, "/data/content", "--from", &from]).await;
        assert_eq!(kvmctl.run(&["guest", "write", &vm, "/data/content", "--from", &from]).await.code, Some(4));
        let sum = host.exec_in_guest(&vm, &["wc", "-c", "/data/content"]).await.unwrap_or_default();
        assert!(sum.starts_with("700001 "), "{sum}");
        kvmctl.ok(&["guest", "read", &vm, "/data/content", "--to", &to]).await;
        assert!(std::fs::read(&back).is_ok_and(|read| read == content), "the file came back changed");

        // Users: keys and passwords.
        let keys = kvmctl.give("keys.pub", KEY);
        kvmctl.ok(&["guest", "ssh-key", "add", &vm, "root", &keys.to_string_lossy()]).await;
        let listed = kvmctl.json(&["guest", "ssh-key", "list", &vm, "root"]).await;
        assert_eq!(listed["keys"][0], KEY.trim(), "{listed}");
        kvmctl.ok(&["guest", "ssh-key", "remove", &vm, "root", &keys.to_string_lossy()]).await;

        // Its clock is read. This guest has no hwclock, without which its agent sets none.
        let time = kvmctl.json(&["guest", "time", &vm]).await;
        assert!(time["ahead_seconds"].as_f64().is_some_and(|ahead| ahead.abs() < 60.0), "{time}");
        assert_eq!(kvmctl.run(&["guest", "time", &vm, "--set", "now"]).await.code, Some(5));

        kvmctl.ok(&["guest", "trim", &vm]).await;
        kvmctl.ok(&["vm", "delete", &vm, "--power-off", "--delete-volumes", "--yes"]).await;
        host.assert_as(&before).await;
    });
}

#[test]
fn file_systems_of_a_guest_stand_still_and_go_on() {
    on_a_host(async |host| {
        let (kvmctl, vm) = (host.kvmctl(), host.unique("freeze"));
        let disk = format!("volume={}", host.place_boot_disk(&vm).await);
        let machine = ["--memory", "256M", "--vcpus", "1", "--network", "user", "--start"];
        kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk], &machine[..]].concat()).await;
        let open = host.open().await;
        let name = VmName::parse(&vm).unwrap_or_else(|e| panic!("{e:?}"));
        let found = open.hypervisor.find(&VmRef::Name(name)).await.unwrap_or_else(|e| panic!("{e:?}"));
        let agent = Agent::new(&open, &found.id, Arc::new(SystemClock)).unwrap_or_else(|e| panic!("{e:?}"));
        eventually(BOOT, "an answer of the agent", async || agent.ping().await.ok()).await;
        let state = async || agent.freeze_state().await.unwrap_or_else(|e| panic!("{e:?}"));

        // A password is stored as the guest stores passwords.
        let root = "root".parse().unwrap_or_else(|e| panic!("{e:?}"));
        agent.set_password(&root, "correct horse", PasswordForm::Plain).await.unwrap_or_else(|e| panic!("{e:?}"));
        let grep = ExecSpec::new("grep", ["^root:[$]", "/etc/shadow"]).unwrap_or_else(|e| panic!("{e:?}"));
        let stored = agent.exec(&grep, SOON).await.unwrap_or_else(|e| panic!("{e:?}"));
        assert_eq!(stored.end, End::Exited(0), "{stored:?}");

        // A writer waits while they stand still, and has written afterwards.
        let script = "while :; do date >> /data/ticks; sleep 1; done";
        let writer = ExecSpec::new("sh", ["-c", script]).unwrap_or_else(|e| panic!("{e:?}"));
        let started = agent.exec(&writer, Duration::from_secs(2)).await.unwrap_err();
        assert_eq!(started.kind(), ErrorKind::Timeout, "it goes on: {started:?}");

        let frozen = agent.freeze(SOON).await.unwrap_or_else(|e| panic!("{e:?}"));
        assert!(frozen.count() > 0);
        assert_eq!(state().await, FreezeState::Frozen);
        let refused = agent.exec(&writer, SOON).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused:?}");
        frozen.thaw().await.unwrap_or_else(|e| panic!("{e:?}"));
        assert_eq!(state().await, FreezeState::Thawed);
        let count = ExecSpec::new("wc", ["-l", "/data/ticks"]).unwrap_or_else(|e| panic!("{e:?}"));
        let ticks = async || {
            let counted = agent.exec(&count, SOON).await.unwrap_or_else(|e| panic!("{e:?}"));
            assert_eq!(counted.end, End::Exited(0));
            let said = String::from_utf8_lossy(&counted.stdout).into_owned();
            said.split_whitespace().next().and_then(|word| word.parse::<u32>().ok()).unwrap_or(0)
        };
        let first = ticks().await;
        eventually(SOON, "another tick", async || (ticks().await > first).then_some(())).await;

        // Dropped, and cancelled in the middle: both thaw.
        drop(agent.freeze(SOON).await.unwrap_or_else(|e| panic!("{e:?}")));
        eventually(SOON, "a thaw", async || (state().await == FreezeState::Thawed).then_some(())).await;
        let freezing = tokio::spawn({
            let agent = agent.clone();
            async move { agent.freeze(SOON).await.map(drop) }
        });
        moment_passes(Duration::from_millis(1)).await;
        freezing.abort();
        let aborted = within(SOON, "the end of a cancelled freeze", freezing).await;
        assert!(aborted.is_err() || aborted.is_ok_and(|frozen| frozen.is_ok()));
        eventually(SOON, "a thaw", async || (state().await == FreezeState::Thawed).then_some(())).await;

        // On the command line: for a while, and until told.
        kvmctl.ok(&["guest", "freeze", &vm, "--for", "1s"]).await;
        assert_eq!(state().await, FreezeState::Thawed);
        kvmctl.ok(&["guest", "freeze", &vm, "--leave"]).await;
        assert_eq!(kvmctl.json(&["guest", "info", &vm]).await["file_systems"], "frozen");
        kvmctl.ok(&["guest", "thaw", &vm]).await;
        assert_eq!(state().await, FreezeState::Thawed);
        agent.shutdown(BOOT).await.unwrap_or_else(|e| panic!("{e:?}"));
        kvmctl.ok(&["vm", "delete", &vm, "--delete-volumes", "--yes"]).await;
    });
}
