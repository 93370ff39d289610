// Blocks of a cluster, each of which runs on a thread of the operating system of its own.
#pragma once
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <vector>

namespace emulator {

/// Where the blocks of one cluster meet.
class Cluster {
public:
    explicit Cluster(unsigned size) : statics_(size) {}

    unsigned size() const { return static_cast<unsigned>(statics_.size()); }

    /// Tells where the static shared memory of a block lies: at a fixed distance from this address, as that of all others
    /// does from theirs. It is known to them after they have met.
    void enter(unsigned rank, char* statics);

    /// What the block of this rank has where the one that has `own_statics` has `address`.
    char* in_block(char* address, const char* own_statics, unsigned rank) const {
        return statics_[rank] + (address - own_statics);
    }

    /// Waits for all blocks; false if one has ended before.
    bool meet();

    /// A block has ended.
    void leave();

    /// For the sanitizer: what orders the blocks. Two addresses take turns, as those of a block's barrier do.
    char* order() { return &order_[meetings_ % 2]; }

private:
    std::vector<char*> statics_;
    std::mutex mutex_;
    std::condition_variable all_are_here_;
    unsigned arrived_ = 0;
    unsigned meetings_ = 0;
    bool has_ended_ = false;
    char order_[2];
};

}  // namespace emulator
