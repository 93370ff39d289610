#include "cluster.h"

namespace emulator {

void Cluster::enter(unsigned rank, char* statics) {
    std::lock_guard lock(mutex_);
    statics_[rank] = statics;
}

bool Cluster::meet() {
    std::unique_lock lock(mutex_);
    unsigned meeting = meetings_;
    if (++arrived_ == size()) {
        arrived_ = 0;
        ++meetings_;
        all_are_here_.notify_all();
    }
    all_are_here_.wait(lock, [&] { return meetings_ != meeting || has_ended_; });
    return meetings_ != meeting;
}

void Cluster::leave() {
    std::lock_guard lock(mutex_);
    has_ended_ = true;
    all_are_here_.notify_all();
}

}  // namespace emulator

extern "C" {

void* emulator_create_cluster(unsigned size) { return new emulator::Cluster(size); }

void emulator_destroy_cluster(void* cluster) { delete static_cast<emulator::Cluster*>(cluster); }
}
