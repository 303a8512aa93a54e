//! Messages: JSON objects with a `type`. Fields that this version does not know are ignored, types are not.

use serde::{Deserialize, Serialize};

use crate::Digest;

/// The version of the conversation. The helper answers a greeting in its own; with another one there is no conversation.
pub const VERSION: u32 = 1;

/// What is asked of the helper, one at a time. Each is answered by one [`Reply`] that ends it, or by
/// [`Reply::Error`]; [`Reply::Progress`] may come before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// The greeting, which must come first. When it comes again the helper closes and unlocks all that it has open, as if
    /// the session had just begun. Answer: [`Reply::Hello`].
    Hello {
        /// The caller's [`VERSION`].
        version: u32,
    },
    /// How long a file is. Answer: [`Reply::Stat`]; `not_found`.
    Stat {
        /// Which file.
        file: FileRef,
    },
    /// How much room there is. Answer: [`Reply::Space`].
    Space {
        /// A directory, absolute.
        root: String,
    },
    /// Computes the digests of a file, of which holes are not read. They stay with the session, for
    /// [`Groups`](Self::Groups), [`Leaves`](Self::Leaves) and [`Send`](Self::Send). Answer: [`Reply::Scanned`];
    /// `busy` with [`Cause::Changed`] or [`Cause::InUse`].
    Scan {
        /// Which file.
        file: FileRef,
        /// Whether digests saved earlier may be used, and these are saved.
        keep: Keep,
        /// Whether somebody else may be writing to it.
        access: Access,
    },
    /// Sends the digests of all groups of the scanned file. Answer: digest frames, then [`Reply::Done`].
    Groups,
    /// Sends the digests of the leaves of these groups. Answer: digest frames, then [`Reply::Done`].
    Leaves {
        /// The numbers of the groups.
        groups: Vec<u64>,
    },
    /// Sends a file, or parts of it. Answer: block frames in any order, then [`Reply::Sent`].
    Send {
        /// Which file.
        file: FileRef,
        /// How much of it.
        what: What,
        /// Whether blocks are compressed.
        compression: Compression,
        /// Whether the digests are saved; needs [`What::All`] to have an effect.
        keep: Keep,
        /// Whether somebody else may be writing to it.
        access: Access,
    },
    /// Begins a new file, beside its place as `<name>.partial`. Answer: [`Reply::Created`]; `already_exists` when the
    /// file itself is there, or a partial one that is not to be resumed.
    Create {
        /// Which file, by its final name.
        file: FileRef,
        /// How long it becomes.
        length: u64,
        /// The permission bits of the new file.
        mode: u32,
        /// What to do with a partial file of an earlier attempt.
        opening: Opening,
    },
    /// Computes the digests of the partial file that [`Create`](Self::Create) opened, or of what the file would be with the
    /// changes that [`Update`](Self::Update) has found there. Answer: [`Reply::Scanned`].
    ScanPartial,
    /// Announces block frames and [`End`](Self::End), for what [`Create`](Self::Create) or [`Update`](Self::Update)
    /// began. Answer, after the end: [`Reply::Received`]; as soon as something is wrong, and once: [`Reply::Error`],
    /// after which blocks are ignored up to the end.
    Receive,
    /// The end of the blocks.
    End,
    /// Reads back what was written, compares it and makes it durable. Answer: [`Reply::Ready`]; `corrupt`.
    Finish {
        /// The digest that the whole file must have.
        root: Digest,
    },
    /// Gives the finished file its name, which must be free, or applies a finished update to its image, and makes that
    /// durable. Answer: [`Reply::Published`].
    Publish,
    /// Removes the partial file or the update that is not yet applied. Answer: [`Reply::Done`].
    Discard,
    /// Begins a change of an existing file, which is collected beside it as `<name>.sync` and touches nothing before it
    /// is published. Answer: [`Reply::Updating`]; `corrupt` with [`Cause::Differs`] when the file is another one than
    /// expected.
    Update {
        /// Which file.
        file: FileRef,
        /// The digest that the file must have now.
        expect: Digest,
        /// How long it will be.
        length: u64,
        /// What to do with changes that an earlier attempt has collected for the same file and length. When they are not to
        /// be resumed, finished ones are refused with `invalid_state`, others are forgotten.
        #[serde(default)]
        opening: Opening,
    },
    /// Applies an update again that was being applied when the helper or its host ended. Answer: [`Reply::Recovered`].
    Recover {
        /// Which file.
        file: FileRef,
    },
    /// What is in a directory; an empty name stands for the root itself. Answer: [`Reply::Listing`]; `not_found`,
    /// `unsupported` when there is more than [`Entry::MOST`].
    List {
        /// Which directory.
        file: FileRef,
    },
    /// Makes a directory, durably; what is above it must be there. Answer: [`Reply::Done`]; `already_exists`.
    MakeDirectory {
        /// Which one.
        file: FileRef,
        /// Its permission bits; without them only its owner may enter.
        #[serde(default = "private")]
        mode: u32,
    },
    /// Gives a file or a directory another name below the same root, which must be free, durably. Answer:
    /// [`Reply::Done`]; `not_found`, `already_exists`.
    Rename {
        /// Which.
        file: FileRef,
        /// Its new name, relative to the root.
        to: String,
    },
    /// Removes a file or an empty directory, durably. Answer: [`Reply::Done`], also when there is none; `invalid_state`
    /// when a directory is not empty.
    Remove {
        /// Which.
        file: FileRef,
    },
    /// Fills the partial file of `file` with what another file holds, so that [`Create`](Self::Create) with
    /// [`Opening::Resume`] goes on from there and only what differs has to be sent. Blocks are shared where the file
    /// system can do that, else copied. Answer: [`Reply::Done`]; `already_exists` when there is a partial file.
    Seed {
        /// The file that is going to be made.
        file: FileRef,
        /// What it begins with.
        from: FileRef,
    },
    /// Computes the SHA-256 of a file, holes included, for those who have no other program to check it with. Answer:
    /// [`Reply::Summed`]; `not_found`, `busy` with [`Cause::Changed`] or [`Cause::InUse`].
    Sum {
        /// Which file.
        file: FileRef,
    },
}

/// The permission bits of a directory that only its owner may enter.
fn private() -> u32 {
    0o700
}

/// What the helper answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Reply {
    /// The greeting.
    Hello {
        /// The helper's [`VERSION`].
        version: u32,
        /// The helper's name and release.
        program: String,
        /// What it was built for, such as `x86_64`.
        architecture: String,
        /// What it can do beyond this version.
        features: Vec<String>,
    },
    /// A file.
    Stat {
        /// How long it is.
        length: u64,
        /// How much of it takes room.
        allocated: u64,
        /// What changes when the file does; `None` for a block device.
        identity: Option<Identity>,
        /// An update that waits for [`Request::Recover`].
        pending: Option<Pending>,
    },
    /// Room in a directory.
    Space {
        /// Bytes that the caller may still use.
        free: u64,
        /// Bytes of the whole file system.
        total: u64,
    },
    /// The digests are known.
    Scanned {
        /// How long the file is.
        length: u64,
        /// How much of it is in leaves that are not all zeros.
        data: u64,
        /// The digest of the whole.
        root: Digest,
        /// Whether they had been saved and nothing was read.
        was_saved: bool,
        /// How many bytes of data were not read because a bitmap says that they have not changed ([`Keep::Track`]).
        spared: u64,
        /// An update that waits for [`Request::Recover`].
        pending: Option<Pending>,
    },
    /// All blocks were sent.
    Sent {
        /// The digest of the whole file; `None` when only parts of it are known.
        root: Option<Digest>,
        /// How long the file is.
        length: u64,
        /// How many block frames went out.
        blocks: u64,
        /// How many bytes of the file they stand for.
        data: u64,
        /// How many bytes the frames took.
        wire: u64,
    },
    /// The partial file is open.
    Created {
        /// Whether it was there, with what an earlier attempt wrote.
        was_there: bool,
    },
    /// All blocks are written, if not yet durable.
    Received {
        /// How many block frames came.
        blocks: u64,
        /// How many bytes of the file they stand for.
        data: u64,
    },
    /// What was received is whole and durable.
    Ready,
    /// The file has its name, or the image its changes, durably.
    Published,
    /// The update can be received.
    Updating {
        /// How long the file is now.
        length: u64,
        /// Whether changes of an earlier attempt were there, with which it goes on.
        #[serde(default)]
        was_there: bool,
    },
    /// Nothing is pending any more.
    Recovered {
        /// The digest of the file, when an update was applied; `None` when there was none, or an unfinished one that
        /// was removed.
        root: Option<Digest>,
    },
    /// The SHA-256 is known.
    Summed {
        /// The SHA-256 of the bytes of the file; no tree, and no [`Digest::ZERO`].
        sha256: Digest,
    },
    /// What is in a directory, in no order.
    Listing {
        /// Its files and directories, without those whose names are no UTF-8.
        entries: Vec<Entry>,
    },
    /// It is done, and there is nothing to say about it.
    Done,
    /// It goes on.
    Progress {
        /// Bytes looked at.
        done: u64,
        /// Bytes there are.
        total: u64,
    },
    /// It did not work; the session goes on.
    Error {
        /// What kind of trouble.
        kind: FailureKind,
        /// What happened, in one line.
        message: String,
        /// The file it is about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<FileRef>,
        /// What exactly, where a caller may want to act on it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<Cause>,
    },
}

/// Something in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// Its name there.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// How long it is; of files.
    pub length: u64,
}

impl Entry {
    /// So many are listed.
    pub const MOST: usize = 16_384;
}

/// What something in a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A link, a device, a socket.
    Other,
}

/// A file below a directory. Nothing on the way from the directory to the file may be a link.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileRef {
    /// The directory, absolute.
    pub root: String,
    /// The file, relative to it.
    pub name: String,
}

impl FileRef {
    /// The file `name` below `root`. The helper checks both.
    pub fn new(root: impl Into<String>, name: impl Into<String>) -> Self {
        Self { root: root.into(), name: name.into() }
    }
}

/// What changes when a regular file is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// The device it lies on.
    pub dev: u64,
    /// Its number there.
    pub ino: u64,
    /// How long it is.
    pub size: u64,
    /// When its content last changed, in nanoseconds since 1970.
    pub mtime: i64,
    /// When it last changed at all.
    pub ctime: i64,
}

/// An update that is finished and has not, or not wholly, been applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pending {
    /// The digest of the file before.
    pub before: Digest,
    /// The digest of the file afterwards.
    pub after: Digest,
}

/// A part of a file, in whole leaves: it begins at one, and ends at one or at the end of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    /// Its first byte.
    pub offset: u64,
    /// Its length.
    pub length: u64,
}

/// How much of a file is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// All that is not zero.
    All,
    /// These parts, zeros among them as [`Encoding::Zeros`](crate::Encoding::Zeros).
    Ranges(Vec<Span>),
}

/// Whether blocks are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Never.
    Off,
    /// With zstd, except where a sample shows that it is of no use.
    Zstd,
}

/// Whether digests are kept beside the session, for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// No: all is read, nothing is saved.
    Forget,
    /// Yes: saved ones are used when the file has not changed, and new ones are saved.
    Remember,
    /// As [`Remember`](Self::Remember), for a qcow2 image: where it has changed, and one of its bitmaps whose name begins
    /// with [`BITMAP_PREFIX`] has recorded what, only that is read. Nothing but the caller's word says that it is qcow2, for the
    /// guest of a raw disk can write there what it likes.
    Track,
}

/// How the names of bitmaps begin that are trusted: whoever makes one never uses its name again.
pub const BITMAP_PREFIX: &str = "kvm-manager-";

/// Whether somebody else may be writing to a file that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// No: QEMU's image lock is checked and held.
    Exclusive,
    /// The caller has seen to it that what is read stands still.
    Shared,
}

/// What to do with what an earlier attempt has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Opening {
    /// Refuse.
    #[default]
    New,
    /// Go on with it; without it, begin.
    Resume,
}

/// What kind of trouble; the names are those of the errors of the whole project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The name is taken.
    AlreadyExists,
    /// Somebody else works on it.
    Busy,
    /// Data is not what its digest says.
    Corrupt,
    /// Permission refused.
    Denied,
    /// The host's input or output does not work, or a bug.
    Internal,
    /// The request is wrong.
    InvalidInput,
    /// Not now: something has to come first.
    InvalidState,
    /// No room.
    NoSpace,
    /// No such file.
    NotFound,
    /// The helper cannot do that here, or speaks another version.
    Unsupported,
}

/// What exactly went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Cause {
    /// The file changed while it was read.
    Changed,
    /// Another process, such as QEMU, has the image open in a way that forbids this.
    InUse,
    /// The block at this offset is not what its digests say.
    Block {
        /// Its first byte.
        offset: u64,
    },
    /// The file has another digest than expected.
    Differs {
        /// The one that was expected.
        expected: Digest,
        /// Its own.
        found: Digest,
    },
}
