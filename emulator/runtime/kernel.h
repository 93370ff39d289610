// Kernels by name, and how one is called.
#pragma once
#include <cstddef>
#include <type_traits>
#include <utility>

namespace emulator {

/// A kernel as the build found it in a file.
struct Kernel {
    const char* name;
    void (*call)(void** arguments);
    size_t arguments;
    /// The first number of its `__launch_bounds__`, or 1024.
    unsigned most_threads;
};

/// Kernels of one file.
struct KernelFile {
    const Kernel* kernels;
    size_t count;
};

template <class... Arguments, size_t... Index>
inline void call_with(void (*kernel)(Arguments...), void** arguments, std::index_sequence<Index...>) {
    kernel(*static_cast<std::remove_cv_t<Arguments>*>(arguments[Index])...);
}

/// Calls a kernel with the values that the pointers point at, as `cuLaunchKernel` does.
template <class... Arguments>
inline void call_with(void (*kernel)(Arguments...), void** arguments) {
    call_with(kernel, arguments, std::index_sequence_for<Arguments...>{});
}

template <class... Arguments>
constexpr size_t count_arguments(void (*)(Arguments...)) {
    return sizeof...(Arguments);
}

}  // namespace emulator

#define EMULATOR_KERNEL(name, most_threads)                                              \
    {                                                                                    \
        #name, [](void** arguments) { emulator::call_with(name, arguments); },           \
            emulator::count_arguments(name), static_cast<unsigned>(most_threads)         \
    }
