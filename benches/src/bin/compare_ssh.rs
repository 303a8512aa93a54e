//! Runs one bulk stream through kvm-ssh beside OpenSSH's own client, with the same server and cipher, interleaved, and
//! prints the medians and their ratio.
//!
//! `compare_ssh [ROUNDS [MIB]]`: how many rounds (9), and how much goes through in each (1024). Needs `sshd`, `ssh` and
//! `ssh-keygen`; the server runs on the loopback interface, as whoever runs this.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a measuring program prints")]

use std::process::Stdio;
use std::time::{Duration, Instant};

use kvm_benches::quartiles;
use kvm_benches::sshd::{Outcome, Sshd, command};
use kvm_core::{Dial, Transport};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Child;

/// Both sides' first choice.
const CIPHER: &str = "aes256-gcm@openssh.com";
const PIECE: usize = 256 << 10;

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1);
    let rounds: usize = args.next().map_or(Ok(9), |n| n.parse())?;
    let mib: u64 = args.next().map_or(Ok(1024), |n| n.parse())?;
    let bytes = mib << 20;
    let server = Sshd::start().await?;
    println!("{rounds} interleaved rounds of {mib} MiB, {CIPHER}; MiB/s, median [middle half]");
    for (what, way) in [("from the host", Way::Down), ("to the host", Way::Up)] {
        let port = far_end(way, bytes).await?;
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..=rounds {
            let ours = timed(way, bytes, through_us(&server, port).await?).await?;
            let (mut ssh, theirs) = through_ssh(&server, port)?;
            let theirs = timed(way, bytes, theirs).await?;
            ssh.kill().await?;
            // The first round only warms caches.
            if round > 0 {
                times[0].push(ours);
                times[1].push(theirs);
            }
        }
        let [ours, theirs] = times.map(quartiles);
        println!("\n{what}");
        for (who, [low, median, high]) in [("kvm-ssh", ours), ("ssh -W", theirs)] {
            let speed = |time: Duration| mib as f64 / time.as_secs_f64();
            println!("  {who:<8} {:>6.0}  [{:.0} .. {:.0}]", speed(median), speed(high), speed(low));
        }
        println!("  ratio {:.2}", theirs[1].as_secs_f64() / ours[1].as_secs_f64());
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Way {
    Down,
    Up,
}

/// What the stream leads to: a source of so many bytes once it is asked, or a sink that says so when it has them all. Both
/// say something first.
async fn far_end(way: Way, bytes: u64) -> Outcome<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                // Whoever hangs up before the end is seen at the other side.
                let _ended = match way {
                    Way::Down => send(stream, bytes).await,
                    Way::Up => take(stream, bytes).await,
                };
            });
        }
    });
    Ok(port)
}

async fn send(mut stream: TcpStream, bytes: u64) -> Outcome<()> {
    stream.write_all(b"!").await?;
    stream.read_u8().await?;
    write(&mut stream, bytes).await?;
    stream.shutdown().await?;
    // Held until the other side has read it all.
    stream.read_u8().await.map(drop).or(Ok(()))
}

async fn take(mut stream: TcpStream, bytes: u64) -> Outcome<()> {
    stream.write_all(b"!").await?;
    read(&mut stream, bytes).await?;
    stream.write_all(b"!").await?;
    stream.read_u8().await.map(drop).or(Ok(()))
}

async fn timed(way: Way, bytes: u64, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Outcome<Duration> {
    // Logging in is no part of the measurement.
    read(&mut stream, 1).await?;
    let begin = Instant::now();
    match way {
        Way::Down => {
            stream.write_all(b"?").await?;
            stream.flush().await?;
            read(&mut stream, bytes).await?;
        }
        Way::Up => {
            write(&mut stream, bytes).await?;
            stream.flush().await?;
            read(&mut stream, 1).await?;
        }
    }
    Ok(begin.elapsed())
}

async fn read(stream: &mut (impl AsyncRead + Unpin), mut bytes: u64) -> Outcome<()> {
    let mut piece = vec![0; PIECE];
    while bytes > 0 {
        match stream.read(&mut piece).await? {
            0 => return Err("the stream ended too soon".into()),
            length => bytes = bytes.saturating_sub(length as u64),
        }
    }
    Ok(())
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), mut bytes: u64) -> Outcome<()> {
    let piece = vec![0x5a; PIECE];
    while bytes > 0 {
        let length = bytes.min(PIECE as u64);
        stream.write_all(&piece[..length as usize]).await?;
        bytes -= length;
    }
    Ok(())
}

async fn through_us(server: &Sshd, port: u16) -> Outcome<impl AsyncRead + AsyncWrite + Unpin> {
    let to = Dial::Tcp { host: "127.0.0.1".parse()?, port: port.to_string().parse()? };
    Ok(server.transport(None)?.dial(&to).await?)
}

fn through_ssh(server: &Sshd, port: u16) -> Outcome<(Child, impl AsyncRead + AsyncWrite + Unpin)> {
    let mut ssh = command("ssh")
        .args(server.options())
        .args(["-c", CIPHER, "-p", &server.port(), "-W", &format!("127.0.0.1:{port}")])
        .arg(server.target())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (input, output) = (ssh.stdin.take().ok_or("no input")?, ssh.stdout.take().ok_or("no output")?);
    Ok((ssh, tokio::io::join(output, input)))
}
