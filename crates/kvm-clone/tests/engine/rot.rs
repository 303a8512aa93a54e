//! A store whose disk forgets bits: each one is found, in the file that has it, and nothing else is accused.

#![expect(clippy::print_stdout, reason = "what was found is for people, and for the script that adds it up")]

use std::path::Path;

use kvm_core::{Bytes, Entropy as _, ErrorKind, SeededEntropy};

use crate::backup::FIRST;
use crate::race::extent;
use crate::support::Pair;

#[tokio::test(start_paused = true)]
async fn every_bit_that_a_store_forgets_is_found() {
    let (is_long, seed) = extent();
    let rounds = if is_long { 1000 } else { 100 };
    let pair = Pair::with_helpers().await.unwrap();
    pair.back_up("web").await;
    let chance = SeededEntropy::new(seed);
    let below = |bound: u64| (chance.uuid().as_u128() >> 64) as u64 % bound;
    let read = async |file: &str| {
        let path = format!("/srv/web/{FIRST}/{file}");
        pair.there.transport.read_part(Path::new(&path), 0, Bytes::from_mib(1)).await.unwrap()
    };
    let (mut in_files, mut in_manifest, mut wrong) = (0, 0, Vec::new());
    for file in ["domain.xml", "vda.qcow2", "vdb.raw", "manifest.json"] {
        let is_manifest = file == "manifest.json";
        let length = read(file).await.length.get();
        let of_file = if is_manifest { rounds } else { rounds / 3 + u64::from(file == "vdb.raw") * (rounds % 3) };
        for _ in 0..of_file {
            let path = format!("/srv/web/{FIRST}/{file}");
            // The line's end behind the manifest is nothing that it says.
            let (at, bit) = (below(length - u64::from(is_manifest)), below(8));
            let was = pair.target.read_at(&path, at, 1).unwrap();
            pair.target.write_at(&path, at, &[was[0] ^ (1 << bit)]).unwrap();
            let found = pair.verdicts("web").await;
            match found {
                Err(e) if is_manifest => {
                    let kinds = [ErrorKind::InvalidInput, ErrorKind::Corrupt, ErrorKind::Unsupported];
                    in_manifest += u64::from(kinds.contains(&e.kind()));
                }
                Ok(verdicts) if !is_manifest => {
                    let is_named = verdicts[file].starts_with("differs: its digest is");
                    let others = verdicts.iter().filter(|(name, word)| *name != file && *word != "matches").count();
                    in_files += u64::from(is_named && others == 0);
                }
                other => wrong.push(format!("bit {bit} of byte {at} of {file}: {other:?}")),
            }
            pair.target.write_at(&path, at, &was).unwrap();
        }
    }
    assert!(pair.verdicts("web").await.unwrap().values().all(|verdict| verdict == "matches"), "a false alarm");
    println!("PROOF R6 in a store's files {in_files}/{rounds} flipped bits found, in the right file alone");
    println!("PROOF R6 in a store's manifest {in_manifest}/{rounds} flipped bits found");
    assert_eq!((in_files, in_manifest), (rounds, rounds), "{}", wrong.join("\n"));
}
