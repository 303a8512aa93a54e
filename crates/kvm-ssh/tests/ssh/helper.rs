//! The helper on the host: what is started is what was put there, and nothing else.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use kvm_core::{ByteStream, Error, ErrorKind, Transport as _};
use kvm_ssh::{SshOptions, SshTransport};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::sshd::Sshd;

/// Any program that sends back what it gets.
const ECHO: &str = "/bin/cat";

fn options(sshd: &Sshd) -> SshOptions {
    let mut options = sshd.options();
    options.helper = Some(ECHO.into());
    options.helper_directory = Some(sshd.path("helper"));
    options
}

async fn echoes(sshd: &Sshd, options: &SshOptions) -> Result<(), Error> {
    echoes_at(&sshd.transport(options)).await
}

async fn echoes_at(there: &SshTransport) -> Result<(), Error> {
    let mut stream = there.helper().await?;
    stream.write_all(b"there and back").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).await.unwrap();
    assert_eq!(back, b"there and back");
    Ok(())
}

/// What is in the helper's directory.
fn files(sshd: &Sshd) -> Vec<PathBuf> {
    std::fs::read_dir(sshd.path("helper")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Puts another program in its place, for its owner alone as well. The old one may still be about to end.
fn replace(path: &Path, program: &[u8]) {
    let new = path.with_extension("new");
    std::fs::write(&new, program).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::rename(&new, path).unwrap();
}

#[tokio::test]
async fn a_helper_is_put_once_for_its_owner_alone() {
    let sshd = Sshd::start("").await;
    echoes(&sshd, &options(&sshd)).await.unwrap();
    let [path] = &files(&sshd)[..] else { panic!("{:?}", files(&sshd)) };
    assert_eq!((mode(path), mode(&sshd.path("helper"))), (0o700, 0o700));
    let written = std::fs::metadata(path).unwrap().modified().unwrap();
    echoes(&sshd, &options(&sshd)).await.unwrap();
    assert_eq!(std::fs::metadata(path).unwrap().modified().unwrap(), written);
}

#[tokio::test]
async fn a_helper_that_somebody_changed_is_not_started_but_put_there_again() {
    let sshd = Sshd::start("").await;
    echoes(&sshd, &options(&sshd)).await.unwrap();
    let path = files(&sshd).remove(0);
    let (good, canary) = (std::fs::read(&path).unwrap(), sshd.path("canary"));
    let evil = format!("#!/bin/sh\ntouch '{}'\n", canary.display());
    replace(&path, evil.as_bytes());
    echoes(&sshd, &options(&sshd)).await.unwrap();
    assert!(std::fs::read(&path).unwrap() == good);

    // A link in its place, to the very program.
    std::fs::remove_file(&path).unwrap();
    symlink(ECHO, &path).unwrap();
    echoes(&sshd, &options(&sshd)).await.unwrap();
    assert!(std::fs::symlink_metadata(&path).unwrap().is_file());

    // One that others may write to, if not yet changed.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o722)).unwrap();
    echoes(&sshd, &options(&sshd)).await.unwrap();
    assert_eq!(mode(&path), 0o700);
    assert!(!canary.exists());
}

#[tokio::test]
async fn its_digest_is_checked_at_each_start() {
    let sshd = Sshd::start("").await;
    let there = sshd.transport(&options(&sshd));
    echoes_at(&there).await.unwrap();
    let path = files(&sshd).remove(0);
    let (mut changed, good) = (std::fs::read(&path).unwrap(), std::fs::read(&path).unwrap());
    *changed.last_mut().unwrap() ^= 1;
    replace(&path, &changed);
    echoes_at(&there).await.unwrap();
    assert!(std::fs::read(&path).unwrap() == good);
    std::fs::remove_file(&path).unwrap();
    echoes_at(&there).await.unwrap();
    assert!(std::fs::read(&path).unwrap() == good);
}

#[tokio::test]
async fn a_session_that_is_given_back_goes_on_with_the_next() {
    let sshd = Sshd::start("").await;
    let there = sshd.transport(&options(&sshd));
    let said = async |stream: &mut Box<dyn ByteStream>, word: &[u8; 4]| {
        stream.write_all(word).await.unwrap();
        let mut back = [0; 4];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, word);
    };
    let mut first = there.helper().await.unwrap();
    said(&mut first, b"ping").await;
    there.keep_helper(first);
    std::fs::remove_file(files(&sshd).remove(0)).unwrap();
    let mut same = there.helper().await.unwrap();
    said(&mut same, b"pong").await;
    assert!(files(&sshd).is_empty(), "it was put there again, so another one was started");
    // It is out, so whoever comes next gets another one.
    let mut other = there.helper().await.unwrap();
    said(&mut other, b"peng").await;
    assert_eq!(files(&sshd).len(), 1);
}

#[tokio::test]
async fn a_directory_that_is_not_the_logins_alone_is_refused() {
    let sshd = Sshd::start("").await;
    std::fs::create_dir(sshd.path("helper")).unwrap();
    std::fs::set_permissions(sshd.path("helper"), std::fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(echoes(&sshd, &options(&sshd)).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(files(&sshd).is_empty());

    std::fs::remove_dir(sshd.path("helper")).unwrap();
    std::fs::create_dir(sshd.path("elsewhere")).unwrap();
    symlink(sshd.path("elsewhere"), sshd.path("helper")).unwrap();
    assert_eq!(echoes(&sshd, &options(&sshd)).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(files(&sshd).is_empty());
}

#[tokio::test]
async fn what_cannot_run_there_is_not_put_there() {
    let sshd = Sshd::start("").await;
    let mut foreign = std::fs::read(ECHO).unwrap();
    // Another machine than this one, whichever it is.
    foreign[18] = if foreign[18] == 62 { 183 } else { 62 };
    std::fs::write(sshd.path("foreign"), foreign).unwrap();
    std::fs::write(sshd.path("script"), "#!/bin/sh\nexec cat\n").unwrap();
    for helper in [None, Some("foreign"), Some("script"), Some("absent")] {
        let mut options = options(&sshd);
        options.helper = helper.map(|name| sshd.path(name));
        assert_eq!(echoes(&sshd, &options).await.unwrap_err().kind(), ErrorKind::Unsupported, "{helper:?}");
        assert!(!sshd.path("helper").exists(), "{helper:?}");
    }
}

#[tokio::test]
async fn a_host_that_keeps_no_files_has_no_helper() {
    let sshd = Sshd::start("").await;
    let mut options = options(&sshd);
    options.helper_directory = Some("/proc/helper".into());
    assert_eq!(echoes(&sshd, &options).await.unwrap_err().kind(), ErrorKind::Unsupported);
    options.helper_directory = Some("relative".into());
    assert_eq!(echoes(&sshd, &options).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}
