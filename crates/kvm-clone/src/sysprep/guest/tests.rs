use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kvm_core::{Bytes, MockWorld};
use kvm_mock::{AgentAnswer, Mock, TokioClock};
use kvm_vm::guest::{ExecSpec, GuestPath, OpenMode};

use super::*;

const ID: &str = "0c0d5b1e111140008000000000000002";

/// A simulated guest that runs, with these files besides those that all have.
async fn guest(files: &[(&str, &str)]) -> (Mock, Agent) {
    let clock = Arc::new(TokioClock::starting_at("2030-01-01T00:00:00Z".parse().unwrap()));
    let mock = Mock::open(&MockWorld::Demo, None, clock.clone()).unwrap();
    let host = mock.host();
    let vm = kvm_vm::resolve(&host, "build-01").await.unwrap();
    let agent = Agent::new(&host, &vm.id, clock).unwrap();
    for (path, text) in files {
        let path = path.parse().unwrap();
        agent.write_file(&path, OpenMode::Overwrite, &mut text.as_bytes(), Bytes::from_mib(1)).await.unwrap();
    }
    (mock, agent)
}

fn identity(keep: &[Part]) -> Identity {
    let keep: BTreeSet<_> = keep.iter().copied().collect();
    let host_name = (!keep.contains(&Part::HostName)).then(|| "web2.lab".parse().unwrap());
    Identity { machine_id: ID.to_owned(), host_name, keep }
}

async fn content(agent: &Agent, path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    agent.read_file(&GuestPath::parse(path).unwrap(), &mut bytes, Bytes::from_mib(1)).await.ok()?;
    String::from_utf8(bytes).ok()
}

/// The outcomes in the order of the parts, and what is told of them.
async fn prepared(agent: &Agent, keep: &[Part]) -> (Vec<Outcome>, String) {
    let done = prepare(agent, &identity(keep)).await.unwrap();
    assert_eq!(done.iter().map(|part| part.part).collect::<Vec<_>>(), Part::ALL);
    let told = done.iter().map(|part| format!("{}: {}\n", part.part, part.what)).collect();
    (done.iter().map(|part| part.outcome).collect(), told)
}

#[tokio::test(start_paused = true)]
async fn every_part_becomes_another_and_the_rest_stays() {
    use Outcome::{Absent, Changed};
    let (_mock, agent) = guest(&[
        ("/var/lib/dbus/machine-id", "old\n"),
        ("/etc/hosts", "127.0.1.1 build-01\n"),
        ("/etc/ssh/ssh_host_ed25519_key", "the original's"),
        ("/etc/ssh/ssh_host_ed25519_key.pub", "the original's"),
        ("/etc/ssh/ssh_host_rsa_key", "the original's"),
        ("/etc/ssh/sshd_config", "Port 22"),
        ("/var/lib/dhcp/dhclient.eth0.leases", "lease"),
        ("/var/lib/NetworkManager/secret_key", "secret"),
        ("/var/lib/NetworkManager/timestamps", "[timestamps]"),
        ("/var/log/syslog", "something"),
        ("/var/log/syslog.1", "something older"),
        ("/var/log/journal/5ca1ab1e/system.journal", "binary"),
        ("/root/.bash_history", "passwd"),
        ("/home/ann/.python_history", "import this"),
        ("/home/ann/notes/.x_history", "hers"),
        ("/root/.ssh/authorized_keys", "ssh-ed25519 AAAA"),
    ])
    .await;
    let (outcomes, told) = prepared(&agent, &[]).await;
    assert_eq!(outcomes, [Changed, Changed, Changed, Changed, Absent, Changed, Changed], "{told}");
    for (path, is) in [
        ("/etc/machine-id", Some("0c0d5b1e111140008000000000000002\n")),
        ("/var/lib/dbus/machine-id", Some("0c0d5b1e111140008000000000000002\n")),
        ("/etc/hostname", Some("web2.lab\n")),
        ("/etc/hosts", Some("127.0.1.1 web2.lab\n")),
        ("/etc/ssh/ssh_host_rsa_key", None),
        ("/etc/ssh/sshd_config", Some("Port 22")),
        ("/var/lib/dhcp/dhclient.eth0.leases", None),
        ("/var/lib/NetworkManager/secret_key", None),
        ("/var/lib/NetworkManager/timestamps", Some("[timestamps]")),
        ("/var/log/syslog", Some("")),
        ("/var/log/syslog.1", None),
        ("/var/log/journal/5ca1ab1e/system.journal", None),
        ("/root/.bash_history", None),
        ("/home/ann/.python_history", None),
        ("/home/ann/notes/.x_history", Some("hers")),
        ("/root/.ssh/authorized_keys", Some("ssh-ed25519 AAAA")),
    ] {
        assert_eq!(content(&agent, path).await.as_deref(), is, "{path}");
    }
    let key = content(&agent, "/etc/ssh/ssh_host_ed25519_key").await.unwrap();
    assert!(key.starts_with("a key"), "{key}");
    assert!(told.contains("logs: 1 files emptied, 2 deleted") && told.contains("history: 2 files deleted"), "{told}");

    // Once more, and what is there is as new as it was.
    let (again, _) = prepared(&agent, &[]).await;
    assert_eq!(again, [Changed, Changed, Changed, Absent, Absent, Absent, Absent]);
    assert_eq!(content(&agent, "/etc/hostname").await.as_deref(), Some("web2.lab\n"));
    assert_ne!(content(&agent, "/etc/ssh/ssh_host_ed25519_key").await.unwrap(), key);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_stays_and_what_fails_is_told() {
    use Outcome::{Absent, Changed, Failed, Kept};
    let key = "/etc/ssh/ssh_host_ed25519_key.pub";
    let (_mock, agent) = guest(&[(key, "the original's"), ("/root/.bash_history", "ls")]).await;
    let gone = ["/etc/machine-id", "/usr/bin/ssh-keygen", "-maxdepth", "0", "-exec", "rm", "{}", "+"];
    agent.exec(&ExecSpec::new("find", gone).unwrap(), Duration::from_secs(9)).await.unwrap();
    let (outcomes, told) = prepared(&agent, &[Part::HostName, Part::History]).await;
    assert_eq!(outcomes, [Absent, Kept, Failed, Absent, Absent, Absent, Kept], "{told}");
    assert!(told.contains("ssh-keys: they stay, as no new ones can be made: "), "{told}");
    assert_eq!(content(&agent, key).await.as_deref(), Some("the original's"));
    assert_eq!(content(&agent, "/etc/hostname").await.as_deref(), Some("simulated\n"));
    assert_eq!(content(&agent, "/root/.bash_history").await.as_deref(), Some("ls"));
    assert_eq!(prepared(&agent, &[Part::SshKeys]).await.0[1], Changed);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_an_interruption_left_without_keys_gets_some() {
    let (_mock, agent) = guest(&[("/etc/ssh/sshd_config", "Port 22")]).await;
    let (outcomes, told) = prepared(&agent, &[]).await;
    assert_eq!(outcomes[2], Outcome::Changed, "{told}");
    assert!(content(&agent, "/etc/ssh/ssh_host_ed25519_key").await.is_some());
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_says_nothing_or_nonsense_is_an_error() {
    let (mock, agent) = guest(&[]).await;
    let id = kvm_vm::resolve(&mock.host(), "build-01").await.unwrap().id;
    for (answer, kind) in
        [(AgentAnswer::Nothing, ErrorKind::Timeout), (AgentAnswer::Says("{}".to_owned()), ErrorKind::Corrupt)]
    {
        mock.set_agent_answer(&id, answer).unwrap();
        assert_eq!(prepare(&agent, &identity(&[])).await.unwrap_err().kind(), kind);
    }
    mock.set_agent_answer(&id, AgentAnswer::Says(r#"{"return":{"id":"mswindows"}}"#.to_owned())).unwrap();
    let windows = prepare(&agent, &identity(&[])).await.unwrap_err();
    assert!(windows.kind() == ErrorKind::Unsupported && windows.to_string().contains("Windows"), "{windows}");
}

#[test]
fn a_table_of_hosts_is_changed_where_it_names_the_guest() {
    let before = "127.0.0.1\tlocalhost web\n127.0.1.1 web.lab.example  WEB # web, as it was\n10.0.0.7 webcam web2\n";
    let after = "127.0.0.1\tlocalhost db\n127.0.1.1 db.lab.example  db # web, as it was\n10.0.0.7 webcam web2\n";
    assert_eq!(renamed(before, "web", "db"), after);
    assert_eq!(renamed("127.0.1.1 web.lab web", "web.lab", "db.office"), "127.0.1.1 db.office db");
    // One that has no name of its own yet.
    assert_eq!(renamed(before, "localhost", "db"), before);
}
