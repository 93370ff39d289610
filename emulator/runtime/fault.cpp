#include "fault.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>

#include "block.h"

namespace emulator {

namespace {

struct sigaction former_segmentation_handler, former_bus_handler;

void write_report(Block& block, const void* address) {
    char text[512];
    const uint3& index = block.view().index;
    const uint3& thread = block.current().index;
    int length = snprintf(text, sizeof text, "kernel %s, block %u,%u,%u, thread %u,%u,%u ", block.kernel().name, index.x,
                          index.y, index.z, thread.x, thread.y, thread.z);
    if (block.stacks().is_guard(address)) {
        length += snprintf(text + length, sizeof text - length, "needs more than %zu KiB of stack\n", stack_bytes / 1024);
    } else {
        length += snprintf(text + length, sizeof text - length, "touched memory outside of its buffers at %p\n", address);
    }
    if (write(STDERR_FILENO, text, length) < 0) return;  // nothing is left to be told to
}

/// Only threads that run a kernel are the emulator's business.
bool is_in_kernel() { return running_block != nullptr && this_thread != nullptr; }

void handle(int signal, siginfo_t* information, void*) {
    if (!is_in_kernel()) {
        // The access is tried again, and meets the handler that was there before.
        sigaction(signal, signal == SIGBUS ? &former_bus_handler : &former_segmentation_handler, nullptr);
        return;
    }
    static std::atomic_flag is_reported = ATOMIC_FLAG_INIT;
    while (is_reported.test_and_set()) pause();  // another thread reports, and ends the process
    write_report(*running_block, information->si_addr);
    abort();
}

void install_handlers() {
    struct sigaction action = {};
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &former_segmentation_handler);
    sigaction(SIGBUS, &action, &former_bus_handler);
}

/// A handler needs a stack of its own: that of the thread may be what has run out.
class HandlerStack {
public:
    HandlerStack() {
        stack_t present = {};
        sigaltstack(nullptr, &present);
        if (!(present.ss_flags & SS_DISABLE)) return;
        const size_t bytes = 64 * 1024;
        memory_ = std::make_unique<char[]>(bytes);
        stack_t own = {};
        own.ss_sp = memory_.get();
        own.ss_size = bytes;
        sigaltstack(&own, nullptr);
    }

    ~HandlerStack() {
        if (!memory_) return;
        stack_t none = {};
        none.ss_flags = SS_DISABLE;
        sigaltstack(&none, nullptr);
    }

private:
    std::unique_ptr<char[]> memory_;
};

}  // namespace

void report_faults() {
    static std::once_flag once;
    std::call_once(once, install_handlers);
    static thread_local HandlerStack stack;
}

}  // namespace emulator
