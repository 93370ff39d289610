// CUDA's intrinsics for numbers. The functions of the C library (`sqrtf`, `sincosf`, `fmaf`) are used as they are.
#pragma once

template <class T>
inline T __ldg(const T* address) { return *address; }

// Bits.

inline int __popc(unsigned value) { return __builtin_popcount(value); }
inline int __popcll(unsigned long long value) { return __builtin_popcountll(value); }
inline int __ffs(int value) { return __builtin_ffs(value); }
inline int __ffsll(long long value) { return __builtin_ffsll(value); }
inline int __clz(int value) { return value == 0 ? 32 : __builtin_clz(value); }
inline int __clzll(long long value) { return value == 0 ? 64 : __builtin_clzll(value); }

inline unsigned __brev(unsigned value) {
    value = (value >> 1 & 0x55555555u) | (value & 0x55555555u) << 1;
    value = (value >> 2 & 0x33333333u) | (value & 0x33333333u) << 2;
    value = (value >> 4 & 0x0f0f0f0fu) | (value & 0x0f0f0f0fu) << 4;
    return __builtin_bswap32(value);
}

inline unsigned long long __brevll(unsigned long long value) {
    unsigned low = static_cast<unsigned>(value), high = static_cast<unsigned>(value >> 32);
    return static_cast<unsigned long long>(__brev(low)) << 32 | __brev(high);
}

inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned long long>(a) * b >> 32; }
inline int __mulhi(int a, int b) { return static_cast<int>(static_cast<long long>(a) * b >> 32); }

inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return static_cast<unsigned __int128>(a) * b >> 64;
}

// The same bits as another type.

namespace emulator {

template <class To, class From>
inline To reinterpret(From value) {
    static_assert(sizeof(To) == sizeof(From));
    To result;
    memcpy(&result, &value, sizeof(To));
    return result;
}

}  // namespace emulator

inline unsigned __float_as_uint(float value) { return emulator::reinterpret<unsigned>(value); }
inline int __float_as_int(float value) { return emulator::reinterpret<int>(value); }
inline float __uint_as_float(unsigned value) { return emulator::reinterpret<float>(value); }
inline float __int_as_float(int value) { return emulator::reinterpret<float>(value); }
inline long long __double_as_longlong(double value) { return emulator::reinterpret<long long>(value); }
inline double __longlong_as_double(long long value) { return emulator::reinterpret<double>(value); }

// Arithmetic that the compiler may not contract. It never does here (-ffp-contract=off).

inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __dsqrt_rn(double a) { return sqrt(a); }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }

// A device rounds this one differently, within two units in the last place.
inline float rsqrtf(float value) { return 1.0f / sqrtf(value); }
inline double rsqrt(double value) { return 1.0 / sqrt(value); }

// Conversions. Unlike a cast in C++, they are defined for every number: out of range saturates, NaN gives zero.

namespace emulator {

template <class Integer>
inline Integer saturate(float whole) {
    using Limits = std::numeric_limits<Integer>;
    if (isnan(whole)) return 0;
    // The float nearest to the largest integer lies above it.
    if (whole >= static_cast<float>(Limits::max())) return Limits::max();
    if (whole <= static_cast<float>(Limits::min())) return Limits::min();
    return static_cast<Integer>(whole);
}

}  // namespace emulator

inline int __float2int_rn(float value) { return emulator::saturate<int>(rintf(value)); }
inline int __float2int_rz(float value) { return emulator::saturate<int>(truncf(value)); }
inline int __float2int_rd(float value) { return emulator::saturate<int>(floorf(value)); }
inline int __float2int_ru(float value) { return emulator::saturate<int>(ceilf(value)); }
inline unsigned __float2uint_rn(float value) { return emulator::saturate<unsigned>(rintf(value)); }
inline unsigned __float2uint_rz(float value) { return emulator::saturate<unsigned>(truncf(value)); }
inline unsigned __float2uint_rd(float value) { return emulator::saturate<unsigned>(floorf(value)); }
inline unsigned __float2uint_ru(float value) { return emulator::saturate<unsigned>(ceilf(value)); }
inline float __int2float_rn(int value) { return static_cast<float>(value); }
inline float __uint2float_rn(unsigned value) { return static_cast<float>(value); }

// Minimum and maximum, with CUDA's overloads: of a signed and an unsigned number both are taken as unsigned, of a float
// and a double both as double, and a NaN loses against a number.

#define EMULATOR_INTEGER_EXTREMES(Result, Left, Right)                                                            \
    inline Result min(Left a, Right b) {                                                                           \
        return static_cast<Result>(a) < static_cast<Result>(b) ? static_cast<Result>(a) : static_cast<Result>(b); \
    }                                                                                                              \
    inline Result max(Left a, Right b) {                                                                           \
        return static_cast<Result>(a) < static_cast<Result>(b) ? static_cast<Result>(b) : static_cast<Result>(a); \
    }
#define EMULATOR_MIXED_EXTREMES(Signed, Unsigned)           \
    EMULATOR_INTEGER_EXTREMES(Signed, Signed, Signed)       \
    EMULATOR_INTEGER_EXTREMES(Unsigned, Unsigned, Unsigned) \
    EMULATOR_INTEGER_EXTREMES(Unsigned, Signed, Unsigned)   \
    EMULATOR_INTEGER_EXTREMES(Unsigned, Unsigned, Signed)

EMULATOR_MIXED_EXTREMES(int, unsigned)
EMULATOR_MIXED_EXTREMES(long, unsigned long)
EMULATOR_MIXED_EXTREMES(long long, unsigned long long)

#undef EMULATOR_MIXED_EXTREMES
#undef EMULATOR_INTEGER_EXTREMES

inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
inline double min(float a, double b) { return fmin(a, b); }
inline double max(float a, double b) { return fmax(a, b); }
inline double min(double a, float b) { return fmin(a, b); }
inline double max(double a, float b) { return fmax(a, b); }
inline unsigned umin(unsigned a, unsigned b) { return min(a, b); }
inline unsigned umax(unsigned a, unsigned b) { return max(a, b); }
