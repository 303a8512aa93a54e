//! `kvmctl vm viewer`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use kvm_core::{Error, ErrorKind, Resource, Result, Transport as _, View, VmId};
use kvm_ssh::LocalTransport;
use serde::Serialize;

use crate::child::{self, Viewer};
use crate::environment;
use crate::interrupt;
use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;
use crate::vms::One;

mod file;
pub(crate) mod screen;

use file::ViewerFile;
use screen::{Kind, Reached, Screen};

/// Arguments of `vm viewer`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm viewer web\n  kvmctl vm viewer web --address\n  kvmctl -c lab1 vm viewer web --vv web.vv",
    after_long_help = "Opens the screen in remote-viewer (Debian: apt install virt-viewer), vncviewer, or what the desktop has \
        for it. Of a host over SSH the screen is brought to a port of this machine's loopback interface, as long as the viewer \
        runs, or until Ctrl-C where there is none to wait for. Everybody on this machine can reach that port.\n\n\
        The viewer is given the password of the screen, in a file that only you can read; a file that you ask for with --vv has \
        it only with --with-password.\n\n\
        Library: kvm_core::Hypervisor::definition, kvm_ssh::PortRelay"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// Only say where the screen is served.
    #[arg(long, conflicts_with_all = ["vv", "with_password"])]
    address: bool,
    /// Write a viewer file instead of opening a viewer.
    #[arg(long, value_name = "FILE")]
    vv: Option<PathBuf>,
    /// Put the password into the viewer file.
    #[arg(long, requires = "vv")]
    with_password: bool,
    /// Which of several screens.
    #[arg(long, value_name = "KIND")]
    kind: Option<Kind>,
}

/// A screen, and how it is looked at from here.
#[derive(Debug, Serialize)]
struct Viewed {
    name: String,
    id: VmId,
    #[serde(flatten)]
    screen: Screen,
    /// The address from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
    /// Whether it is there as long as this program runs.
    tunnel: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    viewer: Option<String>,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (connection, vm) = args.vm.find(session).await?;
    let on = |e: Error| e.on(Resource::Vm(vm.name.clone().into())).during("viewer");
    if !vm.state.is_active() {
        return Err(on(Error::new(ErrorKind::InvalidState, format!("{} does not run, so it has no screen", vm.name))));
    }
    let document = connection.host.hypervisor.definition(&vm.id, View::LIVE.with_secrets()).await?;
    let screens = Screen::of(&document);
    let screen = screens.into_iter().find(|screen| args.kind.is_none_or(|kind| screen.kind == kind));
    let screen = screen.ok_or_else(|| {
        let text = format!("{} has no screen that a viewer can show", vm.name);
        on(Error::new(ErrorKind::NotFound, text)
            .with_detail("VNC and SPICE can be shown; it has to listen on a port or a socket"))
    })?;
    let mut viewed = Viewed {
        name: vm.name.clone().into(),
        id: vm.id,
        screen: screen.clone(),
        uri: None,
        tunnel: false,
        file: None,
        viewer: None,
    };
    if args.address {
        return printer.show(&viewed);
    }
    let reached = screen.reach(&connection).await.map_err(on)?;
    viewed.uri = Some(reached.uri(screen.kind));
    viewed.tunnel = reached.relay.is_some();
    let content = |password: Option<&str>, passing: bool| {
        ViewerFile { vm: &vm.name, kind: screen.kind, reached: &reached, password, passing }.to_text()
    };
    if let Some(file) = args.vv {
        let file = environment::absolute(file)?;
        let password = screen.secret.as_deref().filter(|_| args.with_password);
        LocalTransport::new().write_file(&file, content(password, false).as_bytes(), 0o600).await?;
        viewed.file = Some(file);
        printer.show(&viewed)?;
        return hold(&reached, session).await;
    }
    let Some(viewer) = child::viewer(screen.kind) else {
        printer.show(&viewed)?;
        printer
            .note("no viewer can be opened here: install remote-viewer (Debian: apt install virt-viewer) on a desktop");
        return hold(&reached, session).await;
    };
    viewed.viewer = Some(viewer.name().to_owned());
    printer.show(&viewed)?;
    let passed = write_passing(&content(screen.secret.as_deref(), true)).map_err(on)?;
    open(&viewer, &passed, &reached, screen.kind, session).await
}

/// Opens the viewer and waits for its end, or for Ctrl-C where it does not say when that is.
async fn open(
    viewer: &Viewer,
    file: &Path,
    reached: &Reached,
    kind: Kind,
    session: &Session,
) -> Result<Option<ErrorKind>> {
    match viewer {
        Viewer::Remote(program) => child::view(session, program, &[file.as_os_str()]).await?,
        Viewer::Vnc(program) => {
            // Two colons: a port, and not the number of a display.
            let address = format!("{}::{}", reached.host, reached.port);
            child::view(session, program, &[address.as_ref()]).await?;
        }
        Viewer::Desktop(program) => {
            child::view(session, program, &[reached.uri(kind).as_ref()]).await?;
            return hold(reached, session).await;
        }
    }
    Ok(None)
}

/// Keeps a relay until somebody asks to stop.
async fn hold(reached: &Reached, session: &Session) -> Result<Option<ErrorKind>> {
    if reached.relay.is_some() {
        interrupt::asked_to_stop(session).await?;
    }
    Ok(None)
}

/// A file for the viewer alone, which takes it away once it has read it; it goes with this in any case.
fn write_passing(text: &str) -> Result<tempfile::TempPath> {
    let refused =
        |e: std::io::Error| Error::new(ErrorKind::Unavailable, "no file can be made for the viewer").with_source(e);
    let mut file = tempfile::Builder::new()
        .prefix("kvm-")
        .suffix(".vv")
        .tempfile_in(environment::runtime_directory())
        .map_err(refused)?;
    file.write_all(text.as_bytes()).map_err(refused)?;
    Ok(file.into_temp_path())
}

impl Outcome for Viewed {
    fn text(&self, page: &mut Page<'_>) {
        let Some(uri) = &self.uri else {
            page.line(self.screen.shown());
            return;
        };
        match &self.file {
            Some(file) => page.done(format_args!("viewer file of {} written to {}", self.name, file.display())),
            None => page.line(uri),
        }
        if self.tunnel && self.viewer.is_none() {
            page.line("there until Ctrl-C");
        }
    }
}
