//! Copies that are brought up to date.

use std::time::Instant;

use kvm_benches::sshd::{Outcome, done};
use kvm_clone::{Compress, ImageUpdate, Updated, Watch};
use kvm_core::op::Pace;
use kvm_core::{DiskPath, Silent, SystemClock, Transport};
use tokio_util::sync::CancellationToken;

use crate::{Bench, image, median, print};

/// A bitmap that our own copies go by has this name.
const BITMAP: &str = "kvm-manager-bench";

#[derive(Clone, Copy, PartialEq)]
enum Case {
    Raw,
    Unchanged,
    Bitmap,
}

const CASES: [(Case, &str); 3] = [
    (Case::Raw, "after 1 % of it changed, found by digests"),
    (Case::Bitmap, "after 1 % of it changed, known by a bitmap (qcow2)"),
    (Case::Unchanged, "after nothing changed"),
];

/// Each way brings a copy of its own up to date, after the same changes. Once connections are open, and once we log in
/// each time, as rsync does in both.
pub(crate) async fn compare(bench: &Bench, rounds: usize) -> Outcome<()> {
    let (raw, qcow2) = (bench.sshd.at("image.raw"), bench.sshd.at("image.qcow2"));
    image::make_qcow2(&raw, &qcow2, BITMAP).await?;
    for (case, title) in CASES {
        for logs_in in [false, true] {
            bench.clear()?;
            let from = if case == Case::Bitmap { &qcow2 } else { &raw };
            let ending = from.rsplit('.').next().unwrap_or_default();
            let copies = ["to/ours", "to/peer"].map(|name| bench.sshd.at(&format!("{name}.{ending}")));
            for copy in &copies {
                bench.send(from, copy).await?;
            }
            println!("{title}{}", if logs_in { "; we log in as well" } else { "" });
            bench.compare_updates((case, from), &copies, logs_in, rounds).await?;
        }
    }
    Ok(())
}

impl Bench {
    async fn compare_updates(
        &self,
        (case, from): (Case, &str),
        [ours, peers]: &[String; 2],
        logs_in: bool,
        rounds: usize,
    ) -> Outcome<()> {
        let (mut times, mut updated) = ([Vec::new(), Vec::new()], Updated::default());
        for round in 0..=rounds {
            // The second time over it is another change.
            let change = round as u64 + if logs_in { 1000 } else { 0 };
            match case {
                Case::Raw => image::change(from.as_ref(), self.mib, change)?,
                Case::Bitmap => image::change_qcow2(from, self.mib, change).await?,
                Case::Unchanged => {}
            }
            rustix::fs::sync();
            let begin = Instant::now();
            updated = match logs_in {
                true => self.update(&self.sshd.transport(Some(&self.helper))?, from, ours).await?,
                false => self.update(&self.there, from, ours).await?,
            };
            let mine = begin.elapsed();
            let (begin, there) = (Instant::now(), format!("{}:{peers}", self.sshd.target()));
            // Without the last it passes over what has changed within the second of its copy, and over what has not at all.
            let how = ["--inplace", "--no-whole-file", "--ignore-times", "-e", &self.ssh()];
            done("rsync", &[&how[..], &[from, &there]].concat()).await?;
            // The first round only warms caches.
            if round > 0 {
                times[0].push(mine);
                times[1].push(begin.elapsed());
            }
            for copy in [ours, peers] {
                done("cmp", &[copy, from]).await?;
            }
        }
        let peer = median(&times[1]);
        for (name, times) in ["kvm-clone", "rsync"].into_iter().zip(times) {
            print(name, times, peer, "");
        }
        println!("  ours found {} changed, and sent {}", updated.changed, updated.wire);
        Ok(())
    }

    async fn update(&self, there: &dyn Transport, from: &str, to: &str) -> Outcome<Updated> {
        let is_qcow2 = from.ends_with(".qcow2");
        let (from, to): (DiskPath, DiskPath) = (from.parse()?, to.parse()?);
        let update = ImageUpdate {
            source: &self.here,
            from: &from,
            is_qcow2,
            target: there,
            to: &to,
            limit: None,
            compression: Compress::Auto,
            resume: false,
        };
        let cancel = CancellationToken::new();
        Ok(update
            .run(Watch { reporter: &Silent, title: "", clock: &SystemClock, cancel: &cancel, pace: &Pace::default() })
            .await?)
    }
}
