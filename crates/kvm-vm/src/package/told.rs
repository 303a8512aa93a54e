//! Long work on a package, beside the runtime's threads and with news of how far it is.

use kvm_archive::{MemberName, Watch};
use kvm_core::{Bytes, Error, ErrorKind, Progress, Reporter, Result};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

/// Progress is told that often, in bytes.
const TELL: u64 = 16 << 20;

/// Does work that blocks, and tells how far it is as `<verb> <file>`.
///
/// `Cancelled` when that is asked for; it also ends when nobody waits for it any more.
pub(crate) async fn told<T: Send + 'static>(
    verb: &str,
    reporter: &dyn Reporter,
    cancel: &CancellationToken,
    work: impl FnOnce(Watch<'_>) -> Result<T> + Send + 'static,
) -> Result<T> {
    let stop = cancel.child_token();
    // Whoever does not wait any longer does not want it any longer.
    let _guard = stop.clone().drop_guard();
    let (to_us, mut news) = mpsc::unbounded_channel();
    let task = spawn_blocking(move || {
        let mut last = 0;
        work(&mut |name: &MemberName, done: Bytes, total: Bytes| {
            if stop.is_cancelled() {
                return Err(Error::new(ErrorKind::Cancelled, "the work on the package was cancelled"));
            }
            if done.get() < last || done.get() >= last + TELL {
                last = done.get();
                // Nobody has to listen.
                let _gone = to_us.send((name.to_string(), done, total));
            }
            Ok(())
        })
    });
    while let Some((name, done, total)) = news.recv().await {
        reporter.report(&Progress::Moved { title: format!("{verb} {name}"), done, total: total.max(done) });
    }
    task.await.map_err(|e| Error::internal("the work on a package did not end").with_source(e))?
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Debug, Default)]
    struct Heard(Mutex<Vec<(String, Bytes)>>);

    impl Reporter for Heard {
        fn report(&self, progress: &Progress) {
            if let Progress::Moved { title, done, .. } = progress {
                self.0.lock().unwrap().push((title.clone(), *done));
            }
        }
    }

    /// Reads a disk of 40 MiB, and then a smaller one.
    fn read(watch: Watch<'_>) -> Result<()> {
        for (name, mebibytes) in [("a.vmdk", 40), ("b.vmdk", 17)] {
            let name = MemberName::parse(name)?;
            (0..=mebibytes).try_for_each(|done| watch(&name, Bytes::from_mib(done), Bytes::from_mib(mebibytes)))?;
        }
        Ok(())
    }

    #[tokio::test]
    async fn it_is_told_now_and_then_which_file_it_is_and_how_far() {
        let heard = Heard::default();
        told("verify", &heard, &CancellationToken::new(), read).await.unwrap();
        let expected = [("verify a.vmdk", 16), ("verify a.vmdk", 32), ("verify b.vmdk", 0), ("verify b.vmdk", 16)];
        let expected = expected.map(|(title, mebibytes)| (title.to_owned(), Bytes::from_mib(mebibytes)));
        assert_eq!(*heard.0.lock().unwrap(), expected);
    }

    #[tokio::test]
    async fn a_wish_to_stop_ends_it() {
        let (heard, cancel) = (Heard::default(), CancellationToken::new());
        cancel.cancel();
        let e = told("verify", &heard, &cancel, read).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Cancelled);
    }
}
