#include "memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace emulator {

namespace {

constexpr size_t page_bytes = 64 * 1024;  // the largest page that Linux uses on the processors at hand
constexpr size_t stack_stride = page_bytes + stack_bytes;
constexpr size_t alignment = 16;
constexpr unsigned char poison = 0xff;

size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

char* map(size_t bytes) {
    // Only pages that are touched become memory.
    void* start =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) {
        perror("the emulator could not get memory");
        abort();
    }
    return static_cast<char*>(start);
}

}  // namespace

Stacks::Stacks() : start_(map(most_threads * stack_stride)) {}

Stacks::~Stacks() { munmap(start_, most_threads * stack_stride); }

Stacks::Stack Stacks::prepare(size_t number) {
    char* guard = start_ + number * stack_stride;
    // Without the guard all works but the message about a kernel that needs too much stack, so a failure is no matter:
    // there is one when the process has too many mappings.
    mprotect(guard, page_bytes, PROT_NONE);
    // Stacks that all end at the same place of a page would compete for the same lines of the cache.
    const size_t line = 64, lines = 32;
    return {guard + page_bytes, stack_bytes - number % lines * line};
}

bool Stacks::is_guard(const void* address) const {
    ptrdiff_t offset = static_cast<const char*>(address) - start_;
    if (offset < 0 || static_cast<size_t>(offset) >= most_threads * stack_stride) return false;
    return static_cast<size_t>(offset) % stack_stride < page_bytes;
}

constexpr size_t shared_capacity = (most_shared_bytes + page_bytes - 1) / page_bytes * page_bytes;

DynamicShared::DynamicShared() {
    char* start = map(shared_capacity + page_bytes);
    guard_ = start + shared_capacity;
    end_ = guard_;
    mprotect(guard_, page_bytes, PROT_NONE);
}

DynamicShared::~DynamicShared() { munmap(guard_ - shared_capacity, shared_capacity + page_bytes); }

char* DynamicShared::prepare(size_t bytes) {
    char* start = guard_ - round_up(bytes, alignment);
    end_ = start + bytes;
    memset(start, poison, guard_ - start);
    return start;
}

bool DynamicShared::is_slack_intact() const {
    return std::all_of(end_, guard_, [](char byte) { return static_cast<unsigned char>(byte) == poison; });
}

}  // namespace emulator
