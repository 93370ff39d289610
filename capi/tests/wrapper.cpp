// What coregister.hpp promises: views of all kinds of containers, errors as exceptions, handles that move.
// Compiled and run by capi/check.sh.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <list>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#if __has_include(<eigen3/Eigen/Geometry>)
#include <eigen3/Eigen/Geometry>
#define WITH_EIGEN
#endif

#include <coregister.hpp>

#define CHECK(condition)                                                              \
    do {                                                                              \
        if (!(condition)) {                                                           \
            std::fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
            std::exit(1);                                                             \
        }                                                                             \
    } while (false)

// As Eigen's fixed vectors: elements by index, no member x.
struct IndexedPoint {
    double values[3];
    const double &operator[](int k) const { return values[k]; }
    double x() const { return values[0]; }
};

// As pcl::PointXYZI: the members come from a base class.
struct Base {
    float padding, x, y, z;
};

struct Derived : Base {
    float intensity;
};

struct Labelled {
    int label;
    double z, y, x;
};

// As sensor_msgs::msg::PointCloud2.
struct PointField {
    std::string name;
    std::uint32_t offset;
    std::uint8_t datatype;
    std::uint32_t count;
};

struct PointCloud2 {
    std::uint32_t height = 1, width = 0;
    std::vector<PointField> fields;
    bool is_bigendian = false;
    std::uint32_t point_step = 0, row_step = 0;
    std::vector<std::uint8_t> data;
};

// As Eigen::Matrix4f.
struct Matrix4f {
    float values[4][4] = {};
    float &operator()(int row, int column) { return values[row][column]; }
};

using Points = std::vector<std::array<double, 3>>;
static const Points POINTS = {{1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}, {7.0, 8.0, 9.0}};

static void check_same(const coregister::Cloud &cloud) {
    CHECK(cloud.size() == POINTS.size());
    const Points points = cloud.points();
    for (std::size_t i = 0; i < POINTS.size(); ++i) {
        for (std::size_t k = 0; k < 3; ++k) {
            CHECK(std::abs(points[i][k] - POINTS[i][k]) < 1e-6);
        }
    }
}

template <typename Work>
static void check_throws(coregister_status status, const std::string &word, const Work &work) {
    try {
        work();
    } catch (const coregister::Error &error) {
        CHECK(error.status() == status);
        if (std::string(error.what()).find(word) == std::string::npos) {
            std::fprintf(stderr, "\"%s\" does not speak of \"%s\"\n", error.what(), word.c_str());
            std::exit(1);
        }
        return;
    }
    std::fprintf(stderr, "no error that speaks of \"%s\"\n", word.c_str());
    std::exit(1);
}

static void views() {
    using coregister::Cloud;
    check_same(Cloud(POINTS));
    std::vector<std::array<float, 3>> floats;
    std::vector<Labelled> labelled;
    std::vector<IndexedPoint> indexed;
    std::vector<float> raw;
    std::vector<Derived> derived;
    for (const auto &[x, y, z] : POINTS) {
        floats.push_back({static_cast<float>(x), static_cast<float>(y), static_cast<float>(z)});
        labelled.push_back({7, z, y, x});
        indexed.push_back({{x, y, z}});
        raw.insert(raw.end(), {floats.back()[0], floats.back()[1], floats.back()[2], 0.5F});
        derived.push_back({{0.5F, floats.back()[0], floats.back()[1], floats.back()[2]}, 0.5F});
    }
    check_same(Cloud(floats));
    check_same(Cloud(labelled));
    check_same(Cloud(indexed));
    check_same(Cloud(derived));
    check_same(Cloud(coregister::View(raw.data(), 3, 4 * sizeof(float))));
    const std::list<Labelled> list(labelled.begin(), labelled.end());
    check_same(Cloud(list.begin(), list.end()));
    CHECK(Cloud(std::vector<Labelled>()).points().empty());
    static_assert(!std::is_constructible_v<coregister::View, std::vector<int>>, "numbers are no points");
}

#ifdef WITH_EIGEN
static void eigen() {
    std::vector<Eigen::Vector3d> vectors;
    Eigen::Matrix3Xf columns(3, 3);
    Eigen::MatrixX3d rows(3, 3);
    for (int i = 0; i < 3; ++i) {
        vectors.emplace_back(POINTS[static_cast<std::size_t>(i)].data());
        columns.col(i) = vectors.back().cast<float>();
        rows.row(i) = vectors.back();
    }
    check_same(coregister::Cloud(vectors));
    check_same(coregister::Cloud(coregister::View(columns.data(), 3)));
    const std::size_t size = sizeof(double);
    check_same(coregister::Cloud(coregister::View(
        coregister_points{rows.data(), 3, size, 0, 3 * size, 6 * size, COREGISTER_SCALAR_FLOAT64, 0})));
    coregister::Registration answer;
    answer.target_from_source = {0, -1, 0, 1, 1, 0, 0, 2, 0, 0, 1, 3, 0, 0, 0, 1};
    const auto isometry = answer.matrix<Eigen::Isometry3d>();
    const Eigen::Map<const Eigen::Matrix<double, 4, 4, Eigen::RowMajor>> map(answer.target_from_source.data());
    CHECK(isometry.matrix() == map && answer.matrix<Eigen::Matrix4f>() == map.cast<float>());
    CHECK(isometry * Eigen::Vector3d::UnitX() == Eigen::Vector3d(1, 3, 3));
}
#endif

static PointCloud2 message() {
    PointCloud2 message;
    message.width = 3;
    message.point_step = 17;
    message.row_step = 51;
    message.fields = {{"intensity", 12, 7, 1}, {"x", 1, 7, 1}, {"y", 5, 7, 1}, {"z", 13, 7, 1}};
    message.data.assign(51, 0xff);
    for (std::size_t i = 0; i < 3; ++i) {
        const std::size_t offsets[] = {1, 5, 13};
        for (std::size_t k = 0; k < 3; ++k) {
            const auto value = static_cast<float>(POINTS[i][k]);
            std::memcpy(&message.data[17 * i + offsets[k]], &value, sizeof value);
        }
    }
    return message;
}

static void point_clouds_of_ros() {
    using coregister::view_point_cloud2;
    check_same(coregister::Cloud(view_point_cloud2(message())));
    PointCloud2 big = message();
    big.is_bigendian = true;
    for (std::size_t i = 0; i < 3; ++i) {
        for (const std::ptrdiff_t offset : {1, 5, 13}) {
            const auto start = big.data.begin() + static_cast<std::ptrdiff_t>(17 * i) + offset;
            std::reverse(start, start + 4);
        }
    }
    check_same(coregister::Cloud(view_point_cloud2(big)));
    const auto refused = [](const char *word, void (*spoil)(PointCloud2 &)) {
        PointCloud2 wrong = message();
        spoil(wrong);
        check_throws(COREGISTER_STATUS_INVALID_ARGUMENT, word, [&] { view_point_cloud2(wrong); });
    };
    refused("no field z", [](PointCloud2 &m) { m.fields.pop_back(); });
    refused("of one type", [](PointCloud2 &m) { m.fields[1].datatype = 8; });
    refused("shorter", [](PointCloud2 &m) { m.data.pop_back(); });
    refused("padded", [](PointCloud2 &m) { m.height = 3, m.width = 1, m.row_step = 20; });
    refused("beyond point_step", [](PointCloud2 &m) { m.fields[3].offset = 14; });
}

static void errors() {
    using coregister::Config;
    const coregister::Engine engine(Config().device(COREGISTER_DEVICE_CPU).threads(1));
    check_throws(COREGISTER_STATUS_CLOUD, "the source cloud", [&] { engine.register_pair(POINTS, POINTS); });
    check_throws(COREGISTER_STATUS_FILE, "no such.ply", [] { coregister::Cloud::read("no such.ply"); });
    check_throws(COREGISTER_STATUS_CONFIG, "voxel", [] { coregister::Engine(Config().voxel(-1.0)); });
    check_throws(COREGISTER_STATUS_INVALID_ARGUMENT, "-7", [] { Config().device(-7); });
    check_throws(COREGISTER_STATUS_INVALID_ARGUMENT, "overlap",
                 [] { coregister::Cloud(coregister::View(POINTS[0].data(), 3, sizeof(double))); });
}

// A staircase of blocks: nothing about it is symmetric.
static std::vector<std::array<float, 3>> blocks() {
    std::vector<std::array<float, 3>> points;
    const float sizes[][4] = {
        {0.0F, 0.0F, 3.0F, 0.2F}, {1.0F, 0.5F, 0.8F, 1.3F}, {2.2F, 1.7F, 0.6F, 0.7F}, {0.2F, 2.1F, 0.5F, 2.0F}};
    const float step = 0.05F;
    for (const auto &[left, front, edge, height] : sizes) {
        for (float a = 0; a < edge; a += step) {
            for (float b = 0; b < edge; b += step) {
                points.push_back({left + a, front + b, height});
            }
            for (float c = 0; c < height; c += step) {
                points.push_back({left + a, front, c});
                points.push_back({left + a, front + edge, c});
                points.push_back({left, front + a, c});
                points.push_back({left + edge, front + a, c});
            }
        }
    }
    return points;
}

static void registrations() {
    const auto target = blocks();
    auto source = target;
    for (auto &point : source) {
        point = {point[1], 2.0F - point[0], point[2] - 1.0F};
    }
    source.push_back({std::numeric_limits<float>::quiet_NaN(), 0.0F, 0.0F});
    coregister::Engine first(coregister::Config().device(COREGISTER_DEVICE_CPU).seed(5).threads(2).max_gpu_memory(0));
    const coregister::Engine engine = std::move(first);
    const auto check_right = [](const coregister::Registration &answer) {
        CHECK(answer.accepted && answer.reason.empty());
        const auto [x, y, z] = answer.apply({0.0, 0.0, 0.0});
        CHECK(std::abs(x - 2.0) < 0.02 && std::abs(y) < 0.02 && std::abs(z - 1.0) < 0.02);
        CHECK(answer.seed == 5 && answer.device == "cpu" && !answer.stage_seconds.empty());
        CHECK(answer.warnings.size() == 1 && answer.warnings[0].find("ignoring 1 of") == 0);
        CHECK(std::abs(answer.information_centre[0]) < 10.0 && answer.information_centre[0] != 0.0);
        CHECK(answer.information[0] > 0.0 && answer.inliers > 0 && answer.overlap > 0.5);
        Matrix4f matrix = answer.matrix<Matrix4f>();
        CHECK(std::abs(matrix(0, 3) - 2.0F) < 0.02F && std::abs(matrix(0, 1) + 1.0F) < 0.02F && matrix(3, 3) == 1.0F);
    };
    check_right(engine.register_pair(source, target));
    const coregister::Cloud source_cloud(source);
    const coregister::Cloud target_cloud(target);
    check_right(engine.register_pair(source_cloud, target_cloud));
    const coregister::PreparedCloud prepared_source = engine.prepare(source_cloud);
    const coregister::PreparedCloud prepared_target = engine.prepare(target_cloud);
    CHECK(source_cloud.size() == source.size() && prepared_source.size() == source.size() - 1);
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) {
        threads.emplace_back([&] { check_right(engine.register_pair(prepared_source, prepared_target)); });
    }
    for (auto &thread : threads) {
        thread.join();
    }
}

int main() {
    views();
#ifdef WITH_EIGEN
    eigen();
#endif
    point_clouds_of_ros();
    errors();
    registrations();
    CHECK(!coregister::version().empty());
    std::puts("the C++ classes keep their promises");
    return 0;
}
