#include "context.h"

#include <cstdint>

namespace emulator {

#ifdef EMULATOR_UCONTEXT

void prepare_context(Context& context, char* stack, size_t bytes, void (*body)()) {
    getcontext(&context.state);
    context.state.uc_stack.ss_sp = stack;
    context.state.uc_stack.ss_size = bytes;
    context.state.uc_link = nullptr;
    makecontext(&context.state, body, 0);
}

void switch_context(Context& from, Context& to) { swapcontext(&from.state, &to.state); }

#else

extern "C" void emulator_switch_stack(void** save_stack_pointer, void* next_stack_pointer);

// `swapcontext` asks the operating system for the signal mask, which takes longer than most of what a thread does
// between two barriers. This is the rest of it: the registers that a callee must preserve, and the stack.
asm(R"(
.text
.globl emulator_switch_stack
.hidden emulator_switch_stack
.type emulator_switch_stack, @function
emulator_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    # Not `ret`: the processor would expect to return to where it was called from.
    popq %rcx
    jmp *%rcx
.size emulator_switch_stack, . - emulator_switch_stack
)");

void prepare_context(Context& context, char* stack, size_t bytes, void (*body)()) {
    const int preserved_registers = 6;
    uintptr_t end = reinterpret_cast<uintptr_t>(stack + bytes) & ~uintptr_t{63};
    void** top = reinterpret_cast<void**>(end);
    *--top = nullptr;  // where `body` would return to: debuggers see the end of the stack here
    *--top = reinterpret_cast<void*>(body);
    for (int i = 0; i < preserved_registers; ++i) *--top = nullptr;
    context.stack_pointer = top;
}

void switch_context(Context& from, Context& to) { emulator_switch_stack(&from.stack_pointer, to.stack_pointer); }

#endif

}  // namespace emulator
