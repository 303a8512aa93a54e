//! What a hostile server may send, every case of the inputs' kind `remote_frame`: refused in time, with bounded memory.
#![allow(missing_docs, reason = "tests")]

#[path = "ssh/fake.rs"]
mod fake;

use std::path::Path;
use std::time::{Duration, Instant};

use kvm_core::inputs::{Verdict, rows};
use kvm_core::{Bytes, ErrorKind, Result, Transport as _};
use kvm_ssh::{NoPrompt, SshOptions, Timeouts};
use russh::{MethodKind, cipher, kex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use fake::{Fake, Manner, key, transport};

/// What a client may need more of, whatever it is sent.
const MOST_MEMORY: u64 = 64 << 20;
/// Limits of a test; the proportions are those of the defaults.
const LIMITS: Timeouts =
    Timeouts { connect: Duration::from_secs(5), handshake: Duration::from_secs(2), stall: Duration::from_secs(3) };

fn open() -> Manner {
    Manner { ways: vec![MethodKind::None], enough: vec![MethodKind::None], ..Manner::default() }
}

async fn connect(options: &SshOptions) -> Result<()> {
    let options = SshOptions { timeouts: LIMITS, ..options.clone() };
    transport(&options, NoPrompt).connect().await
}

/// A server that says these bytes after its version, again and again, and reads whatever it is told.
async fn says(greeting: impl Into<Vec<u8>>, bytes: &'static [u8], pause: Duration) -> SshOptions {
    let greeting = greeting.into();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string().parse().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(talk(stream, greeting.clone(), bytes, pause));
        }
    });
    let mut options = SshOptions::new("127.0.0.1".parse().unwrap(), "alice".parse().unwrap());
    options.port = port;
    options.retries = 0;
    options
}

async fn talk(stream: TcpStream, greeting: Vec<u8>, bytes: &[u8], pause: Duration) {
    let (mut read, mut write) = stream.into_split();
    tokio::spawn(async move { while read.read(&mut [0; 4096]).await.is_ok_and(|length| length > 0) {} });
    let mut written = write.write_all(&greeting).await;
    let mut ticks = (!pause.is_zero()).then(|| tokio::time::interval(pause));
    while written.is_ok() {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        written = write.write_all(bytes).await;
    }
}

/// The first packet of a server (RFC 4253, 7.1) that can do what we can, but for how it compresses.
fn offer_of_compression(compression: &str) -> Vec<u8> {
    let (cipher, mac) = ("aes256-gcm@openssh.com", "hmac-sha2-256-etm@openssh.com");
    let key_exchange = "curve25519-sha256,kex-strict-s-v00@openssh.com";
    let mut payload = vec![20];
    payload.extend([7; 16]);
    for names in [key_exchange, "ssh-ed25519", cipher, cipher, mac, mac, compression, compression, "", ""] {
        payload.extend(u32::try_from(names.len()).unwrap().to_be_bytes());
        payload.extend(names.as_bytes());
    }
    payload.extend([0; 5]);
    // Padded to whole blocks of eight, by four bytes at least.
    let padding = 8 - (payload.len() + 5) % 8 + 8;
    let mut packet = u32::try_from(payload.len() + 1 + padding).unwrap().to_be_bytes().to_vec();
    packet.push(u8::try_from(padding).unwrap());
    packet.extend(payload);
    packet.extend(vec![0; padding]);
    packet
}

/// A server with a login, before which a text is sent.
async fn greets(text: &'static [u8]) -> SshOptions {
    let fake = Fake::start(open()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut options = fake.options();
    options.host_key_alias = Some(format!("[127.0.0.1]:{}", fake.port));
    options.port = listener.local_addr().unwrap().port().to_string().parse().unwrap();
    tokio::spawn(async move {
        let (mut here, _) = listener.accept().await.unwrap();
        let mut there = TcpStream::connect(("127.0.0.1", fake.port.get())).await.unwrap();
        here.write_all(text).await.unwrap();
        // Whoever hangs up first ends it.
        let _ended = tokio::io::copy_bidirectional(&mut here, &mut there).await;
        drop(fake);
    });
    options
}

/// Does what a row names and gives what became of it.
async fn build(case: &str) -> Result<()> {
    const VERSION: &[u8] = b"SSH-2.0-hostile\r\n";
    const LINE: &[u8] = &[b'x'; 65_536];
    match case {
        "frame length 0xFFFFFFFF" => connect(&says(VERSION, &[0xff; 65_536], Duration::ZERO).await).await,
        "frame length 0 forever" => connect(&says(VERSION, &[0; 65_536], Duration::ZERO).await).await,
        "1 byte per second" => connect(&says(b"", b"S", Duration::from_secs(1)).await).await,
        "10 MiB of banner lines before SSH-2.0" => {
            match connect(&says(b"", b"one more line\r\n", Duration::ZERO).await).await {
                Ok(()) => Ok(()),
                // One line without an end is no better.
                Err(_) => connect(&says(b"", LINE, Duration::ZERO).await).await,
            }
        }
        "motd/text on stdout before protocol magic" => connect(&greets(b"Welcome\r\nto this host\r\n").await).await,
        "zlib bomb packet" => {
            let greeting = [VERSION, &offer_of_compression("zlib,zlib@openssh.com")].concat();
            connect(&says(greeting, &[0], Duration::from_secs(1)).await).await
        }
        "host key changed" => {
            let fake = Fake::start(open()).await;
            let other = key().public_key().to_openssh().unwrap();
            connect(&fake.options_knowing(&format!("[127.0.0.1]:{} {other}\n", fake.port))).await
        }
        "host key unknown" => connect(&Fake::start(open()).await.options_knowing("")).await,
        "weak kex/cipher only (sha1, cbc)" => {
            let weak = |config: &mut russh::server::Config| {
                config.preferred.kex = vec![kex::DH_G14_SHA1].into();
                config.preferred.cipher = vec![cipher::AES_256_CBC].into();
            };
            connect(&Fake::start_with(open(), key(), weak).await.options()).await
        }
        "no strict-kex and chacha20" => {
            let cut = |config: &mut russh::server::Config| {
                config.preferred.kex = vec![kex::CURVE25519].into();
                config.preferred.cipher = vec![cipher::CHACHA20_POLY1305].into();
            };
            connect(&Fake::start_with(open(), key(), cut).await.options()).await
        }
        "file answer of 0xFFFFFFFF bytes" => {
            let fake = Fake::start(Manner { huge_files: true, ..open() }).await;
            let options = SshOptions { timeouts: LIMITS, ..fake.options() };
            let file = transport(&options, NoPrompt).read_file(Path::new("/etc/hostname"), Bytes::from_mib(1)).await;
            file.map(drop)
        }
        "1 GiB on stderr" => {
            let fake = Fake::start(Manner { floods: true, ..open() }).await;
            let options = SshOptions { timeouts: LIMITS, ..fake.options() };
            transport(&options, NoPrompt).run(&["flood"], Duration::from_secs(60)).await.map(drop)
        }
        other => panic!("no case for {other:?}"),
    }
}

/// A figure of this process, in bytes.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_matches([':', ' ', '\t', 'k', 'B']).parse::<u64>().unwrap() << 10
}

/// One test, so that nothing else in this process uses memory meanwhile.
#[expect(clippy::print_stdout, reason = "the figure is for whoever asks for it with --nocapture")]
#[tokio::test]
async fn every_remote_frame_has_its_verdict_in_time_and_with_bounded_memory() {
    let mut worst = (0, String::new());
    for row in rows("remote_frame") {
        let case = row.text().unwrap();
        // The high-water mark begins anew.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let (before, begin) = (memory("VmRSS"), Instant::now());
        let outcome = build(case).await;
        let took = begin.elapsed();
        let more = memory("VmHWM").saturating_sub(before);
        match row.verdict {
            Verdict::Accept => outcome.unwrap_or_else(|e| panic!("line {}: {case}: {e:?}", row.line)),
            _ => {
                let e = outcome.expect_err(case);
                // One that answers nonsense for files counts as one without a file server.
                use ErrorKind::{Corrupt, Denied, Timeout, Unavailable, Unsupported};
                let told = [Denied, Corrupt, Timeout, Unavailable, Unsupported];
                assert!(told.contains(&e.kind()), "line {}: {case}: {e:?}", row.line);
            }
        }
        let limit = LIMITS.connect + LIMITS.handshake + LIMITS.stall;
        // A flood of output is as long as what may be printed.
        assert!(took < limit * 3, "line {}: {case} took {took:?}", row.line);
        assert!(more <= MOST_MEMORY, "line {}: {case} took {} MiB", row.line, more >> 20);
        worst = worst.max((more, case.to_owned()));
    }
    println!("most memory: {} KiB more, for {}", worst.0 >> 10, worst.1);
}
