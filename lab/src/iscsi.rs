//! A storage server in a host: an iSCSI target whose units are files.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use crate::host::LabHost;
use crate::wait::eventually;

/// The name of the target.
pub const TARGET: &str = "iqn.2026-11.lab:store";
/// What its units are in.
const UNITS: &str = "/var/lib/libvirt/lab-target";
/// Where the server takes orders, as the only one of its host.
const SOCKETS: &str = "/run/tgtd";
/// How long the server may take to begin or to end.
const SOON: Duration = Duration::from_secs(30);

impl LabHost {
    /// Starts the target with units of these sizes, numbered from 1; it ends with the test. Gives what is in them, as files
    /// that are found from outside.
    ///
    /// # Panics
    /// When the server does not start.
    pub async fn serve_target(&self, sizes: &[u64]) -> Vec<PathBuf> {
        self.end_target().await;
        for dir in [UNITS, SOCKETS] {
            fs::create_dir_all(self.file(dir)).unwrap_or_else(|e| panic!("{dir}: {e}"));
        }
        self.exec(&["tgtd"]).await.succeeded();
        let answers =
            async || (self.exec(&["tgtadm", "--mode", "system", "--op", "show"]).await.code == Some(0)).then_some(());
        eventually(SOON, "an answer of tgtd", answers).await;
        let tell = async |words: &[&str]| {
            let argv = [&["tgtadm", "--lld", "iscsi", "--tid", "1"], words].concat();
            self.exec(&argv).await.succeeded();
        };
        tell(&["--mode", "target", "--op", "new", "-T", TARGET]).await;
        let mut units = Vec::new();
        for (number, size) in (1..).zip(sizes) {
            let (place, number) = (format!("{UNITS}/{number}"), number.to_string());
            let file = self.file(&place);
            let made = File::create(&file).and_then(|made| made.set_len(*size));
            made.unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            tell(&["--mode", "logicalunit", "--op", "new", "--lun", &number, "-b", &place]).await;
            units.push(file);
        }
        tell(&["--mode", "target", "--op", "bind", "-I", "ALL"]).await;
        units
    }

    /// Ends the target, whoever is logged in to it, and forgets what is in its units. Right at any time.
    pub(crate) async fn end_target(&self) {
        if !self.file(SOCKETS).exists() {
            return;
        }
        // It does not end for a signal while there is a target, nor for an order.
        let delete = ["tgtadm", "--lld", "iscsi", "--mode", "target", "--op", "delete", "--force", "--tid", "1"];
        let _none = self.exec(&delete).await;
        let _gone = self.exec(&["tgtadm", "--mode", "system", "--op", "delete"]).await;
        let ended = async || (self.exec(&["pgrep", "-x", "tgtd"]).await.code == Some(1)).then_some(());
        eventually(SOON, "the end of tgtd", ended).await;
        for dir in [UNITS, SOCKETS] {
            match fs::remove_dir_all(self.file(dir)) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => panic!("{dir}: {e}"),
                _ => {}
            }
        }
    }
}
