//! What the process learns from its surroundings: the only place that reads them.

use std::fs;
use std::path::PathBuf;

use etcetera::base_strategy::{BaseStrategy as _, Xdg};
use kvm_core::{Error, ErrorKind, Result};

/// The folder of this program below each of the user's base directories.
const FOLDER: &str = "kvm-manager";

/// Where the user's files are, by the XDG base directory specification.
#[derive(Clone, Debug)]
pub struct Directories {
    /// `config.toml`, `hosts.toml`.
    pub config: PathBuf,
    /// Operations, locks, simulated worlds.
    pub state: PathBuf,
}

impl Directories {
    /// The user's own directories, or those that were asked for.
    pub fn new(config: Option<PathBuf>, state: Option<PathBuf>) -> Result<Self> {
        if let (Some(config), Some(state)) = (&config, &state) {
            return Ok(Self { config: absolute(config.clone())?, state: absolute(state.clone())? });
        }
        let xdg = Xdg::new().map_err(|e| {
            Error::new(ErrorKind::NotFound, "there is no home directory for configuration and state").with_source(e)
        })?;
        let or = |asked: Option<PathBuf>, own: PathBuf| match asked {
            Some(path) => absolute(path),
            None => Ok(own),
        };
        let state_home = xdg.state_dir().unwrap_or_else(|| xdg.home_dir().join(".local/state"));
        Ok(Self { config: or(config, xdg.config_dir().join(FOLDER))?, state: or(state, state_home.join(FOLDER))? })
    }
}

/// A path that means the same wherever it is used.
pub(crate) fn absolute(path: PathBuf) -> Result<PathBuf> {
    std::path::absolute(&path)
        .map_err(|e| Error::invalid("path", format!("{} cannot be made absolute", path.display())).with_source(e))
}

/// The helper for hosts that this program came with: beside it, or where packages put programs that are not for users.
#[cfg(feature = "libvirt")]
pub(crate) fn helper() -> Option<PathBuf> {
    // Also where this program was started through a link.
    let own = std::env::current_exe().and_then(fs::canonicalize).ok()?;
    let bin = own.parent()?;
    let places = [bin.join("kvm-helper"), bin.join("../libexec/kvm-manager/kvm-helper")];
    places.into_iter().find(|path| path.is_file())
}

/// Where sockets of this process go: the user's own directory for such things, or the one for temporary files.
pub(crate) fn runtime_directory() -> PathBuf {
    let own = variable("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute() && dir.is_dir());
    own.unwrap_or_else(std::env::temp_dir)
}

/// Who runs this, for journals and logs: the account of the process, which an environment variable cannot change.
pub(crate) fn user() -> String {
    let uid = rustix::process::getuid().as_raw();
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id.parse() == Ok(uid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("uid {uid}"))
}

/// Whether this is the superuser, who has no session of its own on libvirt.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether the terminal's character set has more than ASCII, as the locale says.
pub(crate) fn is_utf8() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable).unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// Whether the locale is the bare `C` (or `POSIX`), which asks for plain output.
pub(crate) fn is_plain_locale() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable);
    matches!(locale.as_deref(), Some("C" | "POSIX"))
}

/// The user's editor with its arguments, as `git` and `crontab` find it.
pub(crate) fn editor() -> Vec<String> {
    let command = ["VISUAL", "EDITOR"].into_iter().find_map(variable).unwrap_or_else(|| "vi".to_owned());
    command.split_whitespace().map(ToOwned::to_owned).collect()
}

/// Whether there is a desktop to open windows on.
pub(crate) fn has_desktop() -> bool {
    ["WAYLAND_DISPLAY", "DISPLAY"].into_iter().any(|name| variable(name).is_some())
}

/// A program as a shell would find it.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = variable("PATH")?;
    let mut places = std::env::split_paths(&path).filter(|dir| dir.is_absolute()).map(|dir| dir.join(name));
    places.find(|file| rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok() && file.is_file())
}

#[expect(clippy::disallowed_methods, reason = "a surface reads the environment, and does so here only")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
