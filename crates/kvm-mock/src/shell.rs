//! What a simulated guest says on its serial line: a boot log, and a shell that knows a few words.

use std::time::Duration;

/// What the shell wants beside its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    ShutDown,
    Reboot,
}

/// The lines of a boot, each with the part of the boot's time after which it appears; the last is the prompt.
pub(crate) fn boot_log(guest: &str, boots_in: Duration) -> Vec<(Duration, String)> {
    let lines = [
        (5, "SeaBIOS (version simulated)\r\n".to_owned()),
        (10, "Booting from Hard Disk...\r\n".to_owned()),
        (20, "[    0.000000] Linux version 6.12.0 (simulated)\r\n".to_owned()),
        (45, "[    0.412000] virtio_blk virtio2: [vda] ready\r\n".to_owned()),
        (70, "[    1.003000] systemd[1]: Reached target multi-user.target\r\n".to_owned()),
        (100, format!("{guest} is up\r\n{}", prompt(guest))),
    ];
    lines.into_iter().map(|(percent, line)| (boots_in * percent / 100, line)).collect()
}

fn prompt(guest: &str) -> String {
    format!("root@{guest}:~# ")
}

/// Answers one line, prompt included.
pub(crate) fn answer(guest: &str, line: &str, uptime: Duration) -> (String, Option<Wish>) {
    let (word, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
    let (reply, wish) = match word {
        "" => (String::new(), None),
        "echo" => (format!("{rest}\r\n"), None),
        "help" => ("echo help hostname poweroff reboot uname uptime\r\n".to_owned(), None),
        "hostname" => (format!("{guest}\r\n"), None),
        "poweroff" => ("Powering off.\r\n".to_owned(), Some(Wish::ShutDown)),
        "reboot" => ("Restarting system.\r\n".to_owned(), Some(Wish::Reboot)),
        "uname" => ("Linux\r\n".to_owned(), None),
        "uptime" => (format!("up {} s\r\n", uptime.as_secs()), None),
        _ => (format!("sh: {word}: not found\r\n"), None),
    };
    (if wish.is_some() { reply } else { reply + &prompt(guest) }, wish)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_echoes_and_knows_what_it_does_not_know() {
        let up = Duration::from_secs(61);
        assert_eq!(answer("db", "echo  two words ", up), (" two words\r\nroot@db:~# ".to_owned(), None));
        assert_eq!(answer("db", "uptime", up).0, "up 61 s\r\nroot@db:~# ");
        assert!(answer("db", "rm -rf /", up).0.starts_with("sh: rm: not found"));
        assert_eq!(answer("db", "poweroff", up).1, Some(Wish::ShutDown));
    }

    #[test]
    fn a_boot_takes_its_time_and_ends_with_the_prompt() {
        let log = boot_log("db", Duration::from_secs(10));
        assert!(log.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(log.last().unwrap(), &(Duration::from_secs(10), "db is up\r\nroot@db:~# ".to_owned()));
    }
}
