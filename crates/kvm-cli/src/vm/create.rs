//! `kvmctl vm create`.

use std::path::PathBuf;

use kvm_core::{ErrorKind, Result, VmName};
use kvm_vm::{CreatePlan, CreateSpec, ImportOptions, PlanContext};

use super::create_flags::Flags;
use crate::op;
use crate::operation::{Changed, PlanView, note_differences};
use crate::printer::Printer;
use crate::session::Session;
use crate::text;

/// Arguments of `vm create`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm create web --disk 20G --iso iso/debian.iso --start\n  \
        kvmctl vm create db --memory 16G --vcpus 8 --disk 100G,pool=fast --network bridge=br0 --firmware uefi\n  \
        kvmctl vm create --file web.yaml --dry-run",
    after_long_help = "A file has the keys of kvm_vm::CreateSpec; flags win over it. Disks:\n  \
        20G                          a new volume of the default pool\n  \
        20G,pool=fast,format=raw     and where, and how\n  \
        volume=default/web.qcow2     a volume that is there\n  \
        path=/srv/a.img,format=raw   a file below an allowed path\n\n\
        Library: kvm_vm::plan_create, kvm_core::op::Executor::run"
)]
pub struct Args {
    /// Name of the VM.
    #[arg(value_name = "NAME", required_unless_present_any = ["file", "from_xml"])]
    name: Option<VmName>,
    /// Specification, as YAML or JSON; - for standard input.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// libvirt's XML instead of a specification, as `vm import` takes it.
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    from_xml: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
    /// Take existing images whose headers are risky: encrypted, damaged, or naming other files.
    #[arg(long)]
    accept_image: bool,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print the XML that would be defined and do nothing.
    #[arg(long, conflicts_with = "dry_run")]
    print_xml: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let Args { name, file, from_xml, flags, accept_image, dry_run, print_xml } = args;
    let policy = session.policy(accept_image);
    let cx = PlanContext { policy: &policy, ..session.plan_context() };
    let plan = match from_xml {
        Some(path) => {
            flags.only_what_xml_does_not_say()?;
            let xml = text::read_user_file(&path).await?;
            let options =
                ImportOptions { name, autostart: flags.autostart(), start: flags.start(), ..ImportOptions::default() };
            let connection = session.host().await?;
            kvm_vm::plan_import(&connection.host, &xml, &options, &cx).await?
        }
        None => {
            let spec = spec(name, file, flags).await?;
            let connection = session.host().await?;
            op::refuse_interrupted(session, &connection, spec.name.as_str(), None).await?;
            kvm_vm::plan_create(&connection.host, &spec, &cx).await?
        }
    };
    carry_out(plan, Mode { dry_run, print_xml, verb: "created" }, session, printer).await
}

/// What is done with a plan.
pub(super) struct Mode {
    pub(super) dry_run: bool,
    pub(super) print_xml: bool,
    pub(super) verb: &'static str,
}

/// Shows the plan of a new VM or carries it out.
pub(super) async fn carry_out(
    plan: CreatePlan,
    mode: Mode,
    session: &Session,
    printer: &mut Printer,
) -> Result<Option<ErrorKind>> {
    let connection = session.host().await?;
    let name = plan.document.name.clone().unwrap_or_default();
    op::refuse_interrupted(session, &connection, &name, Some(plan.id)).await?;
    if mode.print_xml {
        printer.raw(kvm_xml::Document::to_xml(&plan.document).as_bytes())?;
        return Ok(None);
    }
    if mode.dry_run {
        return printer.show(&PlanView::of(&plan.plan));
    }
    note_differences(&plan.plan, printer);
    let done = session.carry_out(&connection, plan.plan).await?;
    printer.show(&Changed::new(name, plan.id, mode.verb, &done))
}

async fn spec(name: Option<VmName>, file: Option<PathBuf>, flags: Flags) -> Result<CreateSpec> {
    let mut spec = match (file, name) {
        (Some(path), name) => {
            let mut spec = read_spec(&text::read_user_file(&path).await?)
                .map_err(|e| e.with_note(&format!("in {}", path.display())))?;
            if let Some(name) = name {
                spec.name = name;
            }
            spec
        }
        (None, Some(name)) => CreateSpec::new(name),
        (None, None) => return Err(kvm_core::Error::invalid("name", "a VM needs a name")),
    };
    flags.apply_to(&mut spec);
    Ok(spec)
}

/// Reads YAML, of which JSON is a part.
fn read_spec(text: &str) -> Result<CreateSpec> {
    // First into a tree, whose errors are those of the syntax alone; then the fields, whose errors name their key.
    let tree: serde_json::Value = serde_saphyr::from_str(text)
        .map_err(|e| kvm_core::Error::invalid("file", "the specification is not valid YAML or JSON").with_source(e))?;
    CreateSpec::read(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_and_json_give_the_same_specification() {
        let yaml = read_spec("name: web\nmemory: 4GiB\ndisks:\n  - size: 20GiB\ntags: [prod]\n").unwrap();
        let json =
            read_spec(r#"{"name": "web", "memory": "4GiB", "disks": [{"size": "20GiB"}], "tags": ["prod"]}"#).unwrap();
        assert_eq!(yaml, json);
    }

    #[test]
    fn a_wrong_key_is_named() {
        let e = read_spec("name: web\nmemroy: 4GiB\n").unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidInput);
        assert!(e.message().contains("memroy"), "{e}");
        let e = read_spec("name: [\n").unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidInput);
    }
}
