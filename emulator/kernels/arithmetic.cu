// Intrinsics, each thread on one pair of numbers.
#include "common.cuh"

extern "C" __global__ void test_bits(const unsigned* values, int* results) {
    unsigned value = values[2 * threadIdx.x], other = values[2 * threadIdx.x + 1];
    unsigned long long wide = static_cast<unsigned long long>(value) << 32 | other;
    int* mine = results + 14 * threadIdx.x;
    mine[0] = __popc(value);
    mine[1] = __popcll(wide);
    mine[2] = __ffs(value);
    mine[3] = __ffsll(wide);
    mine[4] = __clz(value);
    mine[5] = __clzll(wide);
    mine[6] = __brev(value);
    mine[7] = static_cast<int>(__brevll(wide) >> 32);
    mine[8] = __umulhi(value, other);
    mine[9] = static_cast<int>(__umul64hi(wide, wide));
    mine[10] = __float_as_int(__uint_as_float(value)) ^ __float_as_uint(__int_as_float(other));
    mine[11] = static_cast<int>(__double_as_longlong(__longlong_as_double(wide)) >> 32);
    mine[12] = min(value, other) ^ max(static_cast<int>(value), static_cast<int>(other));
    mine[13] = max(-1, value) ^ min(static_cast<int>(other), 7u);
}

extern "C" __global__ void test_floats(const float* values, float* results) {
    float a = values[2 * threadIdx.x], b = values[2 * threadIdx.x + 1];
    float* mine = results + 26 * threadIdx.x;
    mine[0] = a * b + a;  // two roundings
    mine[1] = fmaf(a, b, a);
    mine[2] = __fmaf_rn(a, b, a);
    mine[3] = __fadd_rn(a, b);
    mine[4] = __fsub_rn(a, b);
    mine[5] = __fmul_rn(a, b);
    mine[6] = __fdiv_rn(a, b);
    mine[7] = __fsqrt_rn(a);
    mine[8] = rsqrtf(a);
    sincosf(a, &mine[9], &mine[10]);
    mine[11] = sinf(b) + cosf(b);
    mine[12] = atan2f(a, b);
    mine[13] = sqrtf(a) + expf(b);
    mine[14] = logf(a) + log1pf(b);
    mine[15] = floorf(10.0f * a) + ceilf(10.0f * b) + rintf(10.0f * a);
    mine[16] = fabsf(a - b) + copysignf(a, -b);
    mine[17] = fminf(a, b) - fmaxf(a, b);
    mine[18] = min(a, b) - max(a, NAN);
    mine[19] = isfinite(a) && !isfinite(INFINITY) && isnan(NAN) && !isnan(b) ? 1.0f : 0.0f;
    mine[20] = static_cast<float>(fma(static_cast<double>(a), static_cast<double>(b), M_PI));
    mine[21] = static_cast<float>(min(a, 0.25) + max(0.25, b));
    mine[22] = static_cast<float>(__float2int_rn(10.0f * a) + __float2int_rz(1e20f) % 10 + __float2int_rd(NAN));
    float4 four = make_float4(a, b, a, b);
    float3 three = make_float3(four.x, four.y, 1.0f);
    float2 two = make_float2(three.z, three.x);
    double3 wide = make_double3(two.x, two.y, b);
    mine[23] = static_cast<float>(wide.x + wide.y + wide.z);
    mine[24] = static_cast<float>(make_uint3(1, 2, 3).z + make_int4(1, 2, 3, 4).w);
    mine[25] = static_cast<float>(sizeof(float4) + alignof(float4) + alignof(float3) + alignof(int2) + alignof(double2));
}
