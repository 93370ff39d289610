// Runs one block of a launch on the calling thread of the operating system.
//
// Each thread of the block has a stack of its own and runs until it meets others: at a barrier of the block or in an
// operation of its warp. There it is left, and the next one goes on, in the order of the schedule.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "cluster.h"
#include "context.h"
#include "kernel.h"
#include "memory.h"
#include "sanitizer.h"
#include "threads.h"

namespace emulator {

enum class Order : uint32_t { Ascending, Descending, Random };

/// A block to run. The Rust side has the same structure (src/runtime.rs).
struct BlockRequest {
    const Kernel* kernel;
    void** arguments;
    size_t shared_bytes;
    uint32_t blocks[3];
    uint32_t threads[3];
    uint32_t index[3];
    Order order;
    uint32_t seed;
    /// The cluster that the block belongs to, and its number there; none for a block of its own.
    Cluster* cluster;
    uint32_t rank;
    /// An address that stands for the end of the launch: all that a block does happened before it.
    void* finished;
};

constexpr unsigned warp_lanes = 32;

/// The order in which warps, and lanes of a warp, get their turn.
class Turns {
public:
    void begin(Order order, uint32_t seed, unsigned warps);
    const std::vector<unsigned>& warps();
    const std::vector<unsigned>& lanes();

private:
    const std::vector<unsigned>& next(std::vector<unsigned>& turns);

    Order order_;
    uint64_t random_state_;
    std::vector<unsigned> warps_, lanes_;
};

/// Where the work on a stack was left.
struct Fiber {
    Context context;
};

struct Thread : ThreadView {
    unsigned rank;  // its number within the block
    Fiber* fiber;   // none before it starts and after it ends
    sanitizer::Fiber sanitizer_fiber;

    // Where it waits; no function while it runs.
    Site waits_at;
    // What it brought to the operation of its warp that it waits for, and what it gets.
    WarpOperation operation;
    unsigned mask;
    uint64_t value;
    unsigned source;
    uint64_t result;
};

struct Warp {
    // Sets of lanes.
    unsigned alive;
    unsigned ready;
    unsigned meeting;  // waiting for an operation of the warp

    // For the sanitizer: what orders the lanes of a mask stands at its lowest lane. Two addresses take turns, so that a
    // lane that leaves late does not see what the next meeting brings.
    struct {
        unsigned completed;
        char order[2];
    } masks[warp_lanes];
};

class Block {
public:
    /// Runs the block; returns why it could not end, or nothing.
    std::string run(const BlockRequest& request);

    // Called by the kernel, through threads.h.
    unsigned meet_block(bool agrees, Site site);
    void meet_cluster(Site site);
    char* in_block(char* address, unsigned rank, Site site);
    uint64_t meet_warp(WarpOperation operation, unsigned mask, uint64_t value, unsigned source, Site site);
    /// Ends the block with this error.
    [[noreturn]] void fail(std::string reason);

    Thread& current() { return *static_cast<Thread*>(this_thread); }
    const Kernel& kernel() const { return *request_->kernel; }
    const BlockView& view() const { return view_; }
    unsigned cluster_rank() const { return request_->rank; }
    unsigned cluster_size() const { return request_->cluster == nullptr ? 1 : request_->cluster->size(); }
    const Stacks& stacks() const { return stacks_; }

private:
    void begin(const BlockRequest& request);
    void run_threads();
    bool run_warp(Warp& warp);
    void resume(Thread& thread);
    void end_thread();
    void end();

    static void run_on_fiber();
    Fiber* take_fiber();
    Fiber* prepare_fiber();
    void give_back_fiber(Thread& thread);
    void suspend(Site site);
    [[noreturn]] void leave_for_good();

    void expect_same_barrier(Site site);
    void release_block();
    bool is_complete(const Warp& warp, unsigned participants, const Thread& example) const;
    void complete(Warp& warp, unsigned participants);
    void complete_those_left(Warp& warp);
    uint64_t result_for(const Thread& thread, const Warp& warp, unsigned participants) const;

    Warp& warp_of(const Thread& thread) { return warps_[thread.rank / warp_lanes]; }
    Thread& thread_at(const Warp& warp, unsigned lane) {
        return threads_[(&warp - warps_.data()) * warp_lanes + lane];
    }
    const Thread& thread_at(const Warp& warp, unsigned lane) const {
        return threads_[(&warp - warps_.data()) * warp_lanes + lane];
    }
    std::string explain_deadlock() const;

    BlockView view_;
    const BlockRequest* request_;
    Turns turns_;
    std::vector<Thread> threads_;
    std::vector<Warp> warps_;
    size_t ended_threads_;
    std::string failure_;

    struct {
        size_t arrived;
        unsigned agreeing;
        Site site;
        const Thread* first;
        // Of the last barrier that was complete: those who leave it late read it here.
        unsigned agreed;
        unsigned completed;
        char order[2];
    } barrier_;

    Stacks stacks_;
    DynamicShared dynamic_shared_;
    std::vector<Stacks::Stack> known_stacks_;
    std::vector<Fiber> fibers_;
    size_t prepared_fibers_ = 0;
    std::vector<Fiber*> idle_fibers_;
    Context scheduler_;
    sanitizer::Fiber sanitizer_scheduler_;
};

/// The block that this thread of the operating system runs, if any.
extern __thread Block* running_block;

}  // namespace emulator
