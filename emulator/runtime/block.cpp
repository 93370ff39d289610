#include "block.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>

#include "fault.h"

namespace emulator {

__thread const BlockView* this_block = nullptr;
__thread ThreadView* this_thread = nullptr;
__thread Block* running_block = nullptr;

namespace {

unsigned lane_of(const Thread& thread) { return thread.rank % warp_lanes; }

unsigned bit(unsigned lane) { return 1u << lane; }

unsigned lowest_lane(unsigned lanes) { return __builtin_ctz(lanes); }

/// Calls `visit` with each lane of a set.
template <class Visit>
void for_each_lane(unsigned lanes, Visit visit) {
    for (; lanes != 0; lanes &= lanes - 1) visit(lowest_lane(lanes));
}

/// `__shared__` variables are static ones of a thread of the operating system. These lie, in a program that is not loaded
/// later, at the same distance from each other in all threads.
char* statics_of_this_thread() { return reinterpret_cast<char*>(&this_block); }

bool is_same(const char* a, const char* b) { return a == b || strcmp(a, b) == 0; }

bool is_same(const Site& a, const Site& b) {
    return a.line == b.line && is_same(a.function, b.function) && is_same(a.file, b.file);
}

/// Whether each lane has a result of its own, unlike in a vote or a reduction.
bool differs_among_lanes(WarpOperation operation) {
    return operation == WarpOperation::Shuffle || operation == WarpOperation::Match;
}

std::string describe(const uint3& index) {
    return std::to_string(index.x) + "," + std::to_string(index.y) + "," + std::to_string(index.z);
}

std::string describe(const Site& site) {
    const char* folder = strrchr(site.file, '/');
    const char* name = folder ? folder + 1 : site.file;
    return std::string(site.function) + " (" + name + ":" + std::to_string(site.line) + ")";
}

/// A thread that waits, and for what.
std::string describe(const Thread& thread, bool for_warp) {
    std::string text = "thread " + describe(thread.index) + " waits in " + describe(thread.waits_at);
    if (!for_warp) return text;
    char mask[32];
    snprintf(mask, sizeof mask, " with mask 0x%08x", thread.mask);
    return text + mask;
}

}  // namespace

// Turns

void Turns::begin(Order order, uint32_t seed, unsigned warps) {
    order_ = order;
    random_state_ = (seed + uint64_t{1}) * 0x9e3779b97f4a7c15u;
    warps_.resize(warps);
    lanes_.resize(warp_lanes);
    for (auto* turns : {&warps_, &lanes_}) {
        std::iota(turns->begin(), turns->end(), 0u);
        if (order == Order::Descending) std::reverse(turns->begin(), turns->end());
    }
}

const std::vector<unsigned>& Turns::warps() { return next(warps_); }

const std::vector<unsigned>& Turns::lanes() { return next(lanes_); }

const std::vector<unsigned>& Turns::next(std::vector<unsigned>& turns) {
    if (order_ != Order::Random) return turns;
    for (size_t i = turns.size(); i > 1; --i) {
        random_state_ ^= random_state_ << 13;
        random_state_ ^= random_state_ >> 7;
        random_state_ ^= random_state_ << 17;
        std::swap(turns[i - 1], turns[(random_state_ >> 32) % i]);
    }
    return turns;
}

// From the first thread to the last

std::string Block::run(const BlockRequest& request) {
    begin(request);
    run_threads();
    end();
    return failure_;
}

void Block::begin(const BlockRequest& request) {
    request_ = &request;
    failure_.clear();
    view_.index = {request.index[0], request.index[1], request.index[2]};
    view_.threads = dim3(request.threads[0], request.threads[1], request.threads[2]);
    view_.blocks = dim3(request.blocks[0], request.blocks[1], request.blocks[2]);
    view_.dynamic_shared = dynamic_shared_.prepare(request.shared_bytes);
    barrier_ = {};
    ended_threads_ = 0;
    sanitizer_scheduler_ = sanitizer::current_fiber();

    const dim3& size = view_.threads;
    unsigned count = size.x * size.y * size.z;
    unsigned warps = (count + warp_lanes - 1) / warp_lanes;
    turns_.begin(request.order, request.seed, warps);
    warps_.assign(warps, Warp{});
    threads_.assign(count, Thread{});
    for (unsigned rank = 0; rank < count; ++rank) {
        Thread& thread = threads_[rank];
        thread.index = {rank % size.x, rank / size.x % size.y, rank / (size.x * size.y)};
        thread.rank = rank;
        Warp& warp = warp_of(thread);
        warp.alive |= bit(lane_of(thread));
        warp.ready |= bit(lane_of(thread));
    }
    this_block = &view_;
    running_block = this;
    if (request.cluster != nullptr) request.cluster->enter(request.rank, statics_of_this_thread());
}

void Block::run_threads() {
    while (failure_.empty() && ended_threads_ < threads_.size()) {
        bool moved = false;
        for (unsigned warp : turns_.warps()) moved |= run_warp(warps_[warp]);
        if (!moved && failure_.empty()) failure_ = explain_deadlock();
    }
}

/// Runs a warp until all its lanes wait for other warps; returns whether any could run.
bool Block::run_warp(Warp& warp) {
    bool moved = false;
    while (warp.ready != 0) {
        moved = true;
        for (unsigned lane : turns_.lanes()) {
            if (!failure_.empty()) return moved;
            if (warp.ready & bit(lane)) resume(thread_at(warp, lane));
        }
    }
    return moved;
}

void Block::resume(Thread& thread) {
    warp_of(thread).ready &= ~bit(lane_of(thread));
    thread.waits_at = {};
    this_thread = &thread;
    if (thread.fiber == nullptr) {
        thread.fiber = take_fiber();
        thread.sanitizer_fiber = sanitizer::create_fiber();
        sanitizer::switch_in_order(thread.sanitizer_fiber);
    } else {
        sanitizer::switch_without_order(thread.sanitizer_fiber);
    }
    switch_context(scheduler_, thread.fiber->context);
    bool has_ended = !(warp_of(thread).alive & bit(lane_of(thread)));
    if (has_ended) give_back_fiber(thread);
}

void Block::end() {
    if (request_->cluster != nullptr) request_->cluster->leave();
    if (failure_.empty()) {
        if (!dynamic_shared_.is_slack_intact()) failure_ = "wrote past the end of its dynamic shared memory";
    } else {
        // The stacks of threads in the middle of the kernel are not to be gone on with.
        for (Thread& thread : threads_) {
            if (thread.fiber != nullptr) sanitizer::destroy_fiber(thread.sanitizer_fiber);
        }
        prepared_fibers_ = 0;
        idle_fibers_.clear();
    }
    this_block = nullptr;
    this_thread = nullptr;
    running_block = nullptr;
}

// Fibers

/// A fiber runs one thread after the other. That makes the usual kernel, which never waits, run on a single stack that
/// stays in the cache.
void Block::run_on_fiber() {
    for (;;) {
        Block& block = *running_block;
        const BlockRequest& request = *block.request_;
        request.kernel->call(request.arguments);
        block.end_thread();
        sanitizer::switch_without_order(block.sanitizer_scheduler_);
        switch_context(block.current().fiber->context, block.scheduler_);
    }
}

Fiber* Block::take_fiber() {
    if (idle_fibers_.empty()) return prepare_fiber();
    Fiber* fiber = idle_fibers_.back();
    idle_fibers_.pop_back();
    return fiber;
}

Fiber* Block::prepare_fiber() {
    fibers_.resize(most_threads);
    size_t number = prepared_fibers_++;
    if (number == known_stacks_.size()) known_stacks_.push_back(stacks_.prepare(number));
    const Stacks::Stack& stack = known_stacks_[number];
    prepare_context(fibers_[number].context, stack.start, stack.bytes, run_on_fiber);
    return &fibers_[number];
}

void Block::give_back_fiber(Thread& thread) {
    sanitizer::destroy_fiber(thread.sanitizer_fiber);
    // To the sanitizer two threads on one stack would be in a race for it.
    if (!sanitizer::active) idle_fibers_.push_back(thread.fiber);
    thread.fiber = nullptr;
}

/// Leaves the current thread, until somebody makes it ready.
void Block::suspend(Site site) {
    Thread& thread = current();
    thread.waits_at = site;
    sanitizer::switch_without_order(sanitizer_scheduler_);
    switch_context(thread.fiber->context, scheduler_);
}

void Block::end_thread() {
    Thread& thread = current();
    Warp& warp = warp_of(thread);
    if (barrier_.arrived > 0) {
        fail("barrier in divergent code: " + describe(*barrier_.first, false) + ", but thread " +
             describe(thread.index) + " ends without it");
    }
    ++ended_threads_;
    warp.alive &= ~bit(lane_of(thread));
    complete_those_left(warp);
    sanitizer::release(request_->finished);
}

void Block::fail(std::string reason) {
    failure_ = std::move(reason);
    leave_for_good();
}

void Block::leave_for_good() {
    sanitizer::switch_without_order(sanitizer_scheduler_);
    switch_context(current().fiber->context, scheduler_);
    abort();  // a block that failed is not gone on with
}

// Barriers

unsigned Block::meet_block(bool agrees, Site site) {
    expect_same_barrier(site);
    barrier_.agreeing += agrees;
    char* order = &barrier_.order[barrier_.completed % 2];
    sanitizer::release(order);
    if (++barrier_.arrived == threads_.size()) {
        release_block();
    } else {
        suspend(site);
    }
    sanitizer::acquire(order);
    return barrier_.agreed;
}

/// The last thread of the block to arrive waits for the other blocks.
void Block::meet_cluster(Site site) {
    expect_same_barrier(site);
    char* order = &barrier_.order[barrier_.completed % 2];
    sanitizer::release(order);
    if (++barrier_.arrived == threads_.size()) {
        if (Cluster* cluster = request_->cluster; cluster != nullptr) {
            sanitizer::acquire(order);
            char* of_cluster = cluster->order();
            sanitizer::release(of_cluster);
            if (!cluster->meet()) fail("a block of the cluster ends, but others are at " + describe(site));
            sanitizer::acquire(of_cluster);
            sanitizer::release(order);
        }
        release_block();
    } else {
        suspend(site);
    }
    sanitizer::acquire(order);
}

char* Block::in_block(char* address, unsigned rank, Site site) {
    if (rank >= cluster_size()) {
        fail("thread " + describe(current().index) + " calls " + describe(site) + " for block " + std::to_string(rank) +
             " of " + std::to_string(cluster_size()));
    }
    return request_->cluster == nullptr ? address : request_->cluster->in_block(address, statics_of_this_thread(), rank);
}

/// The manual allows a barrier in conditional code only if the condition is the same for all threads. A device may
/// forgive it, or hang; here it is always an error.
void Block::expect_same_barrier(Site site) {
    if (ended_threads_ > 0) {
        fail("barrier in divergent code: thread " + describe(current().index) + " is at " + describe(site) + ", but " +
             std::to_string(ended_threads_) + " threads have ended without it");
    }
    if (barrier_.arrived == 0) {
        barrier_.first = &current();
        barrier_.site = site;
    } else if (!is_same(barrier_.site, site)) {
        fail("barrier in divergent code: " + describe(*barrier_.first, false) + ", but thread " +
             describe(current().index) + " is at " + describe(site));
    }
}

/// All but the current thread, which was the last to arrive, wait; lets them go.
void Block::release_block() {
    barrier_.agreed = barrier_.agreeing;
    barrier_.agreeing = 0;
    barrier_.arrived = 0;
    ++barrier_.completed;
    for (Warp& warp : warps_) warp.ready = warp.alive;
    warp_of(current()).ready &= ~bit(lane_of(current()));
}

// Operations of a warp

uint64_t Block::meet_warp(WarpOperation operation, unsigned mask, uint64_t value, unsigned source, Site site) {
    Thread& thread = current();
    Warp& warp = warp_of(thread);
    unsigned own = bit(lane_of(thread));
    if (!(mask & own)) {
        fail("thread " + describe(thread.index) + " calls " + describe(site) + " with a mask that lacks its own lane");
    }
    thread.operation = operation;
    thread.mask = mask;
    thread.value = value;
    thread.source = source;
    warp.meeting |= own;

    // Of these operations, CUDA promises an order of memory for `__syncwarp` alone.
    bool orders_memory = operation == WarpOperation::Synchronize;
    auto& meeting = warp.masks[lowest_lane(mask)];
    char* order = &meeting.order[meeting.completed % 2];
    if (orders_memory) sanitizer::release(order);
    unsigned participants = mask & warp.alive;
    if (is_complete(warp, participants, thread)) {
        complete(warp, participants);
        warp.ready &= ~own;
    } else {
        suspend(site);
    }
    if (orders_memory) sanitizer::acquire(order);
    return thread.result;
}

/// Whether all lanes wait for the same as `example` does.
bool Block::is_complete(const Warp& warp, unsigned participants, const Thread& example) const {
    if ((warp.meeting & participants) != participants) return false;
    bool agree = true;
    for_each_lane(participants, [&](unsigned lane) {
        const Thread& thread = thread_at(warp, lane);
        agree &= thread.mask == example.mask && thread.operation == example.operation;
    });
    return agree;
}

void Block::complete(Warp& warp, unsigned participants) {
    const Thread& first = thread_at(warp, lowest_lane(participants));
    unsigned mask = first.mask;
    bool differs = differs_among_lanes(first.operation);
    uint64_t common = differs ? 0 : result_for(first, warp, participants);
    for_each_lane(participants, [&](unsigned lane) {
        Thread& thread = thread_at(warp, lane);
        thread.result = differs ? result_for(thread, warp, participants) : common;
    });
    warp.meeting &= ~participants;
    warp.ready |= participants;
    ++warp.masks[lowest_lane(mask)].completed;
}

/// A lane has ended: others may have waited for it only.
void Block::complete_those_left(Warp& warp) {
    for_each_lane(warp.meeting, [&](unsigned lane) {
        if (!(warp.meeting & bit(lane))) return;  // just completed, with an earlier lane
        const Thread& thread = thread_at(warp, lane);
        unsigned participants = thread.mask & warp.alive;
        if (is_complete(warp, participants, thread)) complete(warp, participants);
    });
}

uint64_t Block::result_for(const Thread& thread, const Warp& warp, unsigned participants) const {
    // Joins the values of all lanes; in 32 bits, as the device has these reductions for.
    auto reduce = [&](auto first, auto join) {
        for_each_lane(participants, [&](unsigned lane) {
            first = join(first, static_cast<decltype(first)>(thread_at(warp, lane).value));
        });
        return static_cast<uint64_t>(static_cast<uint32_t>(first));
    };
    switch (thread.operation) {
        case WarpOperation::Synchronize:
            return 0;
        case WarpOperation::Shuffle: {
            // CUDA leaves undefined what comes from a lane that does not take part: better something that is noticed.
            const uint64_t not_a_number = ~uint64_t{0};
            bool takes_part = participants & bit(thread.source);
            return takes_part ? thread_at(warp, thread.source).value : not_a_number;
        }
        case WarpOperation::Ballot: {
            uint64_t lanes = 0;
            for_each_lane(participants, [&](unsigned lane) { lanes |= thread_at(warp, lane).value ? bit(lane) : 0; });
            return lanes;
        }
        case WarpOperation::Match: {
            uint64_t lanes = 0;
            for_each_lane(participants, [&](unsigned lane) {
                lanes |= thread_at(warp, lane).value == thread.value ? bit(lane) : 0;
            });
            return lanes;
        }
        case WarpOperation::AddUnsigned:
            return reduce(0u, [](unsigned a, unsigned b) { return a + b; });
        case WarpOperation::MinimumUnsigned:
            return reduce(~0u, [](unsigned a, unsigned b) { return std::min(a, b); });
        case WarpOperation::MaximumUnsigned:
            return reduce(0u, [](unsigned a, unsigned b) { return std::max(a, b); });
        case WarpOperation::MinimumSigned:
            return reduce(INT32_MAX, [](int a, int b) { return std::min(a, b); });
        case WarpOperation::MaximumSigned:
            return reduce(INT32_MIN, [](int a, int b) { return std::max(a, b); });
        case WarpOperation::And:
            return reduce(~0u, [](unsigned a, unsigned b) { return a & b; });
        case WarpOperation::Or:
            return reduce(0u, [](unsigned a, unsigned b) { return a | b; });
        case WarpOperation::Xor:
            return reduce(0u, [](unsigned a, unsigned b) { return a ^ b; });
    }
    abort();
}

/// Names a thread that waits and, if there is one, another that waits for something else.
std::string Block::explain_deadlock() const {
    std::string first, other;
    for (const Warp& warp : warps_) {
        for_each_lane(warp.alive, [&](unsigned lane) {
            const Thread& thread = thread_at(warp, lane);
            std::string text = describe(thread, warp.meeting & bit(lane));
            auto after_index = [](const std::string& text) { return text.substr(text.find(" waits")); };
            if (first.empty()) {
                first = text;
            } else if (other.empty() && after_index(text) != after_index(first)) {
                other = text;
            }
        });
    }
    return "deadlock: " + first + (other.empty() ? " for lanes that wait for none" : ", " + other);
}

// What kernels call

void meet_cluster(Site site) { running_block->meet_cluster(site); }

unsigned cluster_rank() { return running_block->cluster_rank(); }

unsigned cluster_size() { return running_block->cluster_size(); }

char* in_block(char* address, unsigned rank, Site site) { return running_block->in_block(address, rank, site); }

unsigned meet_block(bool agrees, Site site) { return running_block->meet_block(agrees, site); }

uint64_t meet_warp(WarpOperation operation, unsigned mask, uint64_t value, unsigned source, Site site) {
    return running_block->meet_warp(operation, mask, value, source, site);
}

unsigned current_lane() { return lane_of(running_block->current()); }

void require_shuffle_width(int width, Site site) {
    bool is_allowed = width >= 1 && width <= 32 && (width & (width - 1)) == 0;
    if (!is_allowed) {
        running_block->fail("thread " + describe(running_block->current().index) + " calls " + describe(site) +
                            " with a width of " + std::to_string(width) + ", which is no power of two up to 32");
    }
}

/// CUDA lets an atomic between two fences order what lies around them. The sanitizer knows no fences; that each fence
/// orders against all former ones is more order than there is, so it misses some races and reports no false ones.
void order_by_fence() {
    static char all_fences;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    sanitizer::acquire(&all_fences);
    sanitizer::release(&all_fences);
}

}  // namespace emulator

// What Rust calls

extern "C" {

/// Runs a block. If it could not end, writes why into `reason` and returns false.
bool emulator_run_block(const emulator::BlockRequest* request, char* reason, size_t capacity) {
    // On the heap, where the sanitizer forgets the orders told for an address when it is freed.
    static thread_local auto block = std::make_unique<emulator::Block>();
    emulator::report_faults();
    std::string failure = block->run(*request);
    snprintf(reason, capacity, "%s", failure.c_str());
    return failure.empty();
}

/// What blocks did before they released this address happened before what the calling thread does from now on.
void emulator_finish_launch(void* finished) { emulator::sanitizer::acquire(finished); }
}
