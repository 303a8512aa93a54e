//! The user's `~/.ssh/config`.

use std::io::{BufReader, Cursor};
use std::path::{Path, PathBuf};

use kvm_core::{Bytes, Error, ErrorKind, HostName, Port, Resource, Result, SshUser};
use ssh2_config::{HostParams, ParseRule};

use super::options::{AgentKeys, SSH_PORT, SshOptions};
use crate::local::file;

const LARGEST: Bytes = Bytes::from_mib(4);
/// How many hosts may stand one behind the other.
const JUMPS: usize = 8;
/// The keys that are tried when the configuration names none.
const USUAL_KEYS: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// What the user's configuration says about hosts.
///
/// Read are `Host` and `Include`, and of the settings `HostName`, `User`, `Port`, `IdentityFile`, `CertificateFile`,
/// `IdentitiesOnly`, `IdentityAgent`, `HostKeyAlias`, `UserKnownHostsFile`, `GlobalKnownHostsFile` and `ProxyJump`.
/// What would change where a login goes or whom it trusts, and is not read, is `Unsupported` and not passed over:
/// `Match` blocks, `ProxyCommand`, `KnownHostsCommand` and `RevokedHostKeys`. All else has no effect; host keys are
/// always checked strictly.
#[derive(Debug)]
pub struct SshConfig {
    parsed: ssh2_config::SshConfig,
    home: PathBuf,
    file: PathBuf,
}

/// Who asks: what the configuration does not say is taken from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshAsker {
    /// The user's name on this machine.
    pub user: SshUser,
    /// The socket of the user's agent.
    pub agent: Option<PathBuf>,
}

impl SshConfig {
    /// Reads `.ssh/config` in this home directory; one that is not there is empty. `InvalidInput` for a file that is
    /// not well formed, `Unsupported` for one with `Match` blocks.
    pub async fn read(home: &Path) -> Result<Self> {
        let path = home.join(".ssh").join("config");
        let text = match file::read(&path, LARGEST).await {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(e),
        };
        let home = home.to_owned();
        // Included files are read while parsing.
        let parsed = tokio::task::spawn_blocking(move || Self::parse(&text, home, path));
        parsed.await.map_err(|e| Error::internal("file work did not finish").with_source(e))?
    }

    fn parse(text: &[u8], home: PathBuf, file: PathBuf) -> Result<Self> {
        let rules = ParseRule::ALLOW_UNKNOWN_FIELDS | ParseRule::ALLOW_UNSUPPORTED_FIELDS;
        let config = ssh2_config::SshConfig::default().home_dir(&home);
        let parsed = config.parse(&mut BufReader::new(Cursor::new(text)), rules).map_err(|e| {
            let shown = file.display().to_string();
            Error::new(ErrorKind::InvalidInput, "the SSH configuration is not well formed")
                .on(Resource::File(shown))
                .with_source(e)
        })?;
        let read = Self { parsed, home, file };
        // What follows such a line would be taken for a part of the block before it.
        let ignored = read.parsed.get_hosts().iter().flat_map(|host| host.params.ignored_fields.keys());
        if ignored.into_iter().any(|field| field.eq_ignore_ascii_case("match")) {
            return Err(read.unsupported("Match", "write it as Host blocks"));
        }
        Ok(read)
    }

    /// The login for a host as the user names it. What is given here wins over the configuration.
    pub fn resolve(
        &self,
        host: &HostName,
        user: Option<&SshUser>,
        port: Option<Port>,
        asker: &SshAsker,
    ) -> Result<SshOptions> {
        self.resolve_through(host, user, port, asker, JUMPS)
    }

    fn resolve_through(
        &self,
        name: &HostName,
        user: Option<&SshUser>,
        port: Option<Port>,
        asker: &SshAsker,
        jumps: usize,
    ) -> Result<SshOptions> {
        let params = self.parsed.query(name.as_str());
        for field in ["proxycommand", "knownhostscommand", "revokedhostkeys"] {
            if setting(&params, field).is_some() {
                let instead = match field {
                    "proxycommand" => "write ProxyJump, which needs no program",
                    "knownhostscommand" => "write the keys into a known_hosts file",
                    _ => "mark the keys with @revoked in a known_hosts file",
                };
                return Err(self.unsupported(field, instead));
            }
        }
        let host = match &params.host_name {
            Some(text) => HostName::parse(&text.replace("%h", name.as_str()).replace("%%", "%"))?,
            None => name.clone(),
        };
        let user = match (user, &params.user) {
            (Some(user), _) => user.clone(),
            (None, Some(text)) => text.parse()?,
            (None, None) => asker.user.clone(),
        };
        let port = match (port, params.port) {
            (Some(port), _) => port,
            (None, Some(number)) => number.to_string().parse()?,
            (None, None) => SSH_PORT.into(),
        };
        let mut options = SshOptions::new(host, user);
        options.port = port;
        let expand = |path: &str| self.expand(path, name, &options, asker);

        let mut identities = Vec::new();
        for file in params.identity_file.iter().flatten().filter(|file| file.as_os_str() != "none") {
            identities.push(expand(&file.to_string_lossy())?);
        }
        if params.identity_file.is_none() {
            identities.extend(USUAL_KEYS.map(|key| self.home.join(".ssh").join(key)));
        }
        let user_hosts = [self.home.join(".ssh/known_hosts"), self.home.join(".ssh/known_hosts2")];
        let global_hosts = ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"].map(PathBuf::from);
        let mut known_hosts = Vec::new();
        for (field, usual) in [("userknownhostsfile", user_hosts), ("globalknownhostsfile", global_hosts)] {
            match params.unsupported_fields.get(field) {
                None => known_hosts.extend(usual),
                Some(files) => {
                    for file in files.iter().filter(|file| !file.eq_ignore_ascii_case("none")) {
                        known_hosts.push(expand(file)?);
                    }
                }
            }
        }
        let agent = match setting(&params, "identityagent") {
            None => asker.agent.clone(),
            Some("SSH_AUTH_SOCK") => asker.agent.clone(),
            Some(path) => Some(expand(path)?),
        };
        // `none` is no setting, but here it means something.
        let no_agent = params.unsupported_fields.get("identityagent").is_some_and(|args| is_none(args));
        let certificate = match &params.certificate_file {
            Some(file) => Some(expand(&file.to_string_lossy())?),
            None => None,
        };
        let only_listed = setting(&params, "identitiesonly").is_some_and(|yes| matches!(yes, "yes" | "true"));
        options.agent_keys = if only_listed { AgentKeys::Listed } else { AgentKeys::All };
        options.host_key_alias = setting(&params, "hostkeyalias").map(str::to_owned);
        options.identities = identities;
        options.certificate = certificate;
        options.known_hosts = known_hosts;
        options.agent = agent.filter(|_| !no_agent);
        options.jump = self.jump(params.proxy_jump.as_deref().unwrap_or_default(), asker, jumps)?;
        Ok(options)
    }

    /// The last of these hosts, each of them reached through the one before it.
    fn jump(&self, hops: &[String], asker: &SshAsker, jumps: usize) -> Result<Option<Box<SshOptions>>> {
        if is_none(hops) {
            return Ok(None);
        }
        let mut last: Option<Box<SshOptions>> = None;
        for hop in hops {
            let jumps = jumps.checked_sub(1).ok_or_else(|| self.invalid("ProxyJump leads through too many hosts"))?;
            let (user, host, port) = self.parse_hop(hop)?;
            let mut options = self.resolve_through(&host, user.as_ref(), port, asker, jumps)?;
            if last.is_some() {
                options.jump = last;
            }
            last = Some(Box::new(options));
        }
        Ok(last)
    }

    fn parse_hop(&self, text: &str) -> Result<(Option<SshUser>, HostName, Option<Port>)> {
        let text = text.strip_prefix("ssh://").unwrap_or(text);
        let (user, rest) = text.rsplit_once('@').map_or((None, text), |(user, rest)| (Some(user), rest));
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if host.starts_with('[') || !host.contains(':') => (host, Some(port)),
            _ => (rest, None),
        };
        let user = user.map(str::parse).transpose()?;
        Ok((user, HostName::parse(host)?, port.map(str::parse).transpose()?))
    }

    /// A path with its `~` and `%` replaced, absolute.
    fn expand(&self, text: &str, name: &HostName, options: &SshOptions, asker: &SshAsker) -> Result<PathBuf> {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            expanded.push_str(before);
            let token = after.chars().next();
            match token {
                Some('%') => expanded.push('%'),
                Some('d') => expanded.push_str(&self.home.to_string_lossy()),
                Some('h') => expanded.push_str(options.host.as_str()),
                Some('n') => expanded.push_str(name.as_str()),
                Some('p') => expanded.push_str(&options.port.to_string()),
                Some('r') => expanded.push_str(options.user.as_str()),
                Some('u') => expanded.push_str(asker.user.as_str()),
                _ => return Err(self.invalid(&format!("'{text}' has a '%' that is not read here; write the path"))),
            }
            rest = &after[token.map_or(0, char::len_utf8)..];
        }
        expanded.push_str(rest);
        let path = match expanded.strip_prefix("~/") {
            Some(rest) => self.home.join(rest),
            None if expanded.starts_with('/') => PathBuf::from(expanded),
            None => return Err(self.invalid(&format!("'{expanded}' is not an absolute path and not in '~/'"))),
        };
        Ok(path)
    }

    fn invalid(&self, text: &str) -> Error {
        let shown = kvm_core::text::printable(text).to_string();
        Error::new(ErrorKind::InvalidInput, shown).on(Resource::File(self.file.display().to_string()))
    }

    fn unsupported(&self, field: &str, instead: &str) -> Error {
        Error::new(ErrorKind::Unsupported, format!("{field} in the SSH configuration is not read; {instead}"))
            .on(Resource::File(self.file.display().to_string()))
    }
}

/// A setting of one word; `none` is as if it were not there.
fn setting<'a>(params: &'a HostParams, field: &str) -> Option<&'a str> {
    let args = params.unsupported_fields.get(field)?;
    if is_none(args) { None } else { args.first().map(String::as_str) }
}

fn is_none(args: &[String]) -> bool {
    matches!(args, [one] if one.eq_ignore_ascii_case("none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: &str = "/home/alice";

    fn asker() -> SshAsker {
        SshAsker { user: "alice".parse().unwrap(), agent: Some("/run/agent".into()) }
    }

    fn parse(text: &str) -> Result<SshConfig> {
        SshConfig::parse(text.as_bytes(), HOME.into(), "/home/alice/.ssh/config".into())
    }

    fn resolve(text: &str, host: &str) -> Result<SshOptions> {
        parse(text)?.resolve(&host.parse()?, None, None, &asker())
    }

    #[test]
    fn without_a_configuration_the_usual_files_and_the_askers_name_are_used() {
        let options = resolve("", "kvm1").unwrap();
        assert_eq!((options.host.as_str(), options.port.get(), options.user.as_str()), ("kvm1", 22, "alice"));
        assert_eq!(options.identities[0], Path::new("/home/alice/.ssh/id_ed25519"));
        assert_eq!(options.known_hosts[0], Path::new("/home/alice/.ssh/known_hosts"));
        assert_eq!(options.known_hosts[2], Path::new("/etc/ssh/ssh_known_hosts"));
        assert_eq!(options.agent.as_deref(), Some(Path::new("/run/agent")));
    }

    #[test]
    fn an_alias_leads_to_its_host_and_the_first_value_wins() {
        let text = "Host kvm1\n HostName %h.example.com\n User root\n Port 2222\n IdentityFile ~/.ssh/%r_%n\n\
                    IdentitiesOnly yes\n UserKnownHostsFile ~/.ssh/kvm /etc/kvm_hosts\n HostKeyAlias rack\n\
                    StrictHostKeyChecking no\n\nHost *\n User nobody\n IdentityFile /keys/all\n";
        let options = resolve(text, "kvm1").unwrap();
        assert_eq!(options.host.as_str(), "kvm1.example.com");
        assert_eq!((options.port.get(), options.user.as_str()), (2222, "root"));
        assert_eq!(options.identities, [Path::new("/home/alice/.ssh/root_kvm1"), Path::new("/keys/all")]);
        assert_eq!(options.known_hosts[..2], [Path::new("/home/alice/.ssh/kvm"), Path::new("/etc/kvm_hosts")]);
        assert_eq!((options.agent_keys, options.known_name().as_str()), (AgentKeys::Listed, "rack"));
        assert_eq!(resolve(text, "kvm2").unwrap().user.as_str(), "nobody");
    }

    #[test]
    fn what_the_caller_names_wins_over_the_configuration() {
        let config = parse("Host *\n User nobody\n Port 2222\n").unwrap();
        let (user, port) = ("root".parse().unwrap(), "2200".parse().unwrap());
        let options = config.resolve(&"kvm1".parse().unwrap(), Some(&user), Some(port), &asker()).unwrap();
        assert_eq!((options.user.as_str(), options.port.get()), ("root", 2200));
    }

    #[test]
    fn jumps_stand_one_behind_the_other_and_each_is_looked_up() {
        let text = "Host inner\n ProxyJump gate,root@[2001:db8::1]:2222\nHost gate\n HostName gate.example.com\n\
                    Host far\n ProxyJump inner\nHost direct\n ProxyJump none\n";
        let inner = resolve(text, "inner").unwrap();
        let second = inner.jump.as_deref().unwrap();
        assert_eq!((second.host.as_str(), second.port.get()), ("2001:db8::1", 2222));
        assert_eq!(second.user.as_str(), "root");
        let first = second.jump.as_deref().unwrap();
        assert_eq!((first.host.as_str(), first.jump.is_none()), ("gate.example.com", true));
        assert_eq!(resolve(text, "far").unwrap().jump.unwrap().jump.unwrap().host.as_str(), "2001:db8::1");
        assert_eq!(resolve(text, "direct").unwrap().jump, None);
    }

    #[test]
    fn hosts_that_jump_through_each_other_are_refused() {
        let e = resolve("Host a\n ProxyJump b\nHost b\n ProxyJump a\n", "a").unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn what_decides_over_trust_and_is_not_read_is_not_passed_over() {
        for text in [
            "Match host kvm1\n User root\n",
            "Host x\nmatch all\n User root\n",
            "Host *\n ProxyCommand nc %h %p\n",
            "RevokedHostKeys /etc/revoked\n",
            "KnownHostsCommand /bin/keys\n",
        ] {
            assert_eq!(resolve(text, "kvm1").unwrap_err().kind(), ErrorKind::Unsupported, "{text}");
        }
        assert!(resolve("Host *\n ProxyCommand none\n", "kvm1").is_ok());
    }

    #[test]
    fn hostile_values_are_refused_by_the_types_they_become() {
        for text in [
            "Host *\n HostName -oProxyCommand=id\n",
            "Host *\n User a;id\n",
            "Host *\n ProxyJump a;id\n",
            "Host *\n Port 0\n",
            "Host *\n IdentityFile %x\n",
            "Host *\n UserKnownHostsFile relative\n",
            "Host *\n IdentityFile \"open\n",
        ] {
            assert_eq!(resolve(text, "kvm1").unwrap_err().kind(), ErrorKind::InvalidInput, "{text}");
        }
    }

    #[tokio::test]
    async fn included_files_are_read_and_one_that_is_not_there_is_empty() {
        let home = tempfile::tempdir().unwrap();
        let config = SshConfig::read(home.path()).await.unwrap();
        assert_eq!(config.resolve(&"kvm1".parse().unwrap(), None, None, &asker()).unwrap().user.as_str(), "alice");
        let dir = home.path().join(".ssh");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("config"), "Include conf.d/*\n").unwrap();
        std::fs::create_dir(dir.join("conf.d")).unwrap();
        std::fs::write(dir.join("conf.d/one"), "Host kvm1\n User root\n").unwrap();
        let config = SshConfig::read(home.path()).await.unwrap();
        assert_eq!(config.resolve(&"kvm1".parse().unwrap(), None, None, &asker()).unwrap().user.as_str(), "root");
        std::fs::write(dir.join("conf.d/two"), "Match all\n").unwrap();
        assert_eq!(SshConfig::read(home.path()).await.unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
