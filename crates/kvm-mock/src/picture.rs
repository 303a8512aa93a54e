//! A picture of a simulated guest's screen.

use std::time::Duration;

use kvm_core::VmId;

const WIDTH: usize = 320;
const HEIGHT: usize = 200;

/// A portable pixmap: a dark screen in the machine's own colour, with a bar that moves from second to second.
pub(crate) fn ppm(id: &VmId, screen: u32, ran: Duration) -> Vec<u8> {
    let hue = id.as_bytes();
    let ground = [hue[0] / 4, hue[1] / 4, hue[2] / 4];
    let bar = [hue[0] | 0x80, hue[1] | 0x80, hue[2] | 0x80];
    let left = (ran.as_secs() as usize).wrapping_add(screen as usize * 40) % WIDTH;
    let mut data = format!("P6\n{WIDTH} {HEIGHT}\n255\n").into_bytes();
    for _ in 0..HEIGHT {
        for x in 0..WIDTH {
            data.extend(if (left..left + 16).contains(&x) { bar } else { ground });
        }
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_the_size_that_its_head_says_and_moves_with_time() {
        let id = VmId::parse("8fbf2b8e-3b3c-4b1e-9a51-000000000001").unwrap();
        let first = ppm(&id, 0, Duration::ZERO);
        assert_eq!(first.len(), "P6\n320 200\n255\n".len() + WIDTH * HEIGHT * 3);
        assert_eq!(first, ppm(&id, 0, Duration::ZERO));
        assert_ne!(first, ppm(&id, 0, Duration::from_secs(1)));
    }
}
