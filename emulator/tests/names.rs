//! How the build finds kernels in a source.

#[path = "../build/sources.rs"]
#[allow(dead_code, reason = "the build uses the rest")]
mod sources;

fn names(source: &str) -> Vec<(String, Option<String>)> {
    sources::kernels(source).into_iter().map(|kernel| (kernel.name, kernel.most_threads)).collect()
}

#[test]
fn all_ways_to_declare_a_kernel_are_read() {
    let source = r#"
        extern "C" __global__ void plain(int a) {}
        extern "C" __global__ void __launch_bounds__(256) bound(int a) {}
        extern "C" __global__ void
        __launch_bounds__(pick(THREADS, 2), 4)
        split_over_lines (int a) {}
        extern "C" __global__ __launch_bounds__(THREADS, 2) void bound_first(const float* __restrict__ a) {}
    "#;
    let bound = |name: &str, most: Option<&str>| (name.to_string(), most.map(str::to_string));
    let expected = [
        bound("plain", None),
        bound("bound", Some("256")),
        bound("split_over_lines", Some("pick(THREADS, 2)")),
        bound("bound_first", Some("THREADS")),
    ];
    assert_eq!(names(source), expected);
}

#[test]
fn comments_hold_no_kernels() {
    let source =
        "// a __global__ void old(int a) {}\n/* __global__ void older(\n */ int x = 1; // __global__ void z(";
    assert_eq!(names(source), []);
}
