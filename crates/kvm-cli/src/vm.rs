//! `kvmctl vm`: virtual machines.

use clap::Subcommand;
use kvm_core::{ErrorKind, Result};

use crate::op;
use crate::printer::Printer;
use crate::session::Session;

mod autostart;
mod console;
mod console_input;
mod create;
mod create_flags;
mod delete;
mod describe;
mod edit;
mod export;
mod import;
mod list;
mod migrate;
mod migrate_flags;
mod pending;
mod power;
mod power_off;
mod protect;
mod reboot;
mod rename;
mod reset;
mod resume;
mod save;
mod screenshot;
mod set;
mod show;
pub(crate) mod show_devices;
mod shutdown;
mod start;
mod suspend;
mod sysprep;
mod tag;
pub(crate) mod viewer;
mod viewer_password;

/// Verbs for virtual machines.
#[derive(Debug, Subcommand)]
#[command(before_help = "\
Examples:
  kvmctl vm list -w
  kvmctl vm create web --disk 20G --iso iso/debian.iso --start
  kvmctl vm shutdown web --timeout 60s --then power-off")]
pub enum Command {
    /// Make a VM, with its volumes, and start it if asked to.
    Create(Box<create::Args>),
    /// List VMs.
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Show all that is known of a VM.
    Show(show::Args),
    /// Boot VMs, or restore what was saved.
    Start(start::Args),
    /// Ask guests to shut down, and wait for it if asked to.
    Shutdown(shutdown::Args),
    /// Pull the plug: guests lose what they did not write.
    PowerOff(power_off::Args),
    /// Ask guests to reboot.
    Reboot(reboot::Args),
    /// Press the reset button: guests lose what they did not write.
    Reset(reset::Args),
    /// Freeze the virtual CPUs; memory stays where it is.
    Suspend(suspend::Args),
    /// Let suspended VMs go on.
    Resume(resume::Args),
    /// Write the memory to disk and stop; the next start restores it.
    Save(save::Args),
    /// Give a VM that is off another name.
    Rename(rename::Args),
    /// Make a clone another one inside its guest as well.
    Sysprep(sysprep::Args),
    /// Set title and description.
    Describe(describe::Args),
    /// Add and remove tags.
    Tag(tag::Args),
    /// Protect VMs against deletion, or lift that.
    Protect(protect::Args),
    /// Start VMs when their host boots, or not.
    Autostart(autostart::Args),
    /// Change virtual CPUs and memory, also while it runs.
    Set(set::Args),
    /// Show what is configured and waits for the next start.
    Pending(pending::Args),
    /// Change the definition in an editor.
    Edit(edit::Args),
    /// Print the definition as XML.
    Export(export::Args),
    /// Define a VM from XML.
    Import(import::Args),
    /// Move a VM to another host, while it runs or while it is off.
    Migrate(Box<migrate::Args>),
    /// Sit at the serial console.
    Console(console::Args),
    /// Look at the screen, also of another host.
    Viewer(viewer::Args),
    /// Set the password of the screen, and when it ends.
    ViewerPassword(viewer_password::Args),
    /// Save a picture of the screen.
    Screenshot(screenshot::Args),
    /// Delete VMs with what belongs to nobody else.
    Delete(delete::Args),
}

/// Does what was asked, and gives the worst of what went wrong for single VMs.
pub(crate) async fn run(command: Command, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    match command {
        Command::Create(args) => create::run(*args, session, printer).await,
        Command::List(args) => op::answer(&list::run(args, session).await?, session, printer).await,
        Command::Show(args) => op::answer(&show::run(args, session).await?, session, printer).await,
        Command::Start(args) => start::run(args, session, printer).await,
        Command::Shutdown(args) => shutdown::run(args, session, printer).await,
        Command::PowerOff(args) => power_off::run(args, session, printer).await,
        Command::Reboot(args) => reboot::run(args, session, printer).await,
        Command::Reset(args) => reset::run(args, session, printer).await,
        Command::Suspend(args) => suspend::run(args, session, printer).await,
        Command::Resume(args) => resume::run(args, session, printer).await,
        Command::Save(args) => save::run(args, session, printer).await,
        Command::Rename(args) => printer.show(&rename::run(args, session).await?),
        Command::Sysprep(args) => sysprep::run(args, session, printer).await,
        Command::Describe(args) => printer.show(&describe::run(args, session).await?),
        Command::Tag(args) => tag::run(args, session, printer).await,
        Command::Protect(args) => protect::run(args, session, printer).await,
        Command::Autostart(args) => autostart::run(args, session, printer).await,
        Command::Set(args) => printer.show(&set::run(args, session).await?),
        Command::Pending(args) => op::answer(&pending::run(args, session).await?, session, printer).await,
        Command::Edit(args) => edit::run(args, session, printer).await,
        Command::Export(args) => export::run(args, session, printer).await,
        Command::Import(args) => import::run(args, session, printer).await,
        Command::Migrate(args) => migrate::run(*args, session, printer).await,
        Command::Console(args) => console::run(args, session, printer).await,
        Command::Viewer(args) => viewer::run(args, session, printer).await,
        Command::ViewerPassword(args) => printer.show(&viewer_password::run(args, session).await?),
        Command::Screenshot(args) => printer.show(&screenshot::run(args, session).await?),
        Command::Delete(args) => delete::run(args, session, printer).await,
    }
}
