//! Transports: files, programs and sockets of a host.

use std::time::Duration;

use kvm_core::{Bytes, Dial, ErrorKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::case::{Failure, cases, refused, same};
use crate::rig::TransportBench;

const LIMIT: Bytes = Bytes::from_mib(1);
const MOMENT: Duration = Duration::from_secs(10);
/// When a caller loses patience.
const CANCELLED: Duration = Duration::from_millis(300);

cases! { CASES in "transport" on TransportBench;
    /// A file is read as it was written, whatever bytes it holds; writing again replaces all of it.
    async fn a_file_is_read_as_it_was_written(bench) {
        let path = bench.directory.join("a file with spaces and ünïcode");
        for data in [&b"first, and longer than the second"[..], b"sec\0nd\xff", b""] {
            bench.transport.write_file(&path, data, 0o600).await?;
            same("content", bench.transport.read_file(&path, LIMIT).await?, data.to_vec())?;
        }
        Ok(())
    }

    /// A file that is not there is not found.
    async fn a_file_that_is_not_there_is_not_found(bench) {
        refused(bench.transport.read_file(&bench.directory.join("absent"), LIMIT).await, ErrorKind::NotFound)
    }

    /// A file that is larger than the limit is not read; one that is as large is.
    async fn a_file_over_the_limit_is_invalid(bench) {
        let path = bench.directory.join("file");
        bench.transport.write_file(&path, b"12345", 0o600).await?;
        refused(bench.transport.read_file(&path, Bytes::new(4)).await, ErrorKind::InvalidInput)?;
        same("content", bench.transport.read_file(&path, Bytes::new(5)).await?, b"12345".to_vec())
    }

    /// A part of a file is what stands there, shorter at the end and empty behind it, and says how long the file is.
    async fn a_part_of_a_file_is_what_stands_there(bench) {
        let path = bench.directory.join("parts");
        let data: Vec<u8> = (0..100_000_u32).map(|at| (at % 251) as u8).collect();
        bench.transport.write_file(&path, &data, 0o600).await?;
        for (offset, length) in [(0, 10), (70_000, 60_000), (99_999, 7), (100_000, 7), (u64::MAX, 7), (3, 0)] {
            let part = bench.transport.read_part(&path, offset, Bytes::new(length)).await?;
            same("length", part.length, Bytes::new(100_000))?;
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(data.len());
            let to = from.saturating_add(usize::try_from(length).unwrap_or(usize::MAX)).min(data.len());
            same("part", part.data == data[from..to], true)?;
        }
        Ok(())
    }

    /// A part is not read of what is not there, nor one that is too large.
    async fn a_part_of_what_is_no_file_is_refused(bench) {
        let few = Bytes::new(10);
        refused(bench.transport.read_part(&bench.directory.join("absent"), 0, few).await, ErrorKind::NotFound)?;
        let path = bench.directory.join("small");
        bench.transport.write_file(&path, b"small", 0o600).await?;
        refused(bench.transport.read_part(&path, 0, Bytes::from_mib(2)).await, ErrorKind::InvalidInput)
    }

    /// A directory that is not there is not made for a file.
    async fn a_directory_that_is_not_there_is_not_made(bench) {
        let path = bench.directory.join("absent").join("file");
        refused(bench.transport.write_file(&path, b"", 0o600).await, ErrorKind::NotFound)
    }

    /// A file that is removed is not found any more; one that is not there is not removed.
    async fn a_removed_file_is_not_found(bench) {
        let (path, other) = (bench.directory.join("a file to go"), bench.directory.join("a file to stay"));
        bench.transport.write_file(&path, b"gone soon", 0o600).await?;
        bench.transport.write_file(&other, b"stays", 0o600).await?;
        bench.transport.remove_file(&path).await?;
        refused(bench.transport.read_file(&path, LIMIT).await, ErrorKind::NotFound)?;
        refused(bench.transport.remove_file(&path).await, ErrorKind::NotFound)?;
        same("the other file", bench.transport.read_file(&other, LIMIT).await?, b"stays".to_vec())
    }

    /// A directory is not removed as if it were a file, nor is anything in it.
    async fn a_directory_is_not_removed_as_a_file(bench) {
        let path = bench.directory.join("file");
        bench.transport.write_file(&path, b"whole", 0o600).await?;
        refused(bench.transport.remove_file(&bench.directory).await, ErrorKind::InvalidInput)?;
        same("content", bench.transport.read_file(&path, LIMIT).await?, b"whole".to_vec())
    }

    /// A program that ends with a status other than zero is an answer, not an error.
    async fn a_failing_program_is_an_answer(bench) {
        let argv: Vec<_> = bench.failing.iter().map(String::as_str).collect();
        let output = bench.transport.run(&argv, MOMENT).await?;
        same("status", output.status, Some(3))?;
        same("output", output.stdout.trim_ascii(), b"contract")?;
        same("complaint", output.stderr.trim_ascii(), b"contract")
    }

    /// A program that is not there is not found.
    async fn a_program_that_is_not_there_is_not_found(bench) {
        refused(bench.transport.run(&["/nonexistent/contract-program", "-x"], MOMENT).await, ErrorKind::NotFound)
    }

    /// A program that does not end in time is a timeout.
    async fn an_endless_program_is_a_timeout(bench) {
        let argv: Vec<_> = bench.endless.iter().map(String::as_str).collect();
        refused(bench.transport.run(&argv, Duration::from_millis(300)).await, ErrorKind::Timeout)
    }

    /// A program that prints more than 16 MiB is corrupt, and the next one is run as if nothing had been.
    async fn a_flood_of_output_is_corrupt(bench) {
        let argv: Vec<_> = bench.flood.iter().map(String::as_str).collect();
        refused(bench.transport.run(&argv, MOMENT * 6).await, ErrorKind::Corrupt)?;
        let argv: Vec<_> = bench.failing.iter().map(String::as_str).collect();
        same("status", bench.transport.run(&argv, MOMENT).await?.status, Some(3))
    }

    /// A program that nobody waits for any more disturbs no other call.
    async fn a_call_that_is_cancelled_disturbs_no_other(bench) {
        let endless: Vec<_> = bench.endless.iter().map(String::as_str).collect();
        for _ in 0..3 {
            let waited = tokio::time::timeout(CANCELLED, bench.transport.run(&endless, MOMENT)).await;
            same("cancelled", waited.is_err(), true)?;
        }
        let argv: Vec<_> = bench.failing.iter().map(String::as_str).collect();
        same("status", bench.transport.run(&argv, MOMENT).await?.status, Some(3))?;
        let path = bench.directory.join("after");
        bench.transport.write_file(&path, b"whole", 0o600).await?;
        same("content", bench.transport.read_file(&path, LIMIT).await?, b"whole".to_vec())
    }

    /// A socket is reached both ways, and its end is seen.
    async fn a_socket_is_reached_both_ways(bench) {
        let mut stream = bench.transport.dial(&Dial::Unix(bench.echo.clone())).await?;
        let trouble = |e: std::io::Error| Failure::new(format_args!("unexpected error: {e}"));
        stream.write_all(b"there and back").await.map_err(trouble)?;
        stream.shutdown().await.map_err(trouble)?;
        let mut back = Vec::new();
        stream.read_to_end(&mut back).await.map_err(trouble)?;
        same("what comes back", back, b"there and back".to_vec())
    }

    /// A helper is spoken to both ways, over streams that do not know each other; without one it is unsupported.
    async fn helpers_are_spoken_to_each_on_its_own(bench) {
        if !bench.has_helper {
            return refused(bench.transport.helper().await.map(drop), ErrorKind::Unsupported);
        }
        let trouble = |e: std::io::Error| Failure::new(format_args!("unexpected error: {e}"));
        let mut first = bench.transport.helper().await?;
        let mut second = bench.transport.helper().await?;
        first.write_all(b"first").await.map_err(trouble)?;
        first.flush().await.map_err(trouble)?;
        second.write_all(b"second").await.map_err(trouble)?;
        second.shutdown().await.map_err(trouble)?;
        let mut back = Vec::new();
        second.read_to_end(&mut back).await.map_err(trouble)?;
        same("what comes back", back, b"second".to_vec())?;
        let mut back = [0; 5];
        first.read_exact(&mut back).await.map_err(trouble)?;
        same("what comes back", &back, b"first")?;
        drop(first);
        let argv: Vec<_> = bench.failing.iter().map(String::as_str).collect();
        same("status", bench.transport.run(&argv, MOMENT).await?.status, Some(3))
    }

    /// What goes to a helper and back in bulk is neither lost nor mixed up.
    async fn a_helper_carries_much(bench) {
        if !bench.has_helper {
            return Ok(());
        }
        let trouble = |e: std::io::Error| Failure::new(format_args!("unexpected error: {e}"));
        let (mut read, mut write) = tokio::io::split(bench.transport.helper().await?);
        let data: Vec<u8> = (0..8_000_000_u32).map(|at| (at % 251) as u8).collect();
        let sent = async {
            write.write_all(&data).await?;
            write.shutdown().await
        };
        let mut back = Vec::new();
        let (sent, received) = tokio::join!(sent, read.read_to_end(&mut back));
        sent.and(received).map_err(trouble)?;
        same("what comes back", back == data, true)
    }

    /// A socket on which nobody listens is unavailable.
    async fn a_silent_socket_is_unavailable(bench) {
        let dial = Dial::Unix(bench.directory.join("nobody.sock"));
        refused(bench.transport.dial(&dial).await.map(drop), ErrorKind::Unavailable)
    }
}
