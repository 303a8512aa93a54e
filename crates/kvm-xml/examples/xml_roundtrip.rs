//! Reads libvirt documents and writes them back, as XML or as JSON.
//!
//! ```text
//! xml_roundtrip --kind domain [--strict] [--json] FILE         one document, to standard output ('-' reads standard input)
//! xml_roundtrip --kind domain [--strict] [--json] --in DIR --out DIR   every DIR/*.xml; bad ones are named on standard error
//! ```
//!
//! A kind is the name of the document in lower case: `domain`, `capabilities`, `domaincapabilities`, `network`,
//! `networkport`, `pool`, `poolsources`, `volume`, `nodedev`, `hostinterface`. A device of a domain is a kind of its own,
//! named as its element: `disk`, `hostdev`.

use kvm_xml::domain::{
    Audio, Channel, Console, Controller, Cpu, Crypto, Disk, Filesystem, Graphics, Hostdev, Hub, Input, Interface,
    Iommu, Lease, Memballoon, MemoryDevice, NvramDevice, Panic, Parallel, Pstore, Redirdev, Redirfilter, Rng, Serial,
    Shmem, Smartcard, Sound, Tpm, Video, Vsock, Watchdog,
};
use kvm_xml::{
    Capabilities, Document, Domain, DomainBackup, DomainCapabilities, DomainCheckpoint, DomainSnapshot, HostInterface,
    Network, NetworkFilter, NetworkFilterBinding, NetworkPort, NodeDevice, ParseOptions, Secret, StoragePool,
    StoragePoolCapabilities, StorageVolume, pool::PoolSources,
};
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Default)]
struct Arguments {
    kind: String,
    strict: bool,
    json: bool,
    input: Option<PathBuf>,
    output: Option<PathBuf>,
    file: Option<PathBuf>,
}

fn main() -> ExitCode {
    match arguments().and_then(|arguments| run(&arguments)) {
        Ok(code) => code,
        Err(message) => {
            complain(&message);
            ExitCode::from(2)
        }
    }
}

fn arguments() -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--kind" => arguments.kind = value()?,
            "--in" => arguments.input = Some(value()?.into()),
            "--out" => arguments.output = Some(value()?.into()),
            "--strict" => arguments.strict = true,
            "--json" => arguments.json = true,
            file => arguments.file = Some(file.into()),
        }
    }
    Ok(arguments)
}

fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    if let (Some(input), Some(output)) = (&arguments.input, &arguments.output) {
        return batch(arguments, input, output);
    }
    let file = arguments.file.as_deref().ok_or("a file or --in and --out are needed")?;
    let result = read(file).and_then(|text| convert(arguments, &text))?;
    io::stdout().write_all(result.as_bytes()).map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn batch(arguments: &Arguments, input: &Path, output: &Path) -> Result<ExitCode, String> {
    let mut code = ExitCode::SUCCESS;
    let entries = fs::read_dir(input).map_err(|error| error.to_string())?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "xml"));
    files.sort();
    for file in files {
        let name = file.file_name().unwrap_or_default();
        let target = output.join(name).with_extension(if arguments.json { "json" } else { "xml" });
        let done = read(&file).and_then(|text| convert(arguments, &text));
        if let Err(message) = done.and_then(|text| fs::write(&target, text).map_err(|error| error.to_string())) {
            complain(&format!("{}: {message}", name.to_string_lossy()));
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

/// Reads a document. One that is too large is refused before it is in memory.
fn read(file: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let limit = ParseOptions::MAX_BYTES as u64 + 1;
    let done = if file == Path::new("-") {
        io::stdin().take(limit).read_to_end(&mut bytes)
    } else {
        fs::File::open(file).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    done.map_err(|error| error.to_string())?;
    if bytes.len() as u64 == limit {
        return Err(format!("the document has more than {} bytes", ParseOptions::MAX_BYTES));
    }
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

fn convert(arguments: &Arguments, text: &str) -> Result<String, String> {
    let convert: Convert = match arguments.kind.as_str() {
        "domain" => as_kind::<Domain>,
        "capabilities" => as_kind::<Capabilities>,
        "domaincapabilities" => as_kind::<DomainCapabilities>,
        "pool" => as_kind::<StoragePool>,
        "volume" => as_kind::<StorageVolume>,
        "network" => as_kind::<Network>,
        "snapshot" => as_kind::<DomainSnapshot>,
        "checkpoint" => as_kind::<DomainCheckpoint>,
        "backup" => as_kind::<DomainBackup>,
        "secret" => as_kind::<Secret>,
        "nwfilter" => as_kind::<NetworkFilter>,
        "nwfilterbinding" => as_kind::<NetworkFilterBinding>,
        "poolcapabilities" => as_kind::<StoragePoolCapabilities>,
        "networkport" => as_kind::<NetworkPort>,
        "nodedev" => as_kind::<NodeDevice>,
        "hostinterface" => as_kind::<HostInterface>,
        "poolsources" => as_kind::<PoolSources>,
        other => device(other).ok_or(format!("no kind of document is called {other:?}"))?,
    };
    convert(arguments, text)
}

type Convert = fn(&Arguments, &str) -> Result<String, String>;

/// Devices as they are attached to a domain.
fn device(kind: &str) -> Option<Convert> {
    const DEVICES: &[(&str, Convert)] = &[
        (Audio::ROOT, as_kind::<Audio>),
        (Channel::ROOT, as_kind::<Channel>),
        (Console::ROOT, as_kind::<Console>),
        (Controller::ROOT, as_kind::<Controller>),
        (Cpu::ROOT, as_kind::<Cpu>),
        (Crypto::ROOT, as_kind::<Crypto>),
        (Disk::ROOT, as_kind::<Disk>),
        (Filesystem::ROOT, as_kind::<Filesystem>),
        (Graphics::ROOT, as_kind::<Graphics>),
        (Hostdev::ROOT, as_kind::<Hostdev>),
        (Hub::ROOT, as_kind::<Hub>),
        (Input::ROOT, as_kind::<Input>),
        (Interface::ROOT, as_kind::<Interface>),
        (Iommu::ROOT, as_kind::<Iommu>),
        (Lease::ROOT, as_kind::<Lease>),
        (Memballoon::ROOT, as_kind::<Memballoon>),
        (MemoryDevice::ROOT, as_kind::<MemoryDevice>),
        (NvramDevice::ROOT, as_kind::<NvramDevice>),
        (Panic::ROOT, as_kind::<Panic>),
        (Parallel::ROOT, as_kind::<Parallel>),
        (Pstore::ROOT, as_kind::<Pstore>),
        (Redirdev::ROOT, as_kind::<Redirdev>),
        (Redirfilter::ROOT, as_kind::<Redirfilter>),
        (Rng::ROOT, as_kind::<Rng>),
        (Serial::ROOT, as_kind::<Serial>),
        (Shmem::ROOT, as_kind::<Shmem>),
        (Smartcard::ROOT, as_kind::<Smartcard>),
        (Sound::ROOT, as_kind::<Sound>),
        (Tpm::ROOT, as_kind::<Tpm>),
        (Video::ROOT, as_kind::<Video>),
        (Vsock::ROOT, as_kind::<Vsock>),
        (Watchdog::ROOT, as_kind::<Watchdog>),
    ];
    DEVICES.iter().find(|(root, _)| *root == kind).map(|(_, convert)| *convert)
}

fn as_kind<T: Document + serde_core::Serialize>(arguments: &Arguments, text: &str) -> Result<String, String> {
    let options = if arguments.strict { ParseOptions::STRICT } else { ParseOptions::LENIENT };
    let document = T::from_xml_with(text, &options).map_err(|error| error.to_string())?;
    if arguments.json {
        return serde_json::to_string_pretty(&document).map_err(|error| error.to_string());
    }
    Ok(document.to_xml())
}

fn complain(message: &str) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(io::stderr(), "{message}");
}
