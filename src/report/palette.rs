//! The colours of pages and stills. Blue and orange are told apart by almost everybody.

/// Red, green, blue.
pub type Colour = [u8; 3];

pub const SOURCE: Colour = [0xf2, 0x8e, 0x2b];
pub const TARGET: Colour = [0x3b, 0x82, 0xd6];
/// Points of the target, where the source shows distances.
pub const BACKDROP: Colour = [0xb4, 0xba, 0xc4];
/// Points without a counterpart.
pub const ALONE: Colour = [0x7c, 0x83, 0x8f];
pub const INLIER: Colour = [0x22, 0xb1, 0x5c];
pub const OUTLIER: Colour = [0xe0, 0x45, 0x45];

/// Distances from none to the end of the scale.
pub const RAMP: [Colour; 5] =
    [[0x2b, 0x6c, 0xc4], [0x2f, 0xb5, 0xa8], [0x9b, 0xd3, 0x5a], [0xf7, 0xb5, 0x3c], [0xd9, 0x2b, 0x2b]];

/// The colour at `share` (0..1, beyond it the ends) of the scale.
pub fn ramp(share: f32) -> Colour {
    let place = share.clamp(0.0, 1.0) * (RAMP.len() - 1) as f32;
    let below = (place as usize).min(RAMP.len() - 2);
    let part = place - below as f32;
    [0, 1, 2].map(|k| {
        let (a, b) = (f32::from(RAMP[below][k]), f32::from(RAMP[below + 1][k]));
        (a + part * (b - a)).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ramp_meets_its_stops() {
        for (i, stop) in RAMP.iter().enumerate() {
            assert_eq!(ramp(i as f32 / 4.0), *stop);
        }
        assert_eq!((ramp(-1.0), ramp(7.0)), (RAMP[0], RAMP[4]));
    }
}
