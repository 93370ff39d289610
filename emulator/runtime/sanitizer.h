// What ThreadSanitizer is told about the emulated threads. Without it these functions do nothing.
//
// The runtime itself is compiled without the sanitizer, which therefore sees the accesses of kernels only, and between
// them no other order than the one told here.
#pragma once

#ifdef EMULATOR_TSAN
extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}
#endif

namespace emulator::sanitizer {

#ifdef EMULATOR_TSAN

constexpr bool active = true;
using Fiber = void*;

inline Fiber current_fiber() { return __tsan_get_current_fiber(); }
inline Fiber create_fiber() { return __tsan_create_fiber(0); }
inline void destroy_fiber(Fiber fiber) { __tsan_destroy_fiber(fiber); }

/// What happened before the switch happened before what `fiber` does.
inline void switch_in_order(Fiber fiber) { __tsan_switch_to_fiber(fiber, 0); }

/// The switch says nothing about order.
inline void switch_without_order(Fiber fiber) { __tsan_switch_to_fiber(fiber, 1); }

/// What happened before a `release` of an address happened before what follows an `acquire` of it.
inline void release(void* address) { __tsan_release(address); }
inline void acquire(void* address) { __tsan_acquire(address); }

#else

constexpr bool active = false;
struct Fiber {};

inline Fiber current_fiber() { return {}; }
inline Fiber create_fiber() { return {}; }
inline void destroy_fiber(Fiber) {}
inline void switch_in_order(Fiber) {}
inline void switch_without_order(Fiber) {}
inline void release(void*) {}
inline void acquire(void*) {}

#endif

}  // namespace emulator::sanitizer
