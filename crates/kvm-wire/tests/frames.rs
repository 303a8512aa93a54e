//! Frames: what is written is read, the bytes stay what `docs/wire.md` says, and nothing hostile does harm.

use kvm_wire::*;
use proptest::prelude::*;

fn file() -> FileRef {
    FileRef::new("/srv/images", "web.qcow2")
}

fn decode_all(mut bytes: &[u8]) -> Result<Vec<Frame>, WireError> {
    let (mut decoder, mut frames) = (Decoder::new(), Vec::new());
    while let Some(frame) = decoder.next(&mut bytes)? {
        frames.push(frame);
    }
    Ok(frames)
}

#[test]
fn the_bytes_of_each_kind_of_frame_stay_as_they_are() {
    let message = Frame::request(&Request::Stat { file: file() }).unwrap();
    let json = br#"{"type":"stat","file":{"root":"/srv/images","name":"web.qcow2"}}"#;
    assert_eq!(message.to_bytes(), [&[1, 64, 0, 0, 0][..], json].concat());

    let digest = leaf_digest(b"abc");
    let block = Block::frame(65536, 3, Encoding::Raw, &[digest], b"abc").unwrap();
    let head = [2, 48, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0];
    assert_eq!(block.to_bytes(), [&head[..], digest.as_bytes(), b"abc"].concat());

    let run = DigestRun { first: 7, digests: vec![digest, Digest::ZERO] };
    let head = [3, 72, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(run.to_frame().unwrap().to_bytes(), [&head[..], digest.as_bytes(), &[0; 32]].concat());
}

#[test]
fn the_json_of_messages_stays_as_it_is() {
    for (request, json) in [
        (Request::Hello { version: 1 }, r#"{"type":"hello","version":1}"#),
        (
            Request::Send {
                file: file(),
                what: What::Ranges(vec![Span { offset: 0, length: 65536 }]),
                compression: Compression::Zstd,
                keep: Keep::Forget,
                access: Access::Exclusive,
            },
            concat!(
                r#"{"type":"send","file":{"root":"/srv/images","name":"web.qcow2"},"#,
                r#""what":{"ranges":[{"offset":0,"length":65536}]},"compression":"zstd","keep":"forget","#,
                r#""access":"exclusive"}"#
            ),
        ),
        (Request::End, r#"{"type":"end"}"#),
    ] {
        let frame = Frame::request(&request).unwrap();
        assert_eq!(std::str::from_utf8(frame.payload()).unwrap(), json);
        assert_eq!(frame.as_request().unwrap(), request);
    }
    let reply = Reply::Error {
        kind: FailureKind::Busy,
        message: "it is in use".to_owned(),
        file: None,
        cause: Some(Cause::InUse),
    };
    let json = r#"{"type":"error","kind":"busy","message":"it is in use","cause":{"type":"in_use"}}"#;
    assert_eq!(std::str::from_utf8(Frame::reply(&reply).unwrap().payload()).unwrap(), json);
}

fn message(json: &str) -> Frame {
    Frame::new(FrameKind::Message, json.as_bytes().to_vec()).unwrap()
}

#[test]
fn fields_of_a_later_release_are_ignored_and_unknown_messages_named() {
    let hello = message(r#"{"type":"hello","version":1,"colour":"blue"}"#);
    assert_eq!(hello.as_request().unwrap(), Request::Hello { version: 1 });
    let Err(WireError::Message(e)) = message(r#"{"type":"levitate"}"#).as_request() else { panic!() };
    assert!(e.to_string().contains("levitate"), "{e}");
    for wrong in ["", "{}", "[]", "null", r#"{"type":"stat"}"#, r#"{"type":"stat","file":7}"#, "\u{0}", "{\"type\":"] {
        assert!(matches!(message(wrong).as_request(), Err(WireError::Message(_))), "{wrong}");
    }
    assert!(message(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))).as_reply().is_err());
}

#[test]
fn a_login_that_prints_something_is_noticed_at_its_first_letter() {
    for text in ["Welcome to host1!\n", "\n", "\x1b[1m", "bash: no such file"] {
        assert!(matches!(decode_all(text.as_bytes()), Err(WireError::Kind(_))), "{text:?}");
    }
}

#[test]
fn a_frame_beyond_the_bound_is_refused_before_its_bytes_come() {
    let mut head = &[2, 1, 0, 0, 1][..];
    assert!(matches!(Decoder::new().next(&mut head), Err(WireError::TooLong(n)) if n == u64::from(MAX_PAYLOAD) + 1));
    assert!(Frame::new(FrameKind::Block, vec![0; MAX_PAYLOAD as usize]).is_ok());
    assert!(Frame::new(FrameKind::Block, vec![0; MAX_PAYLOAD as usize + 1]).is_err());
}

#[test]
fn a_frame_of_another_kind_is_no_message_and_no_block() {
    let block = Block::frame(0, 1, Encoding::Raw, &[leaf_digest(b"x")], b"x").unwrap();
    assert!(matches!(block.as_reply(), Err(WireError::Unexpected { expected: "message", found: "block" })));
    assert!(matches!(message("{}").as_block(), Err(WireError::Unexpected { expected: "block", .. })));
    assert!(message("{}").as_digests().is_err());
}

#[test]
fn blocks_that_contradict_themselves_are_neither_written_nor_read() {
    let x = leaf_digest(b"x");
    for (offset, length, encoding, digests, data) in [
        (1, 1, Encoding::Raw, &[x][..], &b"x"[..]),
        (0, 0, Encoding::Raw, &[], b""),
        (0, Block::MAX + 1, Encoding::Zeros, &[Digest::ZERO; 17], b""),
        (0, 2, Encoding::Raw, &[x], b"x"),
        (0, 1, Encoding::Raw, &[], b"x"),
        (0, 1, Encoding::Raw, &[x, x], b"x"),
        (0, 1, Encoding::Zeros, &[x], b""),
        (0, 1, Encoding::Zstd, &[x], b""),
        (0, 1, Encoding::Zstd, &[x], b"longer than it is"),
        (1 << 63, 1, Encoding::Raw, &[x], b"x"),
    ] {
        let mut out = vec![7];
        assert!(Block::encode(&mut out, offset, length, encoding, digests, data).is_err(), "{offset} {length}");
        assert_eq!(out, [7]);
    }
}

fn frames() -> impl Strategy<Value = Frame> {
    let digest = any::<[u8; 32]>().prop_map(Digest::from_bytes);
    let run = (any::<u32>(), prop::collection::vec(digest, 0..40))
        .prop_map(|(first, digests)| DigestRun { first: first.into(), digests }.to_frame().unwrap());
    let block = (0..1u64 << 40, prop::collection::vec(any::<u8>(), 1..5000)).prop_map(|(leaf, data)| {
        let length = u32::try_from(data.len()).unwrap();
        Block::frame(leaf * LEAF_SIZE, length, Encoding::Raw, &[leaf_digest(&data)], &data).unwrap()
    });
    let text = (any::<String>(), any::<String>())
        .prop_map(|(root, name)| Frame::request(&Request::Stat { file: FileRef { root, name } }).unwrap());
    prop_oneof![run, block, text]
}

proptest! {
    #[test]
    fn frames_are_read_as_they_were_written_however_the_bytes_come(
        frames in prop::collection::vec(frames(), 0..6),
        cut in 1usize..400,
    ) {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::to_bytes).collect();
        let (mut decoder, mut read) = (Decoder::new(), Vec::new());
        for mut part in bytes.chunks(cut) {
            while let Some(frame) = decoder.next(&mut part).unwrap() {
                read.push(frame);
            }
        }
        prop_assert!(decoder.is_between_frames());
        prop_assert_eq!(read, frames);
    }

    #[test]
    fn blocks_are_read_as_they_were_written(leaf in 0..1u64 << 40, data in prop::collection::vec(any::<u8>(), 1..200_000)) {
        let digests: Vec<Digest> = data.chunks(LEAF_SIZE as usize).map(leaf_digest).collect();
        let (offset, length) = (leaf * LEAF_SIZE, u32::try_from(data.len()).unwrap());
        let frame = Block::frame(offset, length, Encoding::Raw, &digests, &data).unwrap();
        let block = frame.as_block().unwrap();
        prop_assert_eq!((block.offset(), block.length(), block.encoding()), (offset, length, Encoding::Raw));
        prop_assert_eq!(block.digests().collect::<Vec<_>>(), digests);
        prop_assert_eq!(block.data(), data);
    }

    #[test]
    fn hostile_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0u8..5) {
        let mut announced = bytes;
        if let Some(first) = announced.first_mut() { *first = kind; }
        let mut rest = &announced[..];
        let mut decoder = Decoder::new();
        while let Ok(Some(frame)) = decoder.next(&mut rest) {
            let _any = (frame.as_request().is_ok(), frame.as_reply().is_ok());
            let _any = (frame.as_block().is_ok(), frame.as_digests().is_ok());
        }
        for kind in [FrameKind::Message, FrameKind::Block, FrameKind::Digests] {
            let frame = Frame::new(kind, announced.clone()).unwrap();
            let _any = (frame.as_request().is_ok(), frame.as_block().is_ok(), frame.as_digests().is_ok());
        }
    }
}
