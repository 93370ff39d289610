// Switching between stacks.
#pragma once
#include <cstddef>

#if !defined(__x86_64__) && !defined(EMULATOR_UCONTEXT)
#define EMULATOR_UCONTEXT
#endif
#ifdef EMULATOR_UCONTEXT
#include <ucontext.h>
#endif

namespace emulator {

/// A place from which execution can go on.
struct Context {
#ifdef EMULATOR_UCONTEXT
    ucontext_t state;
#else
    // The registers that a function must keep lie on the stack, below the address to go on at.
    void* stack_pointer;
#endif
};

/// Lets `context` start `body`, which must never return, on the given stack.
void prepare_context(Context& context, char* stack, size_t bytes, void (*body)());

/// Goes on at `to`; returns when somebody switches back to `from`.
void switch_context(Context& from, Context& to);

}  // namespace emulator
