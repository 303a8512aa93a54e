//! Pictures of screens: from the pixmaps that QEMU gives to PNG.

use kvm_core::{Error, ErrorKind, Result};

/// The largest picture: more than any screen has.
const MOST_PIXELS: u64 = 1 << 26;

/// Writes a binary pixmap (`P6`, as QEMU gives it) as PNG. `Corrupt` when it is none.
pub(crate) fn ppm_to_png(ppm: &[u8]) -> Result<Vec<u8>> {
    let (width, height, pixels) = read_ppm(ppm)
        .ok_or_else(|| Error::new(ErrorKind::Corrupt, "the hypervisor gave a picture that cannot be read"))?;
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(pixels));
    written.map_err(|e| Error::internal("the picture cannot be written").with_source(e))?;
    Ok(png)
}

/// Width, height and pixels, three bytes each.
fn read_ppm(ppm: &[u8]) -> Option<(u32, u32, &[u8])> {
    let mut rest = ppm.strip_prefix(b"P6")?;
    let width = number(&mut rest)?;
    let height = number(&mut rest)?;
    let most = number(&mut rest)?;
    // One blank ends the header.
    let (_, pixels) = rest.split_first().filter(|(blank, _)| blank.is_ascii_whitespace())?;
    let count = u64::from(width) * u64::from(height);
    let sane = width > 0 && height > 0 && most == 255 && count <= MOST_PIXELS;
    let bytes = usize::try_from(count.checked_mul(3)?).ok()?;
    sane.then(|| pixels.get(..bytes)).flatten().map(|pixels| (width, height, pixels))
}

/// The next number, after blanks and comments.
fn number(rest: &mut &[u8]) -> Option<u32> {
    loop {
        match rest.split_first()? {
            (b'#', _) => *rest = &rest[rest.iter().position(|b| *b == b'\n')?..],
            (blank, more) if blank.is_ascii_whitespace() => *rest = more,
            _ => break,
        }
    }
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, more) = rest.split_at(digits);
    *rest = more;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pixmap_becomes_a_png_with_the_same_pixels() {
        let mut ppm = b"P6\n# QEMU\n2 1\n255\n".to_vec();
        ppm.extend([255, 0, 0, 0, 0, 255]);
        let png = ppm_to_png(&ppm).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!((reader.info().width, reader.info().height), (2, 1));
        assert_eq!(pixels, [255, 0, 0, 0, 0, 255]);
    }

    #[test]
    fn what_is_no_pixmap_is_corrupt_and_allocates_nothing() {
        let lies = [
            &b"P6 4294967295 4294967295 255\nxx"[..],
            b"P6 2 2 255\nxx",
            b"P5 1 1 255\nx",
            b"P6 1",
            b"",
            b"P6 0 0 255\n",
        ];
        for bad in lies {
            assert_eq!(ppm_to_png(bad).unwrap_err().kind(), ErrorKind::Corrupt, "{bad:?}");
        }
    }
}
