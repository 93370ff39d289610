//! Every stage is timed on the CPU and, where a CUDA device is found, on that, in one group: `cargo bench --bench sample`
//! prints both under `sample/<what>/cpu` and `sample/<what>/cuda`.

// Every bench compiles its own copy and uses a part of it.
#![allow(dead_code, unused_macros)]

#[cfg(feature = "cuda")]
use coregister::backend::cuda::{Cuda, Installation, Nvidia, installation};
use coregister::backend::{Cpu, Device};
use coregister::error::Result;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId};

/// What belongs together in the report.
pub type Group<'a> = BenchmarkGroup<'a, WallTime>;

/// A backend under the clock.
pub struct Timed<B: Device> {
    name: &'static str,
    backend: B,
}

impl<B: Device> Timed<B> {
    /// The backend, and what the report calls it.
    pub fn new(name: &'static str, backend: B) -> Self {
        Self { name, backend }
    }

    /// The backend.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Times this work up to its end on the device.
    pub fn time<T>(&self, group: &mut Group<'_>, what: impl Into<String>, work: impl Fn(&B) -> Result<T>) {
        group.bench_function(BenchmarkId::new(what, self.name), |bencher| {
            bencher.iter(|| {
                let result = work(&self.backend).expect("work that succeeds");
                self.backend.wait().expect("work that ends");
                result
            });
        });
    }

    /// Times work that uses up a copy of `input`; the copy is not timed.
    pub fn time_with<I, T>(
        &self,
        group: &mut Group<'_>,
        what: impl Into<String>,
        input: impl Fn(&B) -> Result<I>,
        work: impl Fn(&B, I) -> Result<T>,
    ) {
        let prepared = || {
            let input = input(&self.backend).expect("a copy");
            self.backend.wait().expect("work that ends");
            input
        };
        let timed = |input| {
            let result = work(&self.backend, input).expect("work that succeeds");
            self.backend.wait().expect("work that ends");
            result
        };
        group.bench_function(BenchmarkId::new(what, self.name), |bencher| {
            bencher.iter_batched(prepared, timed, criterion::BatchSize::PerIteration);
        });
    }
}

/// Streams of the first CUDA device; none without one, and the standard error tells why.
#[cfg(feature = "cuda")]
pub fn cuda_streams(count: usize) -> Vec<Cuda<Nvidia>> {
    match installation() {
        Installation::Ready { devices, .. }
            if devices.first().is_some_and(|device| device.is_supported()) =>
        {
            let open = |_| Cuda::new(Nvidia::open(0, None).expect("the device that was found"));
            (0..count).map(open).collect()
        }
        other => {
            eprintln!(
                "note: timing the CPU alone, there is no CUDA device that the kernels run on: {other:?}"
            );
            Vec::new()
        }
    }
}

/// Nothing: built without CUDA.
#[cfg(not(feature = "cuda"))]
pub fn cuda_streams(_: usize) -> Vec<Cpu> {
    Vec::new()
}

/// The CPU with all its threads.
pub fn cpu() -> Timed<Cpu> {
    Timed::new("cpu", Cpu::new(0).expect("worker threads start"))
}

/// Calls a generic function for the CPU and for the CUDA device.
macro_rules! on_every_backend {
    ($bench:ident, $group:expr) => {{
        $bench(&$crate::backends::cpu(), $group);
        for cuda in $crate::backends::cuda_streams(1) {
            $bench(&$crate::backends::Timed::new("cuda", cuda), $group);
        }
    }};
}

#[allow(unused_imports)]
pub(crate) use on_every_backend;
