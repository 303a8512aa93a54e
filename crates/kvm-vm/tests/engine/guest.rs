//! What runs inside of machines, through agents that tell the truth, that lie, and that are silent.

use std::sync::Arc;
use std::time::Duration;

use kvm_core::{Bytes, Clock as _, ErrorKind, Result, VmId, VmState};
use kvm_mock::AgentAnswer;
use kvm_vm::guest::{
    Agent, AuthorizedKey, End, ExecSpec, FreezeState, GuestPath, GuestUser, GuestVcpu, OpenMode, PasswordForm, Reset,
};
use proptest::prelude::*;
use serde_json::json;

use crate::support::{Bench, said};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJk8g0rOTBHrFyVGwGMA8fP7nKwIpbN4n2RBYKZKJqgM me@here";
const LONG: Duration = Duration::from_secs(30);
const MOST: Bytes = Bytes::new(16 << 20);

async fn guest(bench: &Bench) -> (Agent, VmId) {
    let id = bench.vm("build-01").await.id;
    (Agent::new(&bench.host, &id, bench.clock.clone()).unwrap(), id)
}

fn path(text: &str) -> GuestPath {
    text.parse().unwrap()
}

fn user(name: &str) -> GuestUser {
    name.parse().unwrap()
}

fn program(words: &[&str]) -> ExecSpec {
    ExecSpec::new(words[0], words[1..].iter().copied()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_program_ends_with_its_code_and_what_it_said() {
    let bench = Bench::new();
    let (agent, _) = guest(&bench).await;
    let echoed = agent.exec(&program(&["echo", "a  b", "c"]), LONG).await.unwrap();
    assert_eq!((echoed.end, &*echoed.stdout, &*echoed.stderr), (End::Exited(0), &b"a  b c\n"[..], &b""[..]));
    let missing = agent.exec(&program(&["/usr/bin/cat", "/none"]), LONG).await.unwrap();
    assert_eq!(missing.end, End::Exited(1));
    assert!(!missing.stderr.is_empty());
    let given = program(&["cat"]).input(b"\x00\xffbytes".to_vec()).unwrap();
    assert_eq!(agent.exec(&given, LONG).await.unwrap().stdout, b"\x00\xffbytes");
    let unknown = agent.exec(&program(&["/none"]), LONG).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::InvalidState, "{}", said(&unknown));
}

#[tokio::test(start_paused = true)]
async fn a_program_that_goes_on_is_a_timeout_that_names_it() {
    let bench = Bench::new();
    let (agent, _) = guest(&bench).await;
    assert_eq!(agent.exec(&program(&["sleep", "7"]), LONG).await.unwrap().end, End::Exited(0));
    let e = agent.exec(&program(&["sleep", "60"]), LONG).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Timeout);
    assert!(e.detail().unwrap().contains("process 1002"), "{}", said(&e));
}

#[tokio::test(start_paused = true)]
async fn a_file_goes_in_and_comes_out_in_pieces() {
    let bench = Bench::new();
    let (agent, _) = guest(&bench).await;
    let content: Vec<u8> = (0..700_001_u32).map(|n| (n % 251) as u8).collect();
    let file = path("/var/data");
    let written = agent.write_file(&file, OpenMode::Overwrite, &mut &content[..], MOST).await.unwrap();
    assert_eq!(written, Bytes::new(700_001));
    agent.write_file(&file, OpenMode::Append, &mut &b"end"[..], MOST).await.unwrap();
    let mut read = Vec::new();
    assert_eq!(agent.read_file(&file, &mut read, MOST).await.unwrap(), Bytes::new(700_004));
    assert!(read == [&content[..], b"end"].concat());
    // Nothing is kept of what is too much, and no file stays open.
    let e = agent.read_file(&file, &mut Vec::new(), Bytes::new(300_000)).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NoSpace);
    let e = agent.read_file(&path("/none"), &mut Vec::new(), MOST).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidState, "{}", said(&e));
}

#[tokio::test(start_paused = true)]
async fn users_keys_and_clock_are_as_they_were_set() {
    let bench = Bench::new();
    let (agent, _) = guest(&bench).await;
    let (root, key) = (user("root"), AuthorizedKey::parse(KEY).unwrap());
    for _ in 0..2 {
        agent.add_ssh_keys(&root, std::slice::from_ref(&key), Reset::Keep).await.unwrap();
    }
    assert_eq!(agent.ssh_keys(&root).await.unwrap(), [KEY]);
    agent.remove_ssh_keys(&root, &[key]).await.unwrap();
    assert!(agent.ssh_keys(&root).await.unwrap().is_empty());
    assert_eq!(agent.ssh_keys(&user("nobody")).await.unwrap_err().kind(), ErrorKind::InvalidState);

    agent.set_password(&root, "correct horse", PasswordForm::Plain).await.unwrap();
    let mut shadow = Vec::new();
    agent.read_file(&path("/etc/shadow"), &mut shadow, MOST).await.unwrap();
    let kept = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, b"correct horse");
    assert_eq!(String::from_utf8(shadow).unwrap(), format!("root:{kept}\n"));
    for bad in ["", "a\nb", "a\0b"] {
        let e = agent.set_password(&root, bad, PasswordForm::Plain).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidInput);
    }

    let wanted = "2031-02-03T04:05:06Z".parse().unwrap();
    agent.set_time(Some(wanted)).await.unwrap();
    assert_eq!(agent.time().await.unwrap(), wanted);
    assert_eq!(agent.users().await.unwrap()[0].user, "root");
    assert_eq!(agent.host_name().await.unwrap(), "build-01");

    let last = GuestVcpu { id: 3, online: false, can_offline: true };
    agent.set_vcpus(&[last]).await.unwrap();
    assert_eq!(agent.vcpus().await.unwrap()[3], last);
}

#[tokio::test(start_paused = true)]
async fn file_systems_thaw_whatever_becomes_of_who_froze_them() {
    let bench = Bench::new();
    let (agent, _) = guest(&bench).await;
    let state = || async { agent.freeze_state().await.unwrap() };

    let frozen = agent.freeze(LONG).await.unwrap();
    assert_eq!((frozen.count(), state().await), (1, FreezeState::Frozen));
    assert_eq!(agent.host_name().await.unwrap_err().kind(), ErrorKind::Unsupported);
    // A second freeze is refused, and leaves the first as it is.
    assert_eq!(agent.freeze(LONG).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(state().await, FreezeState::Frozen);
    frozen.thaw().await.unwrap();
    assert_eq!(state().await, FreezeState::Thawed);

    drop(agent.freeze(LONG).await.unwrap());
    tokio::task::yield_now().await;
    bench.clock.sleep(Duration::from_millis(1)).await;
    assert_eq!(state().await, FreezeState::Thawed, "dropped");

    let frozen = agent.freeze(LONG).await.unwrap();
    bench.clock.sleep(LONG + Duration::from_secs(1)).await;
    assert_eq!(state().await, FreezeState::Thawed, "its time is over");
    assert_eq!(frozen.thaw().await.unwrap_err().kind(), ErrorKind::Timeout);
}

#[tokio::test(start_paused = true)]
async fn a_freeze_that_nobody_waits_for_is_thawed() {
    let bench = Bench::new();
    let (agent, _) = guest(&bench).await;
    bench.mock.set_latency(Duration::from_secs(2));
    let cancelled = tokio::time::timeout(Duration::from_secs(1), agent.freeze(LONG)).await;
    assert!(cancelled.is_err());
    bench.clock.sleep(Duration::from_secs(10)).await;
    assert_eq!(agent.freeze_state().await.unwrap(), FreezeState::Thawed);
    let asked = bench.mock.calls().iter().filter(|call| call.method == kvm_mock::Method::AskAgent).count();
    assert_eq!(asked, 3, "freeze, thaw, status");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_a_freeze_is_followed_by_a_thaw() {
    let bench = Bench::new();
    let (agent, _) = guest(&bench).await;
    let lost = kvm_mock::Fault::next(kvm_mock::Method::AskAgent, ErrorKind::Timeout).after_effect();
    bench.mock.inject(lost);
    assert_eq!(agent.freeze(LONG).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(agent.freeze_state().await.unwrap(), FreezeState::Thawed);
    // Also when the first thaw is lost.
    let frozen = agent.freeze(LONG).await.unwrap();
    bench.mock.fail_next(kvm_mock::Method::AskAgent, ErrorKind::Unavailable);
    frozen.thaw().await.unwrap();
    assert_eq!(agent.freeze_state().await.unwrap(), FreezeState::Thawed);
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_shuts_down_is_waited_for() {
    let bench = Bench::new();
    let (agent, id) = guest(&bench).await;
    agent.shutdown(LONG).await.unwrap();
    assert_eq!(bench.vm("build-01").await.state, VmState::Off);
    assert_eq!(agent.ping().await.unwrap_err().kind(), ErrorKind::InvalidState);
    let absent = Agent::new(&bench.host, &VmId::from(uuid::Uuid::from_u128(7)), bench.clock.clone()).unwrap();
    assert_eq!(absent.ping().await.unwrap_err().kind(), ErrorKind::NotFound, "not {id}");
}

/// Every question once. What is answered is dropped: only that it ends, and how, is of interest.
async fn ask_everything(agent: &Agent) -> Vec<(&'static str, Result<()>)> {
    let root = user("root");
    let file = || path("/etc/hosts");
    let key = [AuthorizedKey::parse(KEY).unwrap()];
    vec![
        ("ping", agent.ping().await),
        ("info", agent.info().await.map(drop)),
        ("os_info", agent.os_info().await.map(drop)),
        ("host_name", agent.host_name().await.map(drop)),
        ("time_zone", agent.time_zone().await.map(drop)),
        ("users", agent.users().await.map(drop)),
        ("time", agent.time().await.map(drop)),
        ("interfaces", agent.interfaces().await.map(drop)),
        ("file_systems", agent.file_systems().await.map(drop)),
        ("trim", agent.trim().await.map(drop)),
        ("freeze_state", agent.freeze_state().await.map(drop)),
        ("freeze", agent.freeze(Duration::ZERO).await.map(drop)),
        ("thaw", agent.thaw().await.map(drop)),
        ("vcpus", agent.vcpus().await.map(drop)),
        ("ssh_keys", agent.ssh_keys(&root).await.map(drop)),
        ("add_ssh_keys", agent.add_ssh_keys(&root, &key, Reset::Keep).await),
        ("exec", agent.exec(&program(&["true"]), LONG).await.map(drop)),
        ("read_file", agent.read_file(&file(), &mut Vec::new(), MOST).await.map(drop)),
        ("write_file", agent.write_file(&file(), OpenMode::Append, &mut &b"x"[..], MOST).await.map(drop)),
    ]
}

/// Everything, with this as the answer.
async fn when_told(answer: String) -> Vec<(&'static str, Result<()>)> {
    let bench = Bench::new();
    let (agent, id) = guest(&bench).await;
    bench.mock.set_agent_answer(&id, AgentAnswer::Says(answer)).unwrap();
    ask_everything(&agent).await
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_is_corrupt_for_every_question() {
    let huge = format!(r#"{{"return": "{}"}}"#, "x".repeat(2 << 20));
    let deep = format!(r#"{{"return": {}{}}}"#, "[".repeat(500_000), "]".repeat(500_000));
    for answer in [huge, deep, String::new(), "{\"ret".into(), r#"{"return": 1, "error": {}}"#.into(), "7".into()] {
        for (name, result) in when_told(answer).await {
            let e = result.expect_err(name);
            assert_eq!(e.kind(), ErrorKind::Corrupt, "{name}: {}", said(&e));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_true_is_corrupt() {
    let address = json!({"ip-address": "10.0.0.1", "ip-address-type": "ipv4", "prefix": 24});
    let nic = json!({"name": "eth0", "ip-addresses": vec![address.clone(); 200]});
    let ended = |more: serde_json::Value| {
        let mut status = json!({"pid": 1, "exited": true});
        status.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        status
    };
    for (name, returned) in [
        ("interfaces", json!(vec![json!({"name": "x"}); 300])),
        ("interfaces", json!([{"name": "eth0", "ip-addresses": vec![address; 100_000 / 64]}])),
        ("interfaces", json!([nic.clone(), nic])),
        ("time", json!(1e308)),
        ("time_zone", json!({"offset": 1_000_000})),
        ("exec", ended(json!({"exitcode": 9_223_372_036_854_775_808_u64}))),
        ("exec", ended(json!({"exitcode": i64::MAX}))),
        ("exec", ended(json!({"exitcode": 0, "signal": 9}))),
        ("exec", ended(json!({"exitcode": 0, "out-data": "not base64!"}))),
        ("exec", ended(json!({"exitcode": 0, "out-data": "YQ"}))),
        ("freeze_state", json!("melting")),
        ("vcpus", json!([{"logical-id": -1, "online": true}])),
    ] {
        let all = when_told(json!({ "return": returned }).to_string()).await;
        let (_, result) = all.into_iter().find(|(asked, _)| *asked == name).unwrap();
        assert_eq!(result.expect_err(name).kind(), ErrorKind::Corrupt, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_has_no_more_bytes_than_were_asked_for() {
    let bench = Bench::new();
    let (agent, id) = guest(&bench).await;
    let mut file = agent.open(&path("/etc/passwd"), OpenMode::Read).await.unwrap();
    for (count, text, eof) in [(3, "YWJj", false), (9, "YWI=", false), (0, "", false), (2, "YWI", true)] {
        let answer = json!({"return": {"count": count, "buf-b64": text, "eof": eof}}).to_string();
        bench.mock.set_agent_answer(&id, AgentAnswer::Says(answer)).unwrap();
        assert_eq!(file.read(2).await.unwrap_err().kind(), ErrorKind::Corrupt, "{text}");
    }
    bench.mock.set_agent_answer(&id, AgentAnswer::Honest).unwrap();
    file.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn numbers_that_cannot_be_are_unknown_not_zero() {
    let bench = Bench::new();
    let (agent, id) = guest(&bench).await;
    let sizes = |used: serde_json::Value| {
        let one = json!({"name": "a", "mountpoint": "/", "type": "ext4", "used-bytes": used, "total-bytes": 100});
        bench.mock.set_agent_answer(&id, AgentAnswer::Says(json!({ "return": [one] }).to_string())).unwrap();
        agent.file_systems()
    };
    assert_eq!(sizes(json!(50)).await.unwrap()[0].used, Some(Bytes::new(50)));
    for used in [json!(-50), json!(101), json!(1e308), json!(null)] {
        assert_eq!(sizes(used).await.unwrap()[0].used, None);
    }
    let since = |time: f64| {
        let answer = json!({"return": [{"user": "a", "login-time": time}]}).to_string();
        bench.mock.set_agent_answer(&id, AgentAnswer::Says(answer)).unwrap();
        agent.users()
    };
    assert_eq!(since(-1.0).await.unwrap()[0].since, None);
    assert_eq!(since(1e308).await.unwrap()[0].since, None);
}

#[tokio::test(start_paused = true)]
async fn a_silent_agent_holds_nobody_beyond_the_limit() {
    let bench = Bench::new();
    let (agent, id) = guest(&bench).await;
    bench.mock.set_agent_answer(&id, AgentAnswer::Nothing).unwrap();
    for ask in [tokio::time::timeout(Duration::from_secs(6), agent.ping()).await.unwrap(), agent.time().await.map(drop)]
    {
        assert_eq!(ask.unwrap_err().kind(), ErrorKind::Timeout);
    }
    // Other machines answer meanwhile.
    let other = bench.vm("fleeting").await;
    let other = Agent::new(&bench.host, &other.id, Arc::clone(&bench.clock) as _).unwrap();
    let (silent, answer) =
        tokio::join!(agent.ping(), async { tokio::time::timeout(Duration::from_millis(1), other.ping()).await });
    assert!(silent.is_err());
    answer.unwrap().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// An answer of any form is an error or is taken; nothing else happens.
    #[test]
    fn no_answer_makes_a_question_panic(returned in any_json()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let all = runtime.block_on(when_told(json!({ "return": returned }).to_string()));
        for (name, result) in all {
            if let Err(e) = result {
                let expected = [ErrorKind::Corrupt, ErrorKind::Timeout, ErrorKind::NoSpace];
                prop_assert!(expected.contains(&e.kind()), "{}: {}", name, said(&e));
            }
        }
    }
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    const KEYS: [&str; 17] = [
        "version",
        "supported_commands",
        "name",
        "enabled",
        "host-name",
        "offset",
        "zone",
        "user",
        "login-time",
        "pid",
        "exited",
        "exitcode",
        "out-data",
        "count",
        "buf-b64",
        "eof",
        "keys",
    ];
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|b| json!(b)),
        any::<i64>().prop_map(|n| json!(n)),
        any::<f64>().prop_map(|n| json!(n)),
        "[A-Za-z0-9+/=]{0,8}".prop_map(|s| json!(s)),
        "\\PC{0,8}".prop_map(|s| json!(s)),
    ];
    leaf.prop_recursive(4, 32, 8, |inner| {
        let object = prop::collection::vec((prop::sample::select(&KEYS[..]), inner.clone()), 0..8);
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(|list| json!(list)),
            object.prop_map(|pairs| pairs
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect::<serde_json::Map<_, _>>()
                .into()),
        ]
    })
}
