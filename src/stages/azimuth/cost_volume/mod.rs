//! The cost volume: what both sides know about its weights.

mod cpu;
mod cuda;

pub use cpu::CpuCostVolume;
pub use cuda::CudaCostVolume;

/// The input of a convolution that the file holds for a channel and a place in its kernel (shift, elevation, azimuth).
fn input_of(channel: usize, place: [usize; 3], kernel: [usize; 3]) -> usize {
    let ([shift, elevation, azimuth], [shifts, elevations, azimuths]) = (place, kernel);
    ((channel * shifts + shift) * elevations + elevation) * azimuths + azimuth
}
