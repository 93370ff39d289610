// Registers two scans that are in memory: random points on the surfaces of a room, seen from two places.

#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include <coregister.hpp>

// Any struct with x, y and z will do.
struct Point {
    float x, y, z;
    float intensity;
};

// Points on the walls, the floor and the furniture of a room of 6 x 4 x 2.5 metres.
static std::vector<Point> scan_room(std::size_t count, unsigned seed) {
    const float boxes[][2][3] = {{{0.0F, 0.0F, 0.0F}, {6.0F, 4.0F, 2.5F}},
                                 {{1.0F, 1.0F, 0.0F}, {2.2F, 1.8F, 0.75F}},
                                 {{4.0F, 0.2F, 0.0F}, {5.5F, 0.9F, 1.9F}},
                                 {{3.0F, 2.5F, 0.0F}, {3.6F, 3.4F, 0.5F}}};
    const std::size_t shares[] = {0, 0, 0, 1, 2, 3};
    std::mt19937 random(seed);
    const auto between = [&](float low, float high) {
        return low + (high - low) * static_cast<float>(random()) / static_cast<float>(std::mt19937::max());
    };
    std::vector<Point> points;
    while (points.size() < count) {
        const auto &[low, high] = boxes[shares[random() % 6]];
        float place[3];
        for (int k = 0; k < 3; ++k) {
            place[k] = between(low[k], high[k]);
        }
        const auto axis = random() % 3;
        place[axis] = random() % 2 == 0 ? low[axis] : high[axis];
        points.push_back({place[0], place[1], place[2], 1.0F});
    }
    return points;
}

int main() {
    const auto target = scan_room(20000, 1);
    auto source = scan_room(20000, 2);
    for (auto &point : source) {  // seen by a sensor that is turned by a quarter and stands 2 metres along x
        point = {point.y, 2.0F - point.x, point.z, point.intensity};
    }

    const coregister::Engine engine;
    const coregister::Registration answer = engine.register_pair(source, target);

    std::printf("%s %s\n", answer.accepted ? "accepted" : "rejected", answer.reason.c_str());
    std::printf("confidence %.3f, overlap %.3f, on %s\n", answer.confidence, answer.overlap, answer.device.c_str());
    const auto sensor = answer.apply({0.0, 0.0, 0.0});
    std::printf("the source's origin in the target: %.3f %.3f %.3f\n", sensor[0], sensor[1], sensor[2]);
    const double error = std::hypot(sensor[0] - 2.0, sensor[1], sensor[2]);
    return answer.accepted && error < 0.02 ? 0 : 1;
}
