//! The compiled kernels, part of the program: one image a file of `kernels/`, made by `cargo xtask kernels`, with code for
//! several generations of devices.

/// The image of `kernels/<module>.cu`.
pub(super) fn image(module: &str) -> Option<&'static [u8]> {
    IMAGES.iter().find(|(name, _)| *name == module).map(|(_, image)| *image)
}

macro_rules! images {
    ($($module:literal),+ $(,)?) => {
        const IMAGES: &[(&str, &[u8])] = &[$((
            $module,
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/kernels/gen/", $module, ".fatbin")),
        )),+];
    };
}

images![
    "azimuth",
    "bounds",
    "classic",
    "consensus",
    "cost_volume",
    "estimate",
    "frame",
    "gravity",
    "learned",
    "matching",
    "minispinnet",
    "patch",
    "pose",
    "primitives",
    "rank",
    "refine",
    "sample",
    "surface",
    "verify",
    "viewpoint",
    "voxel",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_file_is_embedded() {
        let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/kernels")).unwrap();
        let mut files: Vec<String> = folder
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "cu"))
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        files.sort();
        let mut embedded: Vec<&str> = IMAGES.iter().map(|(name, _)| *name).collect();
        embedded.sort_unstable();
        assert_eq!(embedded, files);
    }
}
