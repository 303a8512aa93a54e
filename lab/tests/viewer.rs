//! Screens of machines, brought to this machine over SSH.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use kvm_lab::{Kvmctl, LabHost, on_a_host, within};
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const INVALID_STATE: i32 = 5;
const SOON: Duration = Duration::from_secs(60);

fn over_ssh(host: &LabHost) -> Kvmctl {
    host.kvmctl_over_ssh(&host.lab().dir().join("known_hosts"))
}

/// A machine that runs nothing, with a screen.
async fn paused(kvmctl: &Kvmctl, vm: &str, more: &[&str]) {
    let small = ["--memory", "64M", "--network", "none", "--graphics", "vnc"];
    kvmctl.ok(&[&["vm", "create", vm], &small[..], more].concat()).await;
}

/// What the server at this address asks for: the types of RFC 6143, 7.1.2.
async fn security_types(host: &str, port: u16) -> Vec<u8> {
    let talk = async {
        let mut screen = TcpStream::connect((host, port)).await.unwrap();
        let mut version = [0; 12];
        screen.read_exact(&mut version).await.unwrap();
        assert_eq!(&version, b"RFB 003.008\n");
        screen.write_all(&version).await.unwrap();
        let mut types = vec![0; usize::from(screen.read_u8().await.unwrap())];
        screen.read_exact(&mut types).await.unwrap();
        types
    };
    within(SOON, "the server of the screen", talk).await
}

fn value<'a>(file: &'a str, key: &str) -> Option<&'a str> {
    file.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

#[test]
fn a_screen_is_reached_through_a_tunnel_that_is_there_until_somebody_stops_it() {
    on_a_host(async |host| {
        let (kvmctl, vm) = (over_ssh(host), host.unique("screen"));
        paused(&kvmctl, &vm, &["--start-paused"]).await;
        let address = kvmctl.json(&["vm", "viewer", &vm, "--address"]).await;
        assert_eq!((&address["kind"], &address["listen"]), (&"vnc".into(), &"127.0.0.1".into()), "{address}");

        let file = kvmctl.home().join("screen.vv");
        let mut viewer = kvmctl.start(&["vm", "viewer", &vm, "--vv", file.to_str().unwrap()]);
        within(SOON, "the tunnel", viewer.line("word of the tunnel", |line| line.contains("until Ctrl-C"))).await;
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let port = value(&text, "port").unwrap().parse().unwrap();
        assert_eq!((value(&text, "type"), value(&text, "host")), (Some("vnc"), Some("127.0.0.1")), "{text}");
        // Twice: each viewer has a connection of its own. One is the type for no password.
        for _ in 0..2 {
            assert_eq!(security_types("127.0.0.1", port).await, [1]);
        }
        viewer.signal(Signal::INT);
        let ended = viewer.ended().await;
        assert_eq!(ended.code, Some(0), "{ended}");
        assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err(), "nobody listens any more");
    });
}

#[test]
fn a_program_that_reaches_a_host_over_ssh_leaves_no_file_behind_however_it_ends() {
    on_a_host(async |host| {
        let (kvmctl, vm) = (over_ssh(host), host.unique("ended"));
        let runtime = kvmctl.home().join("run");
        std::fs::create_dir(&runtime).unwrap();
        let left = || -> Vec<_> { runtime.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect() };
        let nothing = [""; 0].map(std::path::PathBuf::from);
        paused(&kvmctl, &vm, &["--start-paused"]).await;
        assert_eq!(left(), nothing, "it has ended by itself");
        let file = kvmctl.home().join("screen.vv");
        for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::KILL] {
            let mut viewer = kvmctl.start(&["vm", "viewer", &vm, "--vv", file.to_str().unwrap()]);
            within(SOON, "the tunnel", viewer.line("word of the tunnel", |line| line.contains("until Ctrl-C"))).await;
            viewer.signal(signal);
            let ended = viewer.ended().await;
            let is_polite = matches!(signal, Signal::INT | Signal::TERM);
            assert_eq!(ended.code == Some(0), is_polite, "{ended}");
            assert_eq!(left(), nothing, "{signal:?}");
        }
    });
}

#[test]
fn a_viewer_gets_the_file_with_the_password_and_the_tunnel_while_it_runs() {
    on_a_host(async |host| {
        let (kvmctl, vm) = (over_ssh(host), host.unique("viewer"));
        paused(&kvmctl, &vm, &[]).await;
        let password = async |text: &str, more: &[&str]| {
            let mut running = kvmctl.start(&[&["-o", "json", "vm", "viewer-password", &vm], more].concat());
            running.write(&format!("{text}\n")).await;
            running.ended().await
        };
        let set = password("f1rst", &[]).await.succeeded();
        let set: Value = serde_json::from_str(&set).unwrap();
        assert_eq!((&set["documents"], &set["kind"]), (&"config".into(), &"vnc".into()), "{set}");
        kvmctl.ok(&["vm", "start", &vm, "--paused"]).await;
        let set: Value = serde_json::from_str(&password("s3cond", &["--expires", "1h"]).await.succeeded()).unwrap();
        assert_eq!(set["documents"], "both", "{set}");
        let live = host.virsh(&["dumpxml", "--security-info", &vm]).await;
        assert!(live.contains("passwd='s3cond' passwdValidTo='"), "{live}");

        // The viewer keeps what it is given, for us to look at.
        let bin = kvmctl.give("bin/remote-viewer", "#!/bin/sh\ncp \"$1\" \"$HOME/seen.vv\"\nls -l \"$1\"\n");
        std::fs::set_permissions(&bin, std::fs::Permissions::from_mode(0o755)).unwrap();
        let home = kvmctl.home().display();
        let environment =
            [("PATH", format!("{home}/bin:/usr/bin:/bin")), ("HOME", home.to_string()), ("DISPLAY", ":9".into())];
        let ended = kvmctl.program(&["vm", "viewer", &vm]).with_environment(environment).run().await;
        let said = ended.succeeded();
        assert!(said.contains("-rw------- "), "{said}");
        let seen = std::fs::read_to_string(kvmctl.home().join("seen.vv")).unwrap();
        assert_eq!((value(&seen, "password"), value(&seen, "delete-this-file")), (Some("s3cond"), Some("1")), "{seen}");
        assert!(!said.contains("s3cond"), "{said}");

        // A file that is asked for has no password unless that is asked for, too. Two is the type for one.
        let file = kvmctl.home().join("asked.vv");
        let mut viewer = host.kvmctl().start(&["vm", "viewer", &vm, "--vv", file.to_str().unwrap()]);
        viewer.line("the file", |line| line.contains("asked.vv")).await;
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(value(&text, "password"), None, "{text}");
        viewer.ended().await.succeeded();

        let mut tunnel = kvmctl.start(&["vm", "viewer", &vm, "--with-password", "--vv", file.to_str().unwrap()]);
        within(SOON, "the tunnel", tunnel.line("word of the tunnel", |line| line.contains("until Ctrl-C"))).await;
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(value(&text, "password"), Some("s3cond"), "{text}");
        assert_eq!(security_types("127.0.0.1", value(&text, "port").unwrap().parse().unwrap()).await, [2]);
        tunnel.signal(Signal::INT);
        tunnel.ended().await.succeeded();
    });
}

#[test]
fn a_screen_that_was_started_without_a_password_says_how_to_get_one() {
    on_a_host(async |host| {
        let (kvmctl, vm) = (over_ssh(host), host.unique("open"));
        paused(&kvmctl, &vm, &["--start-paused"]).await;
        let set = async |only: &[&str]| {
            let mut running = kvmctl.start(&[&["vm", "viewer-password", &vm], only].concat());
            running.write("s3cret\n").await;
            running.ended().await
        };
        let refused = set(&[]).await;
        assert_eq!(refused.code, Some(INVALID_STATE), "{refused}");
        assert!(refused.stderr.contains("--only config"), "{refused}");
        set(&["--only", "config"]).await.succeeded();
        kvmctl.ok(&["vm", "viewer-password", &vm, "--remove"]).await;
        assert!(!host.virsh(&["dumpxml", "--inactive", "--security-info", &vm]).await.contains("passwd="));
    });
}
