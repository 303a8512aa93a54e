//! The helper on the host: put there when it is not, never started when it is not ours.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;
use kvm_core::text::printable_within;
use kvm_core::{ByteStream, Bytes, Entropy, Error, ErrorKind, Resource, Result};
use russh_sftp::protocol::FileAttributes;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::client::Connection;
use super::error::{SHOWN, host_error};
use super::options::SshOptions;
use super::sftp::Sftp;
use super::{dial, program, quote};
use crate::local::file;

/// A helper that is larger is none.
const LARGEST: Bytes = Bytes::from_mib(64);
/// The most that a login shell may say before it starts a program.
const MOST_SAID: usize = 64 << 10;
/// How long the host may take for one of the small programs that are asked about it.
const MOMENT: Duration = Duration::from_secs(30);

/// The helper as a file of this machine.
pub(super) struct Program {
    data: Vec<u8>,
    digest: String,
    /// What `uname -m` says where it runs.
    machine: &'static str,
}

impl Program {
    /// Reads the configured helper. `Unsupported` when there is none, or when it is no program for Linux.
    pub(super) async fn read(options: &SshOptions) -> Result<Self> {
        let Some(path) = &options.helper else {
            return Err(host_error(ErrorKind::Unsupported, &options.shown(), "has no helper: none is configured"));
        };
        let data = file::read(path, LARGEST).await.map_err(|e| {
            let text = "the configured helper cannot be read";
            Error::new(ErrorKind::Unsupported, text).on(Resource::File(path.display().to_string())).with_source(e)
        })?;
        let Some(machine) = machine(&data) else {
            let text = "the configured helper is no program for Linux";
            return Err(Error::new(ErrorKind::Unsupported, text).on(Resource::File(path.display().to_string())));
        };
        let digest = HEXLOWER.encode(&Sha256::digest(&data));
        Ok(Self { data, digest, machine })
    }

    /// Sees to it that the host has it, and gives the command line that starts it. Where one lies there that looks like it,
    /// it is put there `anew` if that is asked for. `Unsupported` when it cannot run there.
    pub(super) async fn settle(
        &self,
        connection: &Arc<Connection>,
        directory: Option<&Path>,
        anew: bool,
        entropy: &dyn Entropy,
    ) -> Result<Settled> {
        let shown = connection.shown();
        let about = ask(connection, &["sh", "-c", "uname -sm && id -u"]).await?;
        let (system, user) = about.split_once('\n').unwrap_or((&about, ""));
        if system != format!("Linux {}", self.machine) {
            let text = format!("runs no helper: it is {}, and ours is for Linux {}", shorten(system), self.machine);
            return Err(host_error(ErrorKind::Unsupported, shown, &text));
        }
        let user = user.parse().map_err(|_| host_error(ErrorKind::Corrupt, shown, "does not say who is logged in"))?;
        let sftp = Sftp::open(connection).await?;
        let home = sftp.home().await?;
        let directory = match directory {
            Some(directory) => super::sftp::checked(directory)?.to_owned(),
            None => {
                let cache = format!("{}/.cache", home.trim_end_matches('/'));
                sftp.make_directory(&cache).await;
                format!("{cache}/kvm-manager")
            }
        };
        sftp.make_directory(&directory).await;
        let found = sftp.look(&directory).await?;
        if !found.is_some_and(|it| it.is_dir() && is_private(&it, user)) {
            let text =
                format!("has no place for the helper: {} is not a directory of this login alone", shorten(&directory));
            return Err(host_error(ErrorKind::Unsupported, shown, &text));
        }
        let path = format!("{directory}/helper-{}", self.digest);
        let found = sftp.look(&path).await?;
        let is_like_it = |it: FileAttributes| it.is_regular() && is_private(&it, user);
        if anew || !found.is_some_and(is_like_it) {
            let put = sftp.write(Path::new(&path), &self.data, 0o700, entropy).await;
            put.map_err(|e| host_error(ErrorKind::Unsupported, shown, "has no place for the helper").with_source(e))?;
            // Not where programs may not be, such as a file system that is mounted without.
            let tried = ask(connection, &[&path, "--version"]).await;
            tried.map_err(|e| host_error(ErrorKind::Unsupported, shown, "cannot run the helper").with_source(e))?;
        }
        Ok(Settled { line: quote::conversation_line(&home, &path, &self.digest), digest: self.digest.clone() })
    }

    /// Starts it on a connection of its own; `None` when what lies there is not it.
    pub(super) async fn start(connection: Connection, settled: &Settled) -> Result<Option<Box<dyn ByteStream>>> {
        let (shown, stall) = (connection.shown().to_owned(), connection.stall());
        let channel = connection.session().await?;
        connection.answer(channel.exec(true, settled.line.as_str())).await?;
        let mut stream = dial::stream(channel, connection);
        match tokio::time::timeout(stall, first_words(&mut stream)).await {
            Ok(Ok(true)) => Ok(Some(stream)),
            Ok(Ok(false)) => Ok(None),
            Ok(Err(e)) => Err(host_error(ErrorKind::Unavailable, &shown, "did not start the helper").with_source(e)),
            Err(_) => Err(host_error(ErrorKind::Timeout, &shown, "did not start the helper in time")),
        }
    }
}

/// A helper that was seen to lie on the host, and how it is started.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    line: String,
    digest: String,
}

impl Settled {
    /// Whether it is this program.
    pub(super) fn is(&self, program: &Program) -> bool {
        self.digest == program.digest
    }
}

/// Reads until it is clear whether the program starts, past what the login shell says of itself.
async fn first_words(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<bool> {
    let mut said = Vec::new();
    loop {
        // The program itself says nothing before it is spoken to.
        if stream.read_buf(&mut said).await? == 0 || said.len() > MOST_SAID {
            let said = shorten(&String::from_utf8_lossy(&said));
            return Err(io::Error::other(format!("the login shell said: {said}")));
        }
        if said.ends_with(quote::STARTS.as_bytes()) {
            return Ok(true);
        }
        // Its shell may still have something to say when it ends.
        if said.windows(quote::ABSENT.len()).any(|part| part == quote::ABSENT.as_bytes()) {
            return Ok(false);
        }
    }
}

fn is_private(it: &FileAttributes, user: u32) -> bool {
    it.uid == Some(user) && it.permissions.is_some_and(|mode| mode & 0o077 == 0)
}

/// What a small program prints.
async fn ask(connection: &Arc<Connection>, argv: &[&str]) -> Result<String> {
    let output = program::run(Arc::clone(connection), argv, MOMENT).await?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.success() {
        return Ok(text);
    }
    let why = String::from_utf8_lossy(&output.stderr);
    let text = format!("did not get through with {}", argv.first().copied().unwrap_or_default());
    Err(host_error(ErrorKind::Unsupported, connection.shown(), &shorten(&text)).with_detail(shorten(why.trim())))
}

fn shorten(text: &str) -> String {
    printable_within(text, SHOWN).to_string()
}

/// The machine for which a program is, by its ELF header, as `uname -m` calls it.
fn machine(program: &[u8]) -> Option<&'static str> {
    let (start, machine) = (program.first_chunk::<7>()?, program.get(18..20)?);
    match (start, machine) {
        // 64 bits, little endian.
        (b"\x7fELF\x02\x01\x01", [62, 0]) => Some("x86_64"),
        (b"\x7fELF\x02\x01\x01", [183, 0]) => Some("aarch64"),
        (b"\x7fELF\x02\x01\x01", [243, 0]) => Some("riscv64"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_login_shell_says_first_is_passed_over() {
        let said = |text: &str| format!("Welcome to kvm1!\r\n\r\n{text}").into_bytes();
        assert!(first_words(&mut &said(quote::STARTS)[..]).await.unwrap());
        assert!(!first_words(&mut &said(quote::ABSENT)[..]).await.unwrap());
        assert!(!first_words(&mut &said(&format!("{}logout\n", quote::ABSENT))[..]).await.unwrap());
        let e = first_words(&mut &said("sh: not found\n")[..]).await.unwrap_err();
        assert!(e.to_string().contains("sh: not found"), "{e}");
        assert!(first_words(&mut tokio::io::repeat(b'-')).await.is_err());
    }

    #[test]
    fn the_machine_of_a_program_is_in_its_header() {
        let header = |class, machine| {
            let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
            bytes[4] = class;
            bytes.resize(18, 0);
            bytes.extend_from_slice(&[machine, 0]);
            bytes
        };
        assert_eq!(machine(&header(2, 62)), Some("x86_64"));
        assert_eq!(machine(&header(2, 183)), Some("aarch64"));
        for other in [header(1, 62), header(2, 3), b"#!/bin/sh\necho hello and more\n".to_vec(), Vec::new()] {
            assert_eq!(machine(&other), None, "{other:?}");
        }
    }

    #[test]
    fn what_others_can_write_is_not_private() {
        let of = |uid, mode| FileAttributes { uid: Some(uid), permissions: Some(mode), ..FileAttributes::empty() };
        assert!(is_private(&of(7, 0o100_700), 7));
        assert!(!is_private(&of(8, 0o100_700), 7));
        for mode in [0o100_720, 0o100_702, 0o100_770, 0o040_755] {
            assert!(!is_private(&of(7, mode), 7), "{mode:o}");
        }
        assert!(!is_private(&FileAttributes::empty(), 7));
    }
}
