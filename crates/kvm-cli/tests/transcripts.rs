//! What the program prints, as text that a person reads and agrees to.
//!
//! Each file of `tests/transcripts/` is a session: it runs in a directory of its own, with a state and a configuration
//! of its own, against a simulated host. `$ kvmctl …` and `$ kvm-clone …` are commands; what follows is standard output, then
//! standard error behind `! `, then `? CODE` when it is not zero; `< FILE` is its standard input. `@ FILE` writes the lines below it, up to `@`, into a
//! file first. What differs from run to run (ids, times) is replaced by words in brackets.
//!
//! `KVM_GOLDEN=update cargo test -p kvm-cli --test transcripts` writes the files anew; read the difference.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use regex::Regex;

#[path = "support/program.rs"]
mod program;

macro_rules! transcripts {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                check(stringify!($name));
            }
        )*

        #[test]
        fn every_file_is_run() {
            let mut files: Vec<_> = fs::read_dir(folder())
                .unwrap()
                .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
                .collect();
            files.sort();
            let mut run = vec![$(stringify!($name)),*];
            run.sort_unstable();
            assert_eq!(files, run);
        }
    };
}

transcripts! {
    backup
    block_jobs
    completion
    configuration
    checkpoints
    console
    create
    create_from_file
    default_target
    delete
    devices
    disk_graph
    doctor
    edit
    encryption
    errors
    events
    exit_codes
    export_and_import
    forwards
    guest
    help
    host_devices
    hosts
    interrupted
    kvm_clone
    kvm_clone_config
    kvm_clone_help
    lifecycle
    list
    clone
    migrate
    moves
    network_volumes
    networks
    notes
    operations
    output
    packages
    passthrough
    peripherals
    pools_and_volumes
    prove
    selectors
    several
    show
    snapshots
    storage
    sync
    sysprep
    tpm
    viewer
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts")
}

#[expect(clippy::disallowed_methods, reason = "a test reads how it was started")]
fn is_update() -> bool {
    std::env::var("KVM_GOLDEN").is_ok_and(|mode| mode == "update")
}

fn check(name: &str) {
    let path = folder().join(format!("{name}.txt"));
    let expected = fs::read_to_string(&path).unwrap();
    let actual = replay(&expected);
    if is_update() {
        fs::write(&path, actual).unwrap();
        return;
    }
    if let Some((line, (is, should))) = actual.lines().zip(expected.lines()).enumerate().find(|(_, (a, b))| a != b) {
        panic!("{name}.txt, line {}:\n  should be: {should}\n  is:        {is}\n\n{actual}", line + 1);
    }
    assert_eq!(actual.lines().count(), expected.lines().count(), "{name}.txt:\n{actual}");
}

/// Runs the commands of a transcript and writes it anew.
fn replay(transcript: &str) -> String {
    let sandbox = tempfile::tempdir().unwrap();
    let redact = Redactions::new(sandbox.path());
    let mut out = String::new();
    let mut lines = transcript.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(file) = line.strip_prefix("@ ") {
            let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "@").collect();
            let path = sandbox.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text.join("\n") + "\n").unwrap();
            writeln!(out, "{line}\n{}\n@", text.join("\n")).unwrap();
        } else if let Some(command) = line.strip_prefix("$ ") {
            writeln!(out, "{line}").unwrap();
            out.push_str(&redact.all(&run(command, sandbox.path())));
            while lines.next_if(|line| !is_directive(line)).is_some() {}
        } else {
            writeln!(out, "{line}").unwrap();
        }
    }
    out
}

/// What begins something new, rather than going on with a command's output.
fn is_directive(line: &str) -> bool {
    line.starts_with("$ ") || line.starts_with("# ") || line.starts_with("@ ")
}

#[expect(clippy::disallowed_methods, reason = "a test of the program starts it")]
fn run(command: &str, sandbox: &Path) -> String {
    let words = split(command);
    let (variables, words) = words.split_at(words.iter().take_while(|word| is_variable(word)).count());
    let (program, args) = words.split_first().unwrap();
    let (args, input) = match args {
        [args @ .., sign, file] if sign == "<" => (args, Stdio::from(fs::File::open(sandbox.join(file)).unwrap())),
        args => (args, Stdio::null()),
    };
    let mut child = match program.as_str() {
        "kvmctl" => program::kvmctl(sandbox),
        "kvm-clone" => program::kvm_clone(sandbox),
        "cat" => Command::new("cat"),
        other => panic!("a transcript runs kvmctl, kvm-clone and cat, not {other}"),
    };
    child
        .args(args.iter().map(|arg| arg.replace("[DIR]", sandbox.to_str().unwrap())))
        .current_dir(sandbox)
        .env("KVM_CONNECT", "mock:///demo")
        .stdin(input);
    for variable in variables {
        match variable.split_once('=').unwrap() {
            (name, "") => child.env_remove(name),
            (name, value) => child.env(name, value.replace("[DIR]", sandbox.to_str().unwrap())),
        };
    }
    let output = child.output().unwrap();
    let mut text = String::from_utf8(output.stdout).unwrap();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for line in String::from_utf8(output.stderr).unwrap().lines() {
        writeln!(text, "! {line}").unwrap();
    }
    match output.status.code() {
        Some(0) => {}
        Some(code) => writeln!(text, "? {code}").unwrap(),
        None => writeln!(text, "? {}", output.status).unwrap(),
    }
    text
}

fn is_variable(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
}

/// Splits at blanks; single quotes keep them.
fn split(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for c in command.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// What differs from run to run.
struct Redactions {
    sandbox: String,
    patterns: Vec<(Regex, &'static str)>,
}

impl Redactions {
    fn new(sandbox: &Path) -> Self {
        let patterns = [
            (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "[UUID]"),
            (r"\b(operation|status|op (?:show|undo|resume|cancel|follow|resume\|undo)) [0-9a-f]{8}\b", "$1 [OP]"),
            (r#""operation": ?"[0-9a-f]{8}""#, r#""operation": "[OP]""#),
            // YAML quotes an id that reads as a number, such as 12345678 or 1e234567.
            (r#"\boperation: "?[0-9a-f]{8}\b"?"#, "operation: [OP]"),
            (r"-(proof|sysprep)-[0-9a-f]{8}", "-$1-[TRIAL]"),
            (r"\b[0-9a-f]{32}\b", "[MACHINE-ID]"),
            (r"\bafter [0-9]+ s\b", "after [TIME]"),
            (r#""after_seconds": [0-9]+"#, r#""after_seconds": [TIME]"#),
            (r#""took_seconds": ?[0-9.e-]+"#, r#""took_seconds": [TIME]"#),
            (r"took_seconds: [0-9.e-]+", "took_seconds: [TIME]"),
            (r"\bin [0-9.]+ m?s\b", "in [TIME]"),
            (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[AT]"),
            // Points in time of backups.
            (r"\b\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ", "[POINT]"),
            (r"\b[0-9a-f]{64}\b", "[DIGEST]"),
            (r"\blinked-[0-9a-f]{8}\b", "linked-[ID]"),
            // Overlays of reverts are named by the second in which they are made.
            (r"\.\d{10}\b", ".[SECOND]"),
            (r#""lag_seconds": ?\d+"#, r#""lag_seconds": [LAG]"#),
            (r"52:54:00(:[0-9a-f]{2}){3}", "[MAC]"),
            (r"by \S+ \(process \d+\)", "by [USER] (process [PID])"),
            (r#"kvmctl-[A-Za-z0-9]{6}\.xml"#, "kvmctl-[RANDOM].xml"),
        ];
        let compile = |(pattern, word)| (Regex::new(pattern).unwrap(), word);
        Self { sandbox: sandbox.to_str().unwrap().to_owned(), patterns: patterns.map(compile).to_vec() }
    }

    fn all(&self, text: &str) -> String {
        let text = text.replace(&self.sandbox, "[DIR]");
        self.patterns.iter().fold(text, |text, (pattern, word)| pattern.replace_all(&text, *word).into_owned())
    }
}
