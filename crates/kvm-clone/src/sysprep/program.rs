//! Programs and files of a guest, as far as a new identity needs them.

use std::time::Duration;

use kvm_core::text::printable_within;
use kvm_core::{Bytes, Error, ErrorKind};
use kvm_vm::guest::{Agent, End, ExecSpec, GuestPath, OpenMode};

/// What lists files, and deletes them.
pub(super) const FIND: &str = "find";
/// Has it go where a link leads that it is given.
const FOLLOW: &str = "-H";
/// How long a program in the guest may take: it may look at many files.
const LIMIT: Duration = Duration::from_secs(300);
/// Where programs are, and in which words they speak.
const ENVIRONMENT: [&str; 2] = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"];
/// The most that is read of a file.
const LARGEST: Bytes = Bytes::from_mib(1);
/// So much of what a program said is told.
const TOLD: usize = 160;

/// Why something is not as it should be: in words for a report, unless the guest can be asked nothing any more.
pub(super) type Told<T> = std::result::Result<T, Trouble>;

/// What goes wrong inside.
pub(super) enum Trouble {
    /// With this part alone.
    Here(String),
    /// With the guest as a whole.
    Everywhere(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match error.kind() {
            // The agent says that it could not; others it can.
            ErrorKind::InvalidState | ErrorKind::Corrupt | ErrorKind::NoSpace | ErrorKind::Unsupported => {
                let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
                Self::Here(printable_within(&format!("{error}{detail}"), TOLD).to_string())
            }
            _ => Self::Everywhere(error),
        }
    }
}

/// Runs a program, and gives what it has said, a line each. `Here` when it ends with an error.
pub(super) async fn run(agent: &Agent, program: &str, arguments: &[&str]) -> Told<Vec<String>> {
    let spec = ExecSpec::new(program, arguments.iter().copied())?.environment(ENVIRONMENT)?;
    let ended = agent.exec(&spec, LIMIT).await?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if ended.end != End::Exited(0) {
        let why = said(&ended.stderr);
        let why = why.lines().find(|line| !is_absence(line)).unwrap_or_default();
        let only_absence = program == FIND && why.is_empty() && matches!(ended.end, End::Exited(_));
        if !only_absence {
            return Err(Trouble::Here(format!("{program}: {}", printable_within(why, TOLD))));
        }
    }
    Ok(said(&ended.stdout).lines().map(ToOwned::to_owned).collect())
}

/// Where `find` was told to look, and there is nothing: an answer, not a failure.
fn is_absence(line: &str) -> bool {
    line.ends_with("No such file or directory")
}

/// Files of a guest by their names.
pub(super) struct Files {
    names: &'static [&'static str],
    places: &'static [&'static str],
    depth: Option<u8>,
}

impl Files {
    /// Those with one of these names, in which `*` and `?` stand for others.
    pub(super) const fn named(names: &'static [&'static str]) -> Self {
        Self { names, places: &[], depth: None }
    }

    /// In these directories, as far as they are there.
    pub(super) const fn below(self, places: &'static [&'static str]) -> Self {
        Self { places, ..self }
    }

    /// So many levels down at most.
    pub(super) const fn deep(self, depth: u8) -> Self {
        Self { depth: Some(depth), ..self }
    }

    /// What `find` has to do to them.
    async fn each(&self, agent: &Agent, actions: &[&str]) -> Told<Vec<String>> {
        let depth = self.depth.map(|depth| depth.to_string());
        // Directories are often links to others; what is found in them is not followed.
        let mut words = vec![FOLLOW];
        words.extend(self.places);
        words.extend(depth.iter().flat_map(|depth| ["-maxdepth", depth]));
        words.extend(["-type", "f", "("]);
        for (index, name) in self.names.iter().enumerate() {
            words.extend((index > 0).then_some("-o"));
            words.extend(["-name", name]);
        }
        words.push(")");
        words.extend(actions);
        run(agent, FIND, &words).await
    }
}

/// Lists them.
pub(super) async fn find(agent: &Agent, files: &Files) -> Told<Vec<String>> {
    files.each(agent, &["-print"]).await
}

/// Deletes them, and says how many they were.
pub(super) async fn delete(agent: &Agent, files: &Files) -> Told<usize> {
    // Not every guest's find deletes by itself.
    Ok(files.each(agent, &["-print", "-exec", "rm", "-f", "{}", "+"]).await?.len())
}

/// Empties all files below these directories, and says how many they were.
pub(super) async fn empty(agent: &Agent, places: &[&str]) -> Told<usize> {
    let to_nothing = ["-type", "f", "-size", "+0", "-print", "-exec", "truncate", "-s", "0", "{}", "+"];
    Ok(run(agent, FIND, &[&[FOLLOW], places, &to_nothing].concat()).await?.len())
}

pub(super) async fn is_there(agent: &Agent, path: &str) -> Told<bool> {
    Ok(!run(agent, FIND, &[FOLLOW, path, "-maxdepth", "0", "-print"]).await?.is_empty())
}

pub(super) async fn read(agent: &Agent, path: &str) -> Told<String> {
    let mut bytes = Vec::new();
    agent.read_file(&GuestPath::parse(path)?, &mut bytes, LARGEST).await?;
    String::from_utf8(bytes).map_err(|_| Trouble::Here(format!("{path} is no text")))
}

/// Writes a file that is there, and looks whether that is what it says.
pub(super) async fn write(agent: &Agent, path: &str, text: &str) -> Told<()> {
    agent.write_file(&GuestPath::parse(path)?, OpenMode::Overwrite, &mut text.as_bytes(), LARGEST).await?;
    match read(agent, path).await? == text {
        true => Ok(()),
        false => Err(Trouble::Here(format!("{path} does not say what was written into it"))),
    }
}
