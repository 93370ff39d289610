//! LZF decompression, the compression inside PCD files.
//!
//! By hand because the format is two instructions, the `lzf` crate calls itself deprecated, and its offsets
//! are i32, so that it fails on clouds above two gigabytes. Tests compress with that crate.

/// The longest copy an instruction of three bytes can ask for.
const LONGEST_COPY: usize = 7 + 255 + 2;

/// Decompresses `packed` to exactly `size` bytes; `None` when it is damaged or holds another amount.
pub(super) fn decompress(packed: &[u8], size: usize) -> Option<Vec<u8>> {
    // No stream expands further than this, so that a lying `size` reserves nothing.
    if size > packed.len().saturating_mul(LONGEST_COPY / 3) {
        return None;
    }
    let mut plain = Vec::with_capacity(size);
    let mut rest = packed;
    while let Some(control) = take(&mut rest) {
        let control = usize::from(control);
        if control < 32 {
            let (literal, after) = rest.split_at_checked(control + 1)?;
            plain.extend_from_slice(literal);
            rest = after;
        } else {
            let length = match control >> 5 {
                7 => 7 + usize::from(take(&mut rest)?),
                short => short,
            };
            let distance = ((control & 31) << 8) + usize::from(take(&mut rest)?) + 1;
            copy_within(&mut plain, distance, length + 2)?;
        }
        if plain.len() > size {
            return None;
        }
    }
    (plain.len() == size).then_some(plain)
}

fn take(rest: &mut &[u8]) -> Option<u8> {
    rest.split_off_first().copied()
}

/// Appends `length` bytes that start `distance` before the end; they may overlap what is being appended.
fn copy_within(plain: &mut Vec<u8>, distance: usize, length: usize) -> Option<()> {
    let start = plain.len().checked_sub(distance)?;
    if length <= distance {
        plain.extend_from_within(start..start + length);
    } else {
        (start..start + length).for_each(|i| plain.push(plain[i]));
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_copies() {
        assert_eq!(decompress(&[2, b'a', b'b', b'c'], 3).unwrap(), b"abc");
        // "ab", then 3 + 2 bytes from 2 back, which overlap themselves.
        assert_eq!(decompress(&[1, b'a', b'b', 3 << 5, 1], 7).unwrap(), b"abababa");
        // "a", then 7 + 9 + 2 bytes from 1 back.
        assert_eq!(decompress(&[0, b'a', 7 << 5, 9, 0], 19).unwrap(), [b'a'; 19]);
    }

    #[test]
    fn damage_is_noticed() {
        assert_eq!(decompress(&[2, b'a', b'b'], 3), None, "literal cut short");
        assert_eq!(decompress(&[0, b'a', 3 << 5], 6), None, "copy cut short");
        assert_eq!(decompress(&[0, b'a', 1 << 5, 1], 4), None, "copy from before the start");
        assert_eq!(decompress(&[0, b'a'], 2), None, "too little");
        assert_eq!(decompress(&[1, b'a', b'b'], 1), None, "too much");
        assert_eq!(decompress(&[0, b'a'], usize::MAX), None, "more than can be");
        assert_eq!(decompress(&[], 0).unwrap(), b"");
    }

    #[test]
    fn undoes_an_independent_compressor() {
        let plain: Vec<u8> = (0..40_000_u32).map(|i| (i * i / 97 % 11) as u8).collect();
        let packed = lzf::compress(&plain).unwrap();
        assert!(packed.len() < plain.len());
        assert_eq!(decompress(&packed, plain.len()).unwrap(), plain);
    }
}
