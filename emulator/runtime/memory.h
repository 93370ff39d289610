// Memory that ends at pages nobody may touch.
#pragma once
#include <cstddef>

namespace emulator {

constexpr size_t most_threads = 1024;
constexpr size_t most_shared_bytes = 227 * 1024;
constexpr size_t stack_bytes = 128 * 1024;

/// The stacks of the threads of a block, with a guard page below each.
class Stacks {
public:
    Stacks();
    ~Stacks();
    Stacks(const Stacks&) = delete;

    struct Stack {
        char* start;
        size_t bytes;
    };
    /// The stack of this number, below `most_threads`; to be called once for each, in ascending order.
    Stack prepare(size_t number);

    bool is_guard(const void* address) const;

private:
    char* start_;
};

/// The dynamic shared memory of a block, with a guard page behind it.
class DynamicShared {
public:
    DynamicShared();
    ~DynamicShared();
    DynamicShared(const DynamicShared&) = delete;

    /// Memory for the next block, filled with the bytes of a NaN.
    char* prepare(size_t bytes);

    /// Whether the bytes between the end of the memory and the guard page are as they were.
    bool is_slack_intact() const;

private:
    char* guard_;
    char* end_;
};

}  // namespace emulator
